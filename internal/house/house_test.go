package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/pfkeyd/pfkeyd"

// toRoot goes to the root of the module, once: paths are those a reader sees. Not in TestMain, where "go test" does
// not notice yet, and would take a cached result for one of the files as they are.
var toRoot = sync.OnceFunc(func() {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
})

// A goFile is one Go file of the project, on every platform and under every build tag.
type goFile struct {
	path string // slashes, from the root of the module
	room string // its folder, "" is the root
	test bool
	src  []byte
	ast  *ast.File
}

var fset = token.NewFileSet()

// files lists every file of the checkout but git's own, by slash path from the root.
var files = sync.OnceValues(func() ([]string, error) {
	toRoot()
	var all []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.Type().IsRegular() && d.Name() != ".git": // a file in a worktree
			all = append(all, filepath.ToSlash(path))
		}
		return nil
	})
	return all, err
})

var goFiles = sync.OnceValues(func() ([]goFile, error) {
	all, err := files()
	if err != nil {
		return nil, err
	}
	var parsed []goFile
	for _, path := range all {
		if !strings.HasSuffix(path, ".go") || strings.Contains("/"+path, "/testdata/") {
			continue
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(fset, path, src, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		room := filepath.ToSlash(filepath.Dir(path))
		if room == "." {
			room = ""
		}
		parsed = append(parsed, goFile{path, room, strings.HasSuffix(path, "_test.go"), src, f})
	}
	return parsed, nil
})

func everyFile(t *testing.T) []string {
	t.Helper()
	all, err := files()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func everyGoFile(t *testing.T) []goFile {
	t.Helper()
	all, err := goFiles()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	toRoot()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// under says whether path is the folder dir or below it.
func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
