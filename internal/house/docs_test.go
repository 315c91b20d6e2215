package house_test

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// documents are the pages whose links and commands must be true.
func documents(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for _, path := range everyFile(t) {
		if strings.HasSuffix(path, ".md") && !strings.Contains("/"+path, "/testdata/") {
			pages[path] = read(t, path)
		}
	}
	return pages
}

func TestDocumentsExist(t *testing.T) {
	toRoot()
	for _, path := range []string{
		"LICENSE", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "RFC2367.md", "Makefile", ".ci/run",
		"docs/architecture.md", "docs/dependencies.md", "docs/performance.md", "docs/security.md",
		"docs/upstream.md",
	} {
		if st, err := os.Stat(path); err != nil || st.Size() == 0 {
			t.Errorf("%s is missing or empty", path)
		}
	}
}

var (
	link   = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)
	folder = regexp.MustCompile("`((?:[a-z0-9]+/)+)`") // `wire/`, `kernel/illumos/`
)

// A relative link, and a folder written as `wire/`, leads somewhere.
func TestLinks(t *testing.T) {
	for page, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: link to %s: %v", page, m[1], err)
			}
		}
		for _, m := range folder.FindAllStringSubmatch(text, -1) {
			if st, err := os.Stat(m[1]); err != nil || !st.IsDir() {
				t.Errorf("%s: `%s` is no folder", page, m[1])
			}
		}
	}
}

var (
	goRun = regexp.MustCompile(`\bgo (?:run|build|install) (?:-\S+ )*(?:\./|` + regexp.QuoteMeta(module) +
		`/)([\w/]+)`)
	makeRun = regexp.MustCompile("(?m)(?:^|`)make ([a-z][a-z0-9-]*)")
	target  = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`)
)

// Every `go run ./X` and `make X` of the documents can be done.
func TestCommandsExist(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range target.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	for page, text := range documents(t) {
		for _, m := range goRun.FindAllStringSubmatch(text, -1) {
			if main, _ := filepath.Glob(filepath.Join(m[1], "*.go")); len(main) == 0 {
				t.Errorf("%s: %q: no Go files in %s", page, m[0], m[1])
			}
		}
		for _, m := range makeRun.FindAllStringSubmatch(text, -1) {
			if !targets[m[1]] {
				t.Errorf("%s: make %s is no target of the Makefile", page, m[1])
			}
		}
	}
	for m := range targets {
		if !strings.Contains(read(t, "CONTRIBUTING.md"), "`make "+m+"`") {
			t.Errorf("CONTRIBUTING.md does not tell of make %s", m)
		}
	}
}

var testName = regexp.MustCompile("`((?:[a-z0-9]+/)*[a-z0-9]+)\\.((?:Test|Fuzz|Example)\\w*)`")

// everyTest lists the tests, fuzz targets and examples of the project, as wire.TestWalk.
func everyTest(t *testing.T) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	for _, f := range everyGoFile(t) {
		if !f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				tests[f.room+"."+fn.Name.Name] = true
			}
		}
	}
	return tests
}

// Every test that a document names, as `wire.TestWalk`, is there.
func TestNamedTestsExist(t *testing.T) {
	tests := everyTest(t)
	for page, text := range documents(t) {
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			if name := m[1] + "." + m[2]; !tests[name] {
				t.Errorf("%s: there is no test %s", page, name)
			}
		}
	}
}

var changeTag = regexp.MustCompile(`^- \[(New API|Improvement|Bug Fix|Behaviour|Breaking)\] `)

func TestChangelogTags(t *testing.T) {
	text := read(t, "CHANGELOG.md")
	if !strings.Contains(text, "\n## Unreleased\n") {
		t.Error("CHANGELOG.md has no section Unreleased")
	}
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "- ") && !changeTag.MatchString(line) {
			t.Errorf("CHANGELOG.md:%d: %q has none of the tags", i+1, line)
		}
	}
}

// browserMod is the go.mod of the tests of the page in a browser, which are a module of their own.
const browserMod = "internal/live/browser/go.mod"

// Every module that a file of ours imports, or that go.mod pins as a tool, has its reason in docs/dependencies.md; and
// no reason outlives its module.
func TestDependenciesHaveReasons(t *testing.T) {
	var modules []string // all that go.mod requires
	var wanted []string  // import paths of others
	for line := range strings.Lines(read(t, "go.mod") + read(t, browserMod)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		switch {
		case len(f) >= 2 && strings.HasPrefix(f[1], "v") && strings.Contains(f[0], "."):
			modules = append(modules, f[0])
		case len(f) == 1 && strings.Contains(f[0], "/"):
			wanted = append(wanted, f[0])
		case len(f) == 2 && f[0] == "tool" && f[1] != "(":
			wanted = append(wanted, f[1])
		}
	}
	for _, f := range everyGoFile(t) {
		for _, im := range f.ast.Imports {
			path, _ := strconv.Unquote(im.Path.Value)
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") && path != module &&
				!under(path, module) {
				wanted = append(wanted, path)
			}
		}
	}
	used := map[string]bool{}
	for _, path := range wanted {
		best := ""
		for _, m := range modules {
			if under(path, m) && len(m) > len(best) {
				best = m
			}
		}
		if best == "" {
			t.Errorf("go.mod requires nothing that holds %s", path)
			continue
		}
		used[best] = true
	}

	var told []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(read(t,
		"docs/dependencies.md"), -1) {
		told = append(told, m[1])
		if !used[m[1]] {
			t.Errorf("docs/dependencies.md tells of %s, which nothing uses", m[1])
		}
	}
	for m := range used {
		if !slices.Contains(told, m) {
			t.Errorf("docs/dependencies.md gives no reason for %s", m)
		}
	}
}
