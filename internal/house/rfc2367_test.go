package house_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/kernels"
)

// The columns of the tables of RFC2367.md, one for each kernel in the middle.
const (
	rfcClause = iota
	rfcAsks
	rfcDefault
	rfcFirstKernel
)

var rfcKernels = [...]string{"illumos", "Linux", "NetBSD", "FreeBSD", "OpenBSD"}

const (
	rfcShownBy = rfcFirstKernel + len(rfcKernels)
	rfcWidest  = 100 // characters of a cell that says what is done; the story goes beneath the table
)

var (
	recordingName = regexp.MustCompile("`((?:illumos|linux|freebsd|netbsd|openbsd)[\\w.-]*)/([\\w.-]+/[^`]+)`")
	clauseNumber  = regexp.MustCompile(`^(?:[1-5](?:\.\d+){0,2}|[A-C])(?:-\d+)?$`)

	ofKernel  = regexp.MustCompile(`^(?:(?:follows|n/a)(?:$|[:;,] \S)|deviates: \S|not known$)`)
	ofDefault = regexp.MustCompile(`^(?:(?:as illumos|follows|n/a)(?:$|[:;,] \S)|deviates: \S)`)
	butFor    = regexp.MustCompile("^as illumos, but for ((?:`[a-z-]+`(?:, )?)+)")
	noteLabel = regexp.MustCompile(`^- \*\*([1-5A-C][\d.-]*)(?:, [^*]+)?\*\*: `)
)

// An rfcChecker has what the tables must agree with.
type rfcChecker struct {
	clauses    []string                   // numbers of the sentences
	tests      map[string]bool            // as wire.TestWalk
	recordings map[string]map[string]bool // scenarios of each folder
	deviations []string                   // names of what our default does otherwise than illumos
}

func newRFCChecker(t *testing.T) *rfcChecker {
	t.Helper()
	c := &rfcChecker{tests: everyTest(t), recordings: map[string]map[string]bool{}}
	for i, line := range strings.Split(strings.TrimSuffix(read(t, "testdata/rfc2367/clauses.txt"), "\n"), "\n") {
		number, text, ok := strings.Cut(line, "\t")
		if !ok || text == "" || slices.Contains(c.clauses, number) || !clauseNumber.MatchString(number) ||
			!strings.Contains(number, "-") {
			t.Errorf("testdata/rfc2367/clauses.txt:%d: want a number of its own, a tab and a sentence", i+1)
		}
		c.clauses = append(c.clauses, number)
	}
	folders, err := filepath.Glob("testdata/golden/*/MANIFEST")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no folders of recordings (%v)", err)
	}
	for _, path := range folders {
		folder := filepath.Dir(path)
		c.recordings[filepath.Base(folder)] = recordingsIn(t, folder)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t\tName: +"(.+)",$`).FindAllStringSubmatch(read(t,
		"internal/conform/illumos/deviations.go"), -1) {
		c.deviations = append(c.deviations, m[1])
	}
	if len(c.deviations) == 0 {
		t.Error("internal/conform/illumos/deviations.go has no deviations")
	}
	return c
}

// recordingsIn lists the names of the scenarios in a folder of recordings.
func recordingsIn(t *testing.T, folder string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	toRoot()
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl.gz"))
	if err != nil || len(files) == 0 {
		t.Errorf("no recordings in %s", folder)
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

// isOf says whether a folder of recordings is of the kernel: linux-6.1 is of Linux.
func isOf(folder, kernel string) bool {
	name, _, _ := strings.Cut(folder, "-")
	return name == strings.ToLower(kernel)
}

// recorded says whether there are recordings of the kernel.
func (c *rfcChecker) recorded(kernel string) bool {
	for folder := range c.recordings {
		if isOf(folder, kernel) {
			return true
		}
	}
	return false
}

// shows says whether what a row names shows what the kernel does: a recording of it, a test of it, of its command or of
// all dialects, or that it was read.
func shows(shownBy, kernel string) bool {
	if strings.Contains(shownBy, kernel+" by reading") {
		return true
	}
	for _, m := range recordingName.FindAllStringSubmatch(shownBy, -1) {
		if isOf(m[1], kernel) {
			return true
		}
	}
	for _, m := range testName.FindAllStringSubmatch(shownBy, -1) {
		room, test := m[1], m[2]
		if room == "kernel/"+strings.ToLower(kernel) || room == "wire" || room == "ipseckey" && kernel == "illumos" ||
			room == "internal/conform" && strings.Contains(strings.ToLower(test), strings.ToLower(kernel)) {
			return true
		}
	}
	return false
}

// columns is the head of each table.
func (c *rfcChecker) columns() []string {
	columns := []string{"clause", "the RFC asks", "our default"}
	for _, kernel := range rfcKernels {
		if !c.recorded(kernel) {
			kernel += ", by reading"
		}
		columns = append(columns, kernel)
	}
	return append(columns, "shown by")
}

// cellsOf takes a line of a table apart.
func cellsOf(line string) []string {
	cells := strings.Split(strings.Trim(line, "|"), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

// row says what is wrong with a row.
func (c *rfcChecker) row(cells []string) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if want := len(c.columns()); len(cells) != want {
		fault("%d cells, want %d", len(cells), want)
		return faults
	}
	for number := range strings.SplitSeq(cells[rfcClause], ", ") {
		if !clauseNumber.MatchString(number) || strings.Contains(number, "-") && !slices.Contains(c.clauses, number) {
			fault("there is no clause %s", number)
		}
	}
	if cells[rfcAsks] == "" {
		fault("an empty cell")
	}
	if !ofDefault.MatchString(cells[rfcDefault]) {
		fault("our default %q: want as illumos, follows, deviates (and how) or n/a", cells[rfcDefault])
	}
	for i, kernel := range rfcKernels {
		cell, recorded := cells[rfcFirstKernel+i], c.recorded(kernel)
		if !ofKernel.MatchString(cell) {
			fault("%s %q: want follows, deviates (and how), n/a or not known", kernel, cell)
		}
		if recorded && cell == "not known" {
			fault("%s is not known, and there are recordings", kernel)
		}
		if recorded && !strings.HasPrefix(cell, "n/a") && !shows(cells[rfcShownBy], kernel) {
			fault("nothing shows what %s does", kernel)
		}
	}
	for _, cell := range cells[rfcDefault:rfcShownBy] {
		if n := utf8.RuneCountInString(cell); n > rfcWidest {
			fault("%d characters in a cell, want at most %d: %q", n, rfcWidest, cell)
		}
	}
	if !testName.MatchString(cells[rfcShownBy]) && !recordingName.MatchString(cells[rfcShownBy]) {
		fault("neither a test nor a recording")
	}
	if m := butFor.FindStringSubmatch(cells[rfcDefault]); m != nil {
		for name := range strings.SplitSeq(m[1], ", ") {
			if name = strings.Trim(name, "`"); !slices.Contains(c.deviations, name) {
				fault("there is no deviation %s", name)
			}
		}
	}
	return faults
}

// faults says what is wrong with the page.
func (c *rfcChecker) faults(page string) (faults []string) {
	fault := func(format string, args ...any) {
		faults = append(faults, "RFC2367.md"+fmt.Sprintf(format, args...))
	}
	rows := map[string]int{}     // of a clause
	named := map[string]bool{}   // deviations
	promised := map[string]int{} // line of a row that has more beneath the table, by its clauses, in the section
	told := map[string]bool{}    // clauses with more, in the section
	inTable := false
	endSection := func() {
		for clauses, line := range promised {
			if !slices.ContainsFunc(strings.Split(clauses, ", "), func(n string) bool { return told[n] }) {
				fault(":%d: nothing beneath the table about %s", line, clauses)
			}
		}
		clear(promised)
		clear(told)
	}
	for i, line := range strings.Split(page, "\n") {
		if !strings.HasPrefix(line, "|") {
			inTable = false
		}
		label := noteLabel.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "## "):
			endSection()
		case label != nil:
			if !slices.ContainsFunc(slices.Collect(maps.Keys(promised)), func(clauses string) bool {
				return slices.Contains(strings.Split(clauses, ", "), label[1])
			}) {
				fault(":%d: no row of the table says that there is more about %s", i+1, label[1])
			}
			told[label[1]] = true
		case strings.HasPrefix(line, "|") && !inTable:
			inTable = true
			if got, want := cellsOf(line), c.columns(); !slices.Equal(got, want) {
				fault(":%d: columns %q, want %q", i+1, got, want)
			}
		case strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "| ---"):
			cells := cellsOf(line)
			for _, what := range c.row(cells) {
				fault(":%d: %s: %s", i+1, cells[rfcClause], what)
			}
			for number := range strings.SplitSeq(cells[rfcClause], ", ") {
				rows[number]++
			}
			if len(cells) > rfcDefault {
				if strings.HasPrefix(cells[rfcAsks], "† ") {
					promised[cells[rfcClause]] = i + 1
				}
				for _, name := range c.deviations {
					named[name] = named[name] || strings.Contains(cells[rfcDefault], "`"+name+"`")
				}
			}
		}
	}
	endSection()
	for _, number := range c.clauses {
		if rows[number] != 1 {
			fault(" has %d rows for clause %s, want 1", rows[number], number)
		}
	}
	for _, name := range c.deviations {
		if !named[name] {
			fault(" does not say where our default deviates as %s", name)
		}
	}
	for _, m := range recordingName.FindAllStringSubmatch(page, -1) {
		if !c.recordings[m[1]][m[2]] {
			fault(": there is no recording %s in testdata/golden/%s", m[2], m[1])
		}
	}
	for _, m := range testName.FindAllStringSubmatch(page, -1) {
		if name := m[1] + "." + m[2]; !c.tests[name] {
			fault(": there is no test %s", name)
		}
	}
	return faults
}

// Every sentence of the RFC that demands or allows something has a row in RFC2367.md, and every row says what we and
// each kernel do, and names tests and recordings that show it.
func TestEveryClauseHasARow(t *testing.T) {
	for _, fault := range newRFCChecker(t).faults(read(t, "RFC2367.md")) {
		t.Error(fault)
	}
}

// Whatever may go wrong in the tables is found.
func TestBrokenRowsAreFound(t *testing.T) {
	c := newRFCChecker(t)
	page := read(t, "RFC2367.md")
	const broken = "3.1.8-2" // the clause whose row is broken
	i := strings.Index(page, "\n| "+broken+" | ") + 1
	row, _, _ := strings.Cut(page[i:], "\n")
	if cells := cellsOf(row); i == 0 || len(cells) != len(c.columns()) || strings.Contains(cells[rfcAsks], "†") {
		t.Fatalf("the row of %s is %q", broken, row)
	}
	const linux, netbsd = rfcFirstKernel + 1, rfcFirstKernel + 2
	set := func(at int, to string) func([]string) []string {
		return func(cells []string) []string { cells[at] = to; return cells }
	}
	for _, tt := range []struct {
		name  string
		spoil func(cells []string) []string // nil takes the row away
		want  string
	}{
		{"no row", nil, "has 0 rows for clause " + broken},
		{"another clause", set(rfcClause, broken+", 3.1.8-9"), "there is no clause 3.1.8-9"},
		{"the row of another clause", set(rfcClause, "3.1.8-1"), "has 2 rows for clause 3.1.8-1"},
		{"no column", func(cells []string) []string { return slices.Delete(cells, linux, netbsd) }, "8 cells, want 9"},
		{"one too many", func(cells []string) []string { return append(cells, "follows") }, "10 cells, want 9"},
		{"nothing asked", set(rfcAsks, ""), "an empty cell"},
		{"an empty cell", set(netbsd, ""), `NetBSD ""`},
		{"another word", set(netbsd, "refuses it"), `NetBSD "refuses it"`},
		{"deviates, but how", set(netbsd, "deviates"), `NetBSD "deviates"`},
		{"longer than its word", set(netbsd, "followsome"), `NetBSD "followsome"`},
		{"another word for the default", set(rfcDefault, "like illumos"), `our default "like illumos"`},
		{"a default that is not known", set(rfcDefault, "not known"), `our default "not known"`},
		{"not known although recorded", set(linux, "not known"), "Linux is not known"},
		{"a long story", set(netbsd, "deviates: "+strings.Repeat("and so on ", 10)), "characters in a cell"},
		{"nothing shows it", set(rfcShownBy, "`RFC2367.md`"), "neither a test nor a recording"},
		{"nothing shows Linux", set(rfcShownBy, "`illumos/base/type-8-esp`, `kernel/illumos.TestOrderOfChecks`"),
			"nothing shows what Linux does"},
		{"nothing shows illumos", set(rfcShownBy, "`linux-6.1/expire/user`, `kernel/linux.TestInboundDrops`"),
			"nothing shows what illumos does"},
		{"no such test", set(rfcShownBy, "`wire.TestNothing`"), "there is no test wire.TestNothing"},
		{"no such recording", set(rfcShownBy, "`illumos/base/type-8-esp`, `linux-6.1/expire/nobody`"),
			"there is no recording expire/nobody in testdata/golden/linux-6.1"},
		{"no such folder of recordings", set(rfcShownBy, "`illumos/base/type-8-esp`, `linux-5/expire/user`"),
			"there is no recording expire/user in testdata/golden/linux-5"},
		{"no such deviation", set(rfcDefault, "as illumos, but for `nothing`"), "there is no deviation nothing"},
		{"more is promised", set(rfcAsks, "† something"), "nothing beneath the table about " + broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line := ""
			if tt.spoil != nil {
				line = "| " + strings.Join(tt.spoil(cellsOf(row)), " | ") + " |\n"
			}
			expectFault(t, c.faults(page[:i]+line+page[i+len(row)+1:]), tt.want)
		})
	}
	for _, tt := range []struct{ name, old, by, want string }{
		{"another column", "| Linux |", "| GNU |", "columns"},
		{"a column of recordings is by reading", "| Linux |", "| Linux, by reading |", "columns"},
		{"a deviation is not named", "`idle-leak`", "`dead-sa`",
			"does not say where our default deviates as idle-leak"},
		{"nobody promised it", "\n- **3.1.9**: ", "\n- **3.1.8-2**: ",
			"no row of the table says that there is more about 3.1.8-2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(page, tt.old) {
				t.Fatalf("%q is not in the page", tt.old)
			}
			expectFault(t, c.faults(strings.ReplaceAll(page, tt.old, tt.by)), tt.want)
		})
	}
}

func expectFault(t *testing.T, faults []string, want string) {
	t.Helper()
	if !slices.ContainsFunc(faults, func(fault string) bool { return strings.Contains(fault, want) }) {
		t.Errorf("found %q, want one with %q", faults, want)
	}
}

// The names of recordings are what "pfkeyd conform --run" takes, as they stand in the table.
func TestRFC2367RecordingsPlay(t *testing.T) {
	names := map[string][]string{} // patterns, by kernel
	seen := map[string]bool{}
	for _, m := range recordingName.FindAllStringSubmatch(read(t, "RFC2367.md"), -1) {
		name := m[1] + "/" + m[2]
		if kernel, _, _ := strings.Cut(m[1], "-"); !seen[name] {
			seen[name] = true
			names[kernel] = append(names[kernel], regexp.QuoteMeta(name))
		}
	}
	for kernel, patterns := range names {
		k, err := kernels.ByName(kernel)
		if err != nil {
			t.Fatal(err)
		}
		config := conform.Config{Kernel: k, Run: "^(" + strings.Join(patterns, "|") + ")$"}
		rep, err := conform.Run(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		if len(rep.Results) != len(patterns) || rep.Failed > 0 {
			t.Errorf("%s: %d of %d recordings were found, %d failed",
				kernel, len(rep.Results), len(patterns), rep.Failed)
		}
	}
}
