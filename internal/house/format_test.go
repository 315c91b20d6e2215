package house_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFormat(t *testing.T) {
	for _, f := range everyGoFile(t) {
		want, err := format.Source(f.src)
		if err != nil {
			t.Errorf("%s: %v", f.path, err)
			continue
		}
		if !bytes.Equal(f.src, want) {
			t.Errorf("%s: gofmt would change it", f.path)
		}
	}
}

// A line of Go ends at 120 columns, a tab counting four. What cannot be broken may be longer: a line with a literal of
// sixty columns or more in one piece, a raw string, what an example prints, a directive.
func TestColumns(t *testing.T) {
	const most, long = 120, 60
	for _, f := range everyGoFile(t) {
		free := map[int]bool{}
		over := func(from, to token.Pos) {
			for l := fset.Position(from).Line; l <= fset.Position(to).Line; l++ {
				free[l] = true
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && (lit.End()-lit.Pos() >= long || strings.Contains(lit.Value, "\n")) {
				over(lit.Pos(), lit.End())
			}
			return true
		})
		for _, g := range f.ast.Comments {
			for i, c := range g.List {
				if strings.HasPrefix(c.Text, "// Output:") || strings.HasPrefix(c.Text, "// Unordered output:") {
					over(g.List[i].Pos(), g.End())
				}
			}
		}
		for i, line := range strings.Split(string(f.src), "\n") {
			if n := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")); n > most && !free[i+1] {
				t.Errorf("%s:%d: %d columns, want at most %d", f.path, i+1, n, most)
			}
		}
	}
}

// Functions of package time that read the machine's clock, and that wait for it.
var (
	clockReads = []string{"Now", "Since", "Until"}
	clockWaits = []string{"Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
)

// tools are the folders below internal that work on the machine, which may read its clock, and the feed, whose events
// have the time of the machine beside that of the engine. The others are of the engine.
var tools = []string{"internal/door", "internal/feed", "internal/inturns", "internal/leak", "internal/live",
	"internal/mutants", "internal/station"}

// ownTime is where an engine gets the time of the machine because its kernel is the machine's.
const ownTime = "pfkey/pfkeytest/own.go"

// Time is a parameter: what reads the machine's clock cannot be repeated. Only commands, tools and examples read it;
// packages that deal with real sockets and processes may wait, as for descriptors that ran out. In tests sleeping is
// refused, unless a comment on the line or above it says why there is no other way.
func TestClock(t *testing.T) {
	for _, f := range everyGoFile(t) {
		exempt := under(f.room, "cmd") || under(f.room, "examples") || slices.Contains(tools, f.room) ||
			f.path == ownTime
		if exempt && !f.test {
			continue
		}
		calls := slices.Concat(clockReads, clockWaits)
		switch {
		case f.test:
			calls = []string{"Sleep"}
		case under(f.room, "pfkey") || slices.Contains([]string{"packetport", "internal/control", "launch", "trace",
			"internal/conform", "internal/conform/linux"}, f.room):
			calls = clockReads
		}
		explained := map[int]bool{} // lines that a comment touches or stands above
		if f.test {
			for _, c := range f.ast.Comments {
				for l := fset.Position(c.Pos()).Line; l <= fset.Position(c.End()).Line+1; l++ {
					explained[l] = true
				}
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			at := fset.Position(sel.Pos())
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(calls, sel.Sel.Name) &&
				!explained[at.Line] {
				t.Errorf("%s: time.%s", at, sel.Sel.Name)
			}
			return true
		})
	}
}

// Every exported name of a package that others can import has a doc comment. A comment above a group, or behind a name
// in it, counts for the names of the group; a method that only satisfies a known interface needs none.
func TestDocComments(t *testing.T) {
	documented := map[string]bool{} // folders with a package comment
	for _, f := range everyGoFile(t) {
		if f.test || f.room == "" {
			continue
		}
		documented[f.room] = documented[f.room] || f.ast.Doc != nil
		if f.ast.Name.Name == "main" {
			continue
		}
		miss := func(id *ast.Ident) { t.Errorf("%s: %s has no doc comment", fset.Position(id.Pos()), id.Name) }
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil &&
					!(d.Recv != nil && slices.Contains(plainMethods, d.Name.Name)) &&
					(d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type))) {
					miss(d.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
							miss(s.Name)
						}
					case *ast.ValueSpec:
						for _, id := range s.Names {
							if id.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil && !grouped(d, s) {
								miss(id)
							}
						}
					}
				}
			}
		}
	}
	for room, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment", room)
		}
	}
}

// plainMethods need no comment: their interface says what they do.
var plainMethods = []string{"Error", "Unwrap", "String", "Format", "LogValue", "Len", "Less", "Swap", "Push", "Pop"}

// grouped says whether s is in a block of typed constants that goes on from a documented line, as enumerations do.
func grouped(d *ast.GenDecl, s *ast.ValueSpec) bool {
	return d.Tok == token.CONST && d.Lparen.IsValid() && s.Values == nil
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// machinePaths are paths of somebody's machine: a file that names one works there only. They are put together here so
// that this file passes its own test.
var machinePaths = regexp.MustCompile(`(^|[^\w.$/-])/(` + strings.Join([]string{"wor" + "k", "ho" + "me", "ro" + "ot",
	"Use" + "rs"}, "|") + `)/` +
	`|\.\./sha` + `red|\.libr` + `ary/`)

func TestNoMachinePaths(t *testing.T) {
	for _, path := range everyFile(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
			continue // a capture, a picture
		}
		for i, line := range bytes.Split(b, []byte("\n")) {
			if m := machinePaths.Find(line); m != nil {
				t.Errorf("%s:%d: %q is a path of one machine", path, i+1, m)
			}
		}
	}
}

// The guard of paths must be able to fail, and to leave paths of the product alone.
func TestMachinePathsRefuse(t *testing.T) {
	for line, bad := range map[string]bool{
		"see /wor" + "k/main/x":               true,
		"open(\"/ho" + "me/me/key\")":         true,
		"cp ../sha" + "red/golden .":          true,
		"/etc/inet/ipsecinit.conf":            false,
		"/run/user/1000/pfkeyd/illumos.sock":  false,
		"https://example.org/ro" + "ot/x":     false,
		"a framework/with a slash, net/work/": false,
	} {
		if got := machinePaths.MatchString(line); got != bad {
			t.Errorf("machinePaths match %q = %v, want %v", line, got, bad)
		}
	}
}
