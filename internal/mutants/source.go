package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one change to one function, or to one table.
type mutant struct {
	number   int
	op       string // the kind of change
	fn       string // FILE FUNCTION
	what     string // the change, in one line
	position string // FILE:LINE
	site     *site
	apply    func() // changes the syntax tree
	undo     func() // and puts it back

	caughtBy string // empty: it survives, as far as it has been tried
}

// name is what known/NAME.txt calls the mutant. It does not change when lines move.
func (m *mutant) name() string { return m.fn + " " + m.op + ": " + m.what }

// site is where mutants are made: a function, or a table of the package, which is a variable with an initial value.
type site struct {
	number int // of a function, from 1; everywhere for a table
	file   *file
	fn     *ast.FuncDecl
	table  *ast.ValueSpec
}

// everywhere stands for what every recording may depend on.
const everywhere = 0

type file struct {
	path  string // slashes, from the root of the module
	short string // the same from the folder that is broken, or from the one above if there are several
	ast   *ast.File
	sites []*site
}

// source is the packages of some folders, and those below them.
type source struct {
	dirs  []string // slashes, from the root of the module
	fset  *token.FileSet
	files []*file
}

const module = "github.com/pfkeyd/pfkeyd"

// load parses the packages in and below folders of this module, whose root is the current folder, without those files
// and folders that are named as such. If there are several folders they are side by side.
func load(without []string, dirs ...string) (*source, error) {
	sites := 0
	s := &source{fset: token.NewFileSet()}
	var names []string
	for _, dir := range dirs {
		s.dirs = append(s.dirs, filepath.ToSlash(dir))
		before := len(names)
		err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if slices.Contains(without, filepath.ToSlash(name)) {
				if e.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if filepath.Ext(name) == ".go" {
				names = append(names, name)
			}
			return err
		})
		if err != nil || len(names) == before {
			return nil, fmt.Errorf("no Go files in %s", dir)
		}
	}
	base := dirs[0]
	if len(dirs) > 1 {
		base = filepath.Dir(base)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		// Without comments: they would not move along with the code they stand beside.
		f, err := parser.ParseFile(s.fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		short, err := filepath.Rel(base, name)
		if err != nil {
			return nil, err
		}
		x := &file{path: filepath.ToSlash(name), short: filepath.ToSlash(short), ast: f}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Body != nil && d.Type.TypeParams == nil {
					sites++
					x.sites = append(x.sites, &site{number: sites, file: x, fn: d})
				}
			case *ast.GenDecl:
				if d.Tok != token.VAR {
					continue
				}
				for _, spec := range d.Specs {
					if v := spec.(*ast.ValueSpec); len(v.Names) == 1 && len(v.Values) == 1 {
						if _, ok := v.Values[0].(*ast.CompositeLit); ok {
							x.sites = append(x.sites, &site{file: x, table: v})
						}
					}
				}
			}
		}
		s.files = append(s.files, x)
	}
	return s, nil
}

func (s *site) name() string {
	base := s.file.short
	if s.table != nil {
		return base + " " + s.table.Names[0].Name
	}
	if s.fn.Recv != nil {
		t := s.fn.Recv.List[0].Type
		if p, ok := t.(*ast.StarExpr); ok {
			t = p.X
		}
		if id, ok := t.(*ast.Ident); ok {
			return base + " " + id.Name + "." + s.fn.Name.Name
		}
	}
	return base + " " + s.fn.Name.Name
}

// mutants lists all there are, with numbers from 1 and no name twice.
func (s *source) mutants() []*mutant {
	var all []*mutant
	names := map[string]int{}
	for _, f := range s.files {
		for _, at := range f.sites {
			found := s.mutate(at)
			slices.SortStableFunc(found, func(a, b change) int { return int(a.pos - b.pos) })
			for _, x := range found {
				p := s.fset.Position(x.pos)
				m := &mutant{number: len(all) + 1, op: x.op, fn: at.name(), what: x.what, site: at, apply: x.apply,
					undo:     x.undo,
					position: fmt.Sprintf("%s:%d", f.path, p.Line)}
				if n := names[m.name()]; n > 0 {
					names[m.name()]++
					m.what += fmt.Sprintf(" (%d)", n+1)
				} else {
					names[m.name()] = 1
				}
				all = append(all, m)
			}
		}
	}
	return all
}

// text is a node in one line, cut where it gets long.
func (s *source) text(n any) string {
	var b bytes.Buffer
	if err := format.Node(&b, s.fset, n); err != nil {
		return fmt.Sprintf("%T", n)
	}
	t := strings.Join(strings.Fields(b.String()), " ")
	if r := []rune(t); len(r) > 100 {
		t = string(r[:100]) + "…"
	}
	return t
}

// written says which files stand in for which, and where in them the mutants are.
type written struct {
	replace map[string]string
	spans   map[string][]span // by the name of the file that stands in
}

type span struct {
	first, last int
	m           *mutant
}

// at is the mutant whose code is in a line.
func (w *written) at(file string, line int) *mutant {
	for _, s := range w.spans[filepath.Base(file)] {
		if line >= s.first && line <= s.last {
			return s.m
		}
	}
	return nil
}

const (
	chosenVar = "mutantChosen_" // in each package of the kernel
	loadFunc  = "MutantLoad_"
	hitVar    = "mutantHit_"
)

// write makes the files with the given mutants in dir. Each function that has some gets a head that hands over to the
// copy that is chosen. Each package reads the choice as the program starts, before anything else in it; an entry, which
// is New of a kernel, reads it again, and tables are set anew.
func (s *source) write(dir string, chosen []*mutant) (*written, error) {
	w := &written{replace: map[string]string{}, spans: map[string][]span{}}
	of := map[*site][]*mutant{}
	for _, m := range chosen {
		of[m.site] = append(of[m.site], m)
	}
	tables := map[string][]string{} // functions that set them, by package
	for _, f := range s.files {
		var b bytes.Buffer
		var undo []func()
		for _, at := range f.sites {
			if at.fn == nil {
				continue
			}
			if head := s.head(at, of[at]); head != nil {
				body := at.fn.Body
				old := body.List
				body.List = append(slices.Clone(head), old...)
				undo = append(undo, func() { body.List = old })
			}
		}
		err := format.Node(&b, s.fset, f.ast)
		for _, u := range undo {
			u()
		}
		if err != nil {
			return nil, err
		}
		base := standIn(f.path)
		for _, at := range f.sites {
			if at.table != nil {
				if len(of[at]) > 0 {
					name := at.table.Names[0].Name
					tables[f.folder()] = append(tables[f.folder()], name+"_table")
					fmt.Fprintf(&b, "\nvar %s_plain = %s\n\nfunc %s_table() {\n%s = %s_plain\n}\n", name, name, name,
						name, name)
				}
			}
			for _, m := range of[at] {
				var text bytes.Buffer
				m.apply()
				err := s.writeMutant(&text, m)
				m.undo()
				if err != nil {
					return nil, fmt.Errorf("%s: %w", m.name(), err)
				}
				first := bytes.Count(b.Bytes(), []byte("\n")) + 1
				b.Write(text.Bytes())
				w.spans[base] = append(w.spans[base], span{first, bytes.Count(b.Bytes(), []byte("\n")) + 1, m})
				if at.table != nil {
					tables[f.folder()] = append(tables[f.folder()],
						fmt.Sprintf("%s_mutant%d", at.table.Names[0].Name, m.number))
				}
			}
		}
		if err := w.add(dir, f.path, b.Bytes()); err != nil {
			return nil, err
		}
	}
	packages := map[string]string{} // names by folder
	for _, f := range s.files {
		packages[f.folder()] = f.ast.Name.Name
	}
	for folder, name := range packages {
		var below []string
		if folder == s.dirs[0] {
			for other := range packages {
				if other != folder {
					below = append(below, other)
				}
			}
		}
		if err := w.add(dir, folder+"/mutants_overlay.go", s.choice(name, tables[folder], below)); err != nil {
			return nil, err
		}
	}
	hook := fmt.Sprintf("package main\n\nimport kernel %q\n\nfunc init() { hits = kernel.MutantHits_ }\n",
		module+"/"+s.dirs[0])
	return w, w.add(dir, "internal/mutants/hook_overlay.go", []byte(hook))
}

// choice is the file that each package of a kernel gets: it reads which mutant is chosen, for the packages below as
// well, sets tables anew, and notes which functions have run.
func (s *source) choice(name string, tables, below []string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "package %s\n\nimport (\n\"os\"\n\"strconv\"\n", name)
	for i, folder := range below {
		fmt.Fprintf(&b, "below%d_ %q\n", i, module+"/"+folder)
	}
	fmt.Fprintf(&b, ")\n\nvar %s = mutantRead_()\n\nfunc mutantRead_() int {\nn, _ := strconv.Atoi(os.Getenv(%q))\n"+
		"return n\n}\n", chosenVar, environment)
	fmt.Fprintf(&b, "\nvar mutantTables_ int // the mutant for which they are set\n\n// %s is for the program that breaks "+
		"the kernel.\nfunc %s() {\n", loadFunc, loadFunc)
	for i := range below {
		fmt.Fprintf(&b, "below%d_.%s()\n", i, loadFunc)
	}
	fmt.Fprintf(&b, "n := mutantRead_()\nif n == mutantTables_ {\nreturn\n}\n%s, mutantTables_ = n, n\n", chosenVar)
	for _, t := range tables {
		fmt.Fprintf(&b, "%s()\n", t)
	}
	fmt.Fprintf(&b, "}\n\nfunc init() { %s() }\n", loadFunc)
	b.WriteString("\nfunc mutantFirst_(b []byte, _ ...any) []byte { return b }\n")
	last := 0
	for _, f := range s.files {
		for _, at := range f.sites {
			last = max(last, at.number)
		}
	}
	fmt.Fprintf(&b, "\nvar %s [%d]bool\n\n// MutantHits_ is for it, too.\nfunc MutantHits_() (n []int) {\n", hitVar,
		last+1)
	fmt.Fprintf(&b, "for i, hit := range %s {\nif hit {\nn = append(n, i)\n%s[i] = false\n}\n}\n", hitVar, hitVar)
	for i := range below {
		fmt.Fprintf(&b, "n = append(n, below%d_.MutantHits_()...)\n", i)
	}
	b.WriteString("return n\n}\n")
	return b.Bytes()
}

// isEntry says whether it is by a function that others begin to use a kernel. A process that plays is one mutant after
// the other, so it reads again there which one it is.
func (at *site) isEntry() bool { return at.fn.Recv == nil && at.fn.Name.Name == "New" }

// folder is that of the file's package.
func (f *file) folder() string { return path.Dir(f.path) }

func standIn(path string) string { return strings.ReplaceAll(path, "/", "_") }

func (w *written) add(dir, path string, text []byte) error {
	stand := filepath.Join(dir, standIn(path))
	original, err := filepath.Abs(filepath.FromSlash(path))
	if err != nil {
		return err
	}
	w.replace[original] = stand
	return os.WriteFile(stand, text, 0o600)
}

// writeMutant writes the changed function under a name of its own, or a function that sets the changed table.
func (s *source) writeMutant(b *bytes.Buffer, m *mutant) error {
	b.WriteString("\n")
	if t := m.site.table; t != nil {
		name := t.Names[0].Name
		fmt.Fprintf(b, "func %s_mutant%d() {\nif %s == %d {\n%s = ", name, m.number, chosenVar, m.number, name)
		if err := format.Node(b, s.fset, t.Values[0]); err != nil {
			return err
		}
		b.WriteString("\n}\n}\n")
		return nil
	}
	fn := m.site.fn
	plain := fn.Name
	fn.Name = ast.NewIdent(mutantName(fn, m))
	err := format.Node(b, s.fset, fn)
	fn.Name = plain
	b.WriteString("\n")
	return err
}

func mutantName(fn *ast.FuncDecl, m *mutant) string {
	return fmt.Sprintf("%s_mutant%d", fn.Name.Name, m.number)
}

// head is what stands before the body of a function that has mutants.
func (s *source) head(at *site, ms []*mutant) (head []ast.Stmt) {
	fn := at.fn
	if at.isEntry() {
		head = append(head, &ast.ExprStmt{X: &ast.CallExpr{Fun: ast.NewIdent(loadFunc)}})
	}
	if len(ms) == 0 {
		return head
	}
	call := &ast.CallExpr{}
	named := 0
	name := func(list *ast.FieldList) (args []ast.Expr) {
		for _, f := range list.List {
			if len(f.Names) == 0 {
				f.Names = []*ast.Ident{ast.NewIdent("_")}
			}
			for _, id := range f.Names {
				if id.Name == "_" {
					named++
					id.Name = fmt.Sprintf("mutantArg%d_", named)
				}
				args = append(args, ast.NewIdent(id.Name))
			}
			if _, ok := f.Type.(*ast.Ellipsis); ok {
				call.Ellipsis = 1
			}
		}
		return args
	}
	var receiver ast.Expr
	if fn.Recv != nil {
		receiver = name(fn.Recv)[0]
	}
	call.Args = name(fn.Type.Params)
	hit := &ast.AssignStmt{Lhs: []ast.Expr{&ast.IndexExpr{X: ast.NewIdent(hitVar), Index: &ast.BasicLit{Kind: token.INT,
		Value: fmt.Sprint(at.number)}}},
		Tok: token.ASSIGN, Rhs: []ast.Expr{ast.NewIdent("true")}}
	choice := &ast.SwitchStmt{Tag: ast.NewIdent(chosenVar), Body: &ast.BlockStmt{}}
	for _, m := range ms {
		c := *call
		c.Fun = ast.NewIdent(mutantName(fn, m))
		if receiver != nil {
			c.Fun = &ast.SelectorExpr{X: receiver, Sel: ast.NewIdent(mutantName(fn, m))}
		}
		clause := &ast.CaseClause{List: []ast.Expr{&ast.BasicLit{Kind: token.INT, Value: fmt.Sprint(m.number)}}}
		if fn.Type.Results != nil {
			clause.Body = []ast.Stmt{&ast.ReturnStmt{Results: []ast.Expr{&c}}}
		} else {
			clause.Body = []ast.Stmt{&ast.ExprStmt{X: &c}, &ast.ReturnStmt{}}
		}
		choice.Body.List = append(choice.Body.List, clause)
	}
	some := &ast.BinaryExpr{X: ast.NewIdent(chosenVar), Op: token.NEQ, Y: &ast.BasicLit{Kind: token.INT, Value: "0"}}
	return append(head, hit, &ast.IfStmt{Cond: some, Body: &ast.BlockStmt{List: []ast.Stmt{choice}}})
}
