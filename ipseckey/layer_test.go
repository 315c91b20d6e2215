package ipseckey_test

import (
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestImports keeps the package where it belongs: above the wire format and the sockets, below the commands. It must work with
// any engine, so it knows no kernel.
func TestImports(t *testing.T) {
	allowed := map[string]bool{"github.com/pfkeyd/pfkeyd/wire": true, "github.com/pfkeyd/pfkeyd/pfkey": true}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			first, _, _ := strings.Cut(path, "/")
			if strings.Contains(first, ".") && !allowed[path] {
				t.Errorf("%s imports %s", e.Name(), path)
			}
			n++
		}
	}
	if n == 0 {
		t.Error("no imports seen")
	}
}
