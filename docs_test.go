package pfkeyd_test

import (
	"bufio"
	"compress/gzip"
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
	for _, path := range []string{
		"LICENSE", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "RFC2367.md", "Makefile", ".ci/run",
		"docs/architecture.md", "docs/dependencies.md", "docs/performance.md",
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
	goRun   = regexp.MustCompile(`\bgo (?:run|build|install) (?:-\S+ )*(?:\./|` + regexp.QuoteMeta(module) + `/)([\w/]+)`)
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

// Every test that a document names, as `wire.TestWalk`, is there.
func TestNamedTestsExist(t *testing.T) {
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
	for page, text := range documents(t) {
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			if name := m[1] + "." + m[2]; !tests[name] {
				t.Errorf("%s: there is no test %s", page, name)
			}
		}
	}
}

var (
	recordingName = regexp.MustCompile("`((?:illumos|linux|freebsd|netbsd|openbsd)[\\w.-]*)/([\\w.-]+/[^`]+)`")
	clauseNumber  = regexp.MustCompile(`^(?:[1-5](?:\.\d+){0,2}|[A-C])(?:-\d+)?$`)
	rfcColumns    = []string{"clause", "the RFC asks", "where", "shown by"} // and one for each kernel
)

// Every sentence of the RFC that demands or allows something has a row in RFC2367.md, and every row names files that are there, tests and recordings
// that show it, and what each kernel does.
func TestEveryClauseHasARow(t *testing.T) {
	page := read(t, "RFC2367.md")
	clauses := map[string]int{}
	for i, line := range strings.Split(strings.TrimSuffix(read(t, "testdata/rfc2367/clauses.txt"), "\n"), "\n") {
		number, text, ok := strings.Cut(line, "\t")
		if _, twice := clauses[number]; !ok || text == "" || twice || !clauseNumber.MatchString(number) || !strings.Contains(number, "-") {
			t.Errorf("testdata/rfc2367/clauses.txt:%d: want a number of its own, a tab and a sentence", i+1)
		}
		clauses[number] = 0
	}
	columns := 0
	for i, line := range strings.Split(page, "\n") {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		switch {
		case cells[0] == "clause":
			if len(cells) <= len(rfcColumns) || !slices.Equal(cells[:len(rfcColumns)], rfcColumns) {
				t.Errorf("RFC2367.md:%d: columns %q, want %q and kernels", i+1, cells, rfcColumns)
			}
			columns = len(cells)
			continue
		case strings.HasPrefix(cells[0], "---"):
			continue
		case len(cells) != columns:
			t.Errorf("RFC2367.md:%d: %d cells, want %d", i+1, len(cells), columns)
			continue
		}
		for number := range strings.SplitSeq(cells[0], ", ") {
			n, isClause := clauses[number]
			if !clauseNumber.MatchString(number) || !isClause && strings.Contains(number, "-") {
				t.Errorf("RFC2367.md:%d: there is no clause %s", i+1, number)
			}
			if isClause {
				clauses[number] = n + 1
			}
		}
		words := strings.Fields(strings.ReplaceAll(cells[2], "`", ""))
		for _, file := range append([]string{"."}, words[1:]...) {
			if found, _ := filepath.Glob(filepath.Join(words[0], file)); len(found) == 0 {
				t.Errorf("RFC2367.md:%d: no file %s in %s", i+1, file, words[0])
			}
		}
		if !testName.MatchString(cells[3]) && !recordingName.MatchString(cells[3]) {
			t.Errorf("RFC2367.md:%d: nothing shows clause %s", i+1, cells[0])
		}
		for _, kernel := range cells[len(rfcColumns):] {
			if verdict := strings.FieldsFunc(kernel, func(r rune) bool { return strings.ContainsRune(" ,:;", r) }); len(verdict) == 0 ||
				!slices.Contains([]string{"follows", "deviates", "n/a"}, verdict[0]) || verdict[0] == "deviates" && !strings.HasPrefix(kernel, "deviates: ") {
				t.Errorf("RFC2367.md:%d: %q says neither follows, deviates (and how) nor n/a", i+1, kernel)
			}
		}
	}
	for number, n := range clauses {
		if n != 1 {
			t.Errorf("RFC2367.md has %d rows for clause %s, want 1", n, number)
		}
	}
	known := map[string]map[string]bool{} // recordings of a folder
	for _, m := range recordingName.FindAllStringSubmatch(page, -1) {
		folder, name := m[1], m[2]
		if known[folder] == nil {
			known[folder] = recordingsOf(t, folder)
		}
		if !known[folder][name] {
			t.Errorf("RFC2367.md: there is no recording %s in testdata/golden/%s", name, folder)
		}
	}
}

// recordingsOf lists the names of the scenarios in a folder of recordings.
func recordingsOf(t *testing.T, folder string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files, err := filepath.Glob(filepath.Join("testdata/golden", folder, "*.jsonl.gz"))
	if err != nil || len(files) == 0 {
		t.Errorf("no recordings in testdata/golden/%s", folder)
	}
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		unzipped, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(unzipped)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			// The name comes first; the whole line is large.
			if _, rest, ok := strings.Cut(lines.Text(), `"name":`); ok {
				name, _, _ := strings.Cut(strings.TrimLeft(rest, ` "`), `"`)
				names[name] = true
			}
		}
		if lines.Err() != nil {
			t.Fatal(lines.Err())
		}
	}
	return names
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

// Every module that a file of ours imports, or that go.mod pins as a tool, has its reason in docs/dependencies.md; and no
// reason outlives its module.
func TestDependenciesHaveReasons(t *testing.T) {
	var modules []string // all that go.mod requires
	var wanted []string  // import paths of others
	for line := range strings.Lines(read(t, "go.mod")) {
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
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") && path != module && !under(path, module) {
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
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(read(t, "docs/dependencies.md"), -1) {
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
