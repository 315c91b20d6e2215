package xfrm_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// The transforms know nothing of PF_KEY: of package wire they use the names of errors and of algorithms only.
func TestNoPFKEY(t *testing.T) {
	own, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	seam, err := filepath.Glob("../transform/*.go")
	if err != nil || len(own) == 0 || len(seam) == 0 {
		t.Fatal(own, seam, err)
	}
	for _, name := range append(own, seam...) {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			word := sel.Sel.Name
			errno := word == "OK" || word == "Errno" || word[0] == 'E' && word == strings.ToUpper(word)
			alg := word == "AlgID" || strings.HasPrefix(word, "Auth") || strings.HasPrefix(word, "Enc")
			if ok && x.Name == "wire" && !errno && !alg {
				t.Errorf("%s uses wire.%s", name, word)
			}
			return true
		})
	}
}
