package proof_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	modelStep = regexp.MustCompile(`/\* STEP (.*?) \*/`)
	row       = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|([^|]*)\\|[^|]*\\|([^|]*)\\|$")
	quoted    = regexp.MustCompile("`([^`]+)`")
)

// TestStepsExist compares the table of README.md with the steps of the model, with the functions of the code, and with
// the points at which those functions stop.
func TestStepsExist(t *testing.T) {
	model, err := os.ReadFile("larval.pml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, m := range modelStep.FindAllStringSubmatch(string(model), -1) {
		steps = append(steps, m[1])
	}
	if n := strings.Count(string(model), "begin(") - 2; len(steps) != n { // two definitions
		t.Errorf("the model has %d steps, %d of them named", n, len(steps))
	}
	points := pointsOfCode(t)
	var told []string
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		told = append(told, m[1])
		for _, p := range quoted.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(points, p[1]) {
				t.Errorf("step %s begins at %q, which no code reaches", m[1], p[1])
			}
		}
		names := quoted.FindAllStringSubmatch(m[3], -1)
		if len(names) == 0 || len(names)%2 != 0 {
			t.Errorf("step %s: want pairs of a file and a function, got %v", m[1], names)
			continue
		}
		for i := 0; i < len(names); i += 2 {
			if file, name := names[i][1], names[i+1][1]; !slices.Contains(functions(t, file), name) {
				t.Errorf("step %s: %s has no function %s", m[1], file, name)
			}
		}
	}
	if !slices.Equal(told, steps) {
		t.Errorf("README.md tells of the steps\n%q, the model has\n%q", told, steps)
	}
}

func parse(t *testing.T, file string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", filepath.FromSlash(file)), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func functions(t *testing.T, file string) (names []string) {
	t.Helper()
	for _, d := range parse(t, file).Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			names = append(names, f.Name.Name)
		}
	}
	return names
}

// pointsOfCode are the names that the kernel gives to Step.
func pointsOfCode(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../kernel/illumos/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no code: %v", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		ast.Inspect(parse(t, strings.TrimPrefix(filepath.ToSlash(file), "../")), func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			lit, isLit := call.Args[0].(*ast.BasicLit)
			if ok && isLit && sel.Sel.Name == "Step" {
				names = append(names, strings.Trim(lit.Value, `"`))
			}
			return true
		})
	}
	return names
}
