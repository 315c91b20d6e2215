package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// change is a place where the syntax tree can be changed.
type change struct {
	op, what    string
	pos         token.Pos
	apply, undo func()
}

// finder collects the changes of one function or table.
type finder struct {
	s     *source
	at    *site
	found []change
}

// mutate lists the changes of a site, by kind:
//
//	swap       two neighbouring checks, or two neighbours of a list
//	recipient  who hears a message
//	field      a part of a reply is left out
//	check      a check never applies, or one of its conditions does not count
//	compare    a comparison is off by one, or the other way round
//	code       another errno or diagnostic
//	assign     a value is not stored
//	call       a function is not called
//	number     a number is one more
//	row        a row or a column of a table is missing, or a number in it is one more
func (s *source) mutate(at *site) []change {
	f := &finder{s: s, at: at}
	if at.table != nil {
		f.table(at.table.Values[0])
		return f.found
	}
	ast.Inspect(at.fn.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BlockStmt:
			f.statements(&n.List)
		case *ast.CaseClause:
			f.statements(&n.Body)
			f.caseList(n)
		case *ast.SwitchStmt:
			f.cases(n)
		case *ast.IfStmt:
			f.condition(&n.Cond, leaves(n.Body.List))
		case *ast.ForStmt:
			if n.Cond != nil {
				f.operands(&n.Cond)
			}
		case *ast.ReturnStmt:
			f.returned(n)
		case *ast.CompositeLit:
			f.literal(n)
		case *ast.CallExpr:
			f.call(n)
		case *ast.BinaryExpr:
			f.comparison(n)
		case *ast.BasicLit:
			f.number(n, "number")
		case *ast.AssignStmt:
			f.operandsOf(n.Rhs)
			f.errnos(n.Rhs)
		}
		return true
	})
	return f.found
}

func (f *finder) add(op string, n ast.Node, apply, undo func(), format string, args ...any) {
	f.found = append(f.found, change{op, fmt.Sprintf(format, args...), n.Pos(), apply, undo})
}

// set is a change that puts to in place of what is there.
func set[T any](place *T, to T) (apply, undo func()) {
	old := *place
	return func() { *place = to }, func() { *place = old }
}

// leaves says whether a list of statements ends by leaving what it is in.
func leaves(list []ast.Stmt) bool {
	if len(list) == 0 {
		return false
	}
	switch s := list[len(list)-1].(type) {
	case *ast.ReturnStmt:
		return true
	case *ast.BranchStmt:
		return s.Tok == token.CONTINUE || s.Tok == token.BREAK
	}
	return false
}

func isCheck(s ast.Stmt) bool {
	c, ok := s.(*ast.IfStmt)
	return ok && c.Else == nil && leaves(c.Body.List)
}

func without[T any](list []T, i int) []T { return append(slices.Clone(list[:i]), list[i+1:]...) }

func swapped[T any](list []T, i int) []T {
	c := slices.Clone(list)
	c[i], c[i+1] = c[i+1], c[i]
	return c
}

// locks and hooks are left alone: what they are for shows only to other threads, or not at all.
var untouchable = []string{"Lock", "Unlock", "RLock", "RUnlock", "Step", "Debug", "Info", "panic"}

func (f *finder) statements(list *[]ast.Stmt) {
	for i, s := range *list {
		if i+1 < len(*list) && isCheck(s) && isCheck((*list)[i+1]) {
			apply, undo := set(list, swapped(*list, i))
			f.add("swap", s, apply, undo, "%s <> %s", f.s.text(s.(*ast.IfStmt).Cond),
				f.s.text((*list)[i+1].(*ast.IfStmt).Cond))
		}
		drop := func(op string) {
			apply, undo := set(list, without(*list, i))
			f.add(op, s, apply, undo, "drop %s", f.s.text(s))
		}
		switch s := s.(type) {
		case *ast.ExprStmt:
			if c, ok := s.X.(*ast.CallExpr); ok && !slices.Contains(untouchable, callee(c)) {
				if writesBytes(callee(c)) {
					drop("field")
				} else {
					drop(f.kind("call"))
				}
			}
		case *ast.IncDecStmt:
			drop("assign")
		case *ast.AssignStmt:
			switch {
			case s.Tok == token.DEFINE:
			case s.Tok != token.ASSIGN,
				!slices.ContainsFunc(s.Lhs, func(e ast.Expr) bool { _, local := e.(*ast.Ident); return local }):
				drop("assign")
			}
		}
	}
}

// callee is the last part of the name of what is called.
func callee(c *ast.CallExpr) string {
	switch fun := c.Fun.(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		return fun.Sel.Name
	}
	return ""
}

func writesBytes(name string) bool {
	return strings.HasPrefix(name, "Put") || name == "copy" || name == "clear"
}

func appends(name string) bool {
	return strings.HasPrefix(name, "Append") || strings.HasPrefix(name, "append")
}

func (f *finder) cases(n *ast.SwitchStmt) {
	if n.Tag != nil {
		return
	}
	clause := func(i int) *ast.CaseClause { return n.Body.List[i].(*ast.CaseClause) }
	for i := range n.Body.List {
		c := clause(i)
		if c.List == nil {
			continue
		}
		if i+1 < len(n.Body.List) && clause(i+1).List != nil {
			apply, undo := set(&n.Body.List, swapped(n.Body.List, i))
			f.add("swap", c, apply, undo, "%s <> %s", f.s.text(c.List[0]), f.s.text(clause(i + 1).List[0]))
		}
		f.condition(&c.List[0], true)
	}
}

// caseList leaves out one value of those that a case is for.
func (f *finder) caseList(c *ast.CaseClause) {
	if len(c.List) < 2 {
		return
	}
	for i, v := range c.List {
		apply, undo := set(&c.List, without(c.List, i))
		f.add(f.kind("check"), v, apply, undo, "case without %s", f.s.text(v))
	}
}

// recipients says whether the function decides who hears a message.
func (f *finder) recipients() bool {
	return slices.Contains([]string{"hears", "passUp", "notify", "broadcast", "hear"}, f.at.fn.Name.Name)
}

// kind is that of a change to a condition or a call: another one where those decide who hears a message.
func (f *finder) kind(op string) string {
	if f.recipients() {
		return "recipient"
	}
	return op
}

// condition is that of a check: it never holds, or it holds without one of its parts.
func (f *finder) condition(e *ast.Expr, check bool) {
	old := *e
	never := &ast.BinaryExpr{X: &ast.ParenExpr{X: old}, Op: token.LAND, Y: ast.NewIdent("false")}
	apply, undo := set(e, ast.Expr(never))
	f.add(f.kind("check"), old, apply, undo, "never %s", f.s.text(old))
	if !check {
		always := &ast.BinaryExpr{X: &ast.ParenExpr{X: old}, Op: token.LOR, Y: ast.NewIdent("true")}
		apply, undo := set(e, ast.Expr(always))
		f.add(f.kind("check"), old, apply, undo, "always %s", f.s.text(old))
	}
	f.operands(e)
}

// operands leaves out each part of a condition in turn.
func (f *finder) operands(e *ast.Expr) {
	whole := *e
	inner := whole
	for p, ok := inner.(*ast.ParenExpr); ok; p, ok = inner.(*ast.ParenExpr) {
		inner = p.X
	}
	b, ok := inner.(*ast.BinaryExpr)
	if !ok || b.Op != token.LAND && b.Op != token.LOR {
		return
	}
	for _, side := range []struct{ out, rest ast.Expr }{{b.X, b.Y}, {b.Y, b.X}} {
		apply, undo := set(e, side.rest)
		f.add(f.kind("check"), side.out, apply, undo, "%s without %s", f.s.text(whole), f.s.text(side.out))
	}
	f.operands(&b.X)
	f.operands(&b.Y)
}

func (f *finder) operandsOf(list []ast.Expr) {
	for i := range list {
		f.operands(&list[i])
	}
}

func (f *finder) returned(r *ast.ReturnStmt) {
	f.operandsOf(r.Results)
	f.errnos(r.Results)
	if len(r.Results) != 1 {
		return
	}
	old := r.Results[0]
	id, isName := old.(*ast.Ident)
	literal := isName && (id.Name == "true" || id.Name == "false")
	if !literal && !(f.recipients() && boolean(f.at.fn)) {
		return
	}
	for _, v := range []string{"true", "false"} {
		if isName && id.Name == v {
			continue
		}
		apply, undo := set(&r.Results[0], ast.Expr(ast.NewIdent(v)))
		f.add(f.kind("check"), old, apply, undo, "return %s, not %s", v, f.s.text(old))
	}
}

func boolean(fn *ast.FuncDecl) bool {
	r := fn.Type.Results
	if r == nil || len(r.List) != 1 {
		return false
	}
	id, ok := r.List[0].Type.(*ast.Ident)
	return ok && id.Name == "bool"
}

func (f *finder) literal(n *ast.CompositeLit) {
	for i, e := range n.Elts {
		if _, ok := e.(*ast.KeyValueExpr); ok {
			apply, undo := set(&n.Elts, without(n.Elts, i))
			f.add("field", e, apply, undo, "drop %s", f.s.text(e))
		} else if _, list := n.Type.(*ast.ArrayType); list && i+1 < len(n.Elts) &&
			f.s.text(e) != f.s.text(n.Elts[i+1]) {
			apply, undo := set(&n.Elts, swapped(n.Elts, i))
			f.add("swap", e, apply, undo, "%s <> %s", f.s.text(e), f.s.text(n.Elts[i+1]))
		}
		f.errno(&n.Elts[i])
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			f.errno(&kv.Value)
		}
	}
}

// errno changes a symbolic errno or a diagnostic.
func (f *finder) errno(e *ast.Expr) {
	sel, ok := (*e).(*ast.SelectorExpr)
	if !ok {
		return
	}
	if x, ok := sel.X.(*ast.Ident); !ok || x.Name != "wire" {
		return
	}
	to := ""
	switch name := sel.Sel.Name; {
	case strings.HasPrefix(name, "IllumosDiag") && name != "IllumosDiagNone":
		to = "IllumosDiagNone"
	case len(name) > 2 && name[0] == 'E' && strings.ToUpper(name) == name && name != "EINTR":
		to = "EINTR"
	default:
		return
	}
	apply, undo := set(e, ast.Expr(&ast.SelectorExpr{X: ast.NewIdent("wire"), Sel: ast.NewIdent(to)}))
	f.add("code", sel, apply, undo, "%s, not %s", to, sel.Sel.Name)
}

func (f *finder) errnos(list []ast.Expr) {
	for i := range list {
		f.errno(&list[i])
	}
}

// audiences are, by the name of a function that delivers a message, the values of the argument that says to whom.
var audiences = map[string][]string{
	"passUp":    {"fromKeysock", "fromConsumer", "fromUser"},         // illumos: by where the message comes from
	"broadcast": {justOne, "toAll", "toRegistered", "toPromiscuous"}, // Linux
}

// justOne is the audience of one socket, which then has to be named.
const justOne = "toOne"

func (f *finder) call(c *ast.CallExpr) {
	name := callee(c)
	f.errnos(c.Args)
	if _, method := c.Fun.(*ast.SelectorExpr); appends(name) && method && len(c.Args) > 1 {
		f.dropAppend(c)
	}
	if all := audiences[name]; all != nil {
		f.audience(c, all)
	}
}

// audience has others hear a message, or does not tell who has caused it.
func (f *finder) audience(c *ast.CallExpr, all []string) {
	isName := func(e ast.Expr, name string) bool { id, ok := e.(*ast.Ident); return ok && id.Name == name }
	has := func(name string) bool {
		return slices.ContainsFunc(c.Args, func(a ast.Expr) bool { return isName(a, name) })
	}
	nobody := has("nil")
	for i, a := range c.Args {
		if sender(a) && !has(justOne) {
			apply, undo := set(&c.Args[i], ast.Expr(ast.NewIdent("nil")))
			f.add("recipient", a, apply, undo, "nil, not %s: %s", f.s.text(a), f.s.text(c))
		}
		id, ok := a.(*ast.Ident)
		if !ok || !slices.Contains(all, id.Name) {
			continue
		}
		for _, other := range all {
			if other != id.Name && !(other == justOne && nobody) {
				apply, undo := set(&c.Args[i], ast.Expr(ast.NewIdent(other)))
				f.add("recipient", a, apply, undo, "%s, not %s: %s", other, id.Name, f.s.text(c))
			}
		}
	}
}

// sender says whether an argument is the socket whose message is handled.
func sender(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return e.Sel.Name == "sender"
	case *ast.Ident:
		return e.Name == "c" // a client
	}
	return false
}

// dropAppend makes a call that appends to its first argument return that as it is. The other arguments stay, so that
// they are used.
func (f *finder) dropAppend(c *ast.CallExpr) {
	apply, undo := set(&c.Fun, ast.Expr(ast.NewIdent("mutantFirst_")))
	f.add("field", c, apply, undo, "drop %s", f.s.text(c))
}

var opposite = map[token.Token][]token.Token{
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR}, token.GTR: {token.GEQ, token.LEQ},
	token.GEQ: {token.GTR, token.LSS},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
}

func (f *finder) comparison(b *ast.BinaryExpr) {
	text := f.s.text(b)
	for _, to := range opposite[b.Op] {
		apply, undo := set(&b.Op, to)
		f.add("compare", b, apply, undo, "%s in %s", to, text)
	}
}

func (f *finder) number(l *ast.BasicLit, op string) {
	if l.Kind != token.INT {
		return
	}
	v, err := strconv.ParseUint(l.Value, 0, 64)
	if err != nil || v == 1<<64-1 {
		return
	}
	apply, undo := set(&l.Value, strconv.FormatUint(v+1, 10))
	f.add(op, l, apply, undo, "%d, not %s", v+1, l.Value)
}

// table changes a table of the package: its rows, their columns and the numbers in them.
func (f *finder) table(e ast.Expr) {
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.CompositeLit:
			for i, e := range n.Elts {
				if positional(n) {
					break
				}
				apply, undo := set(&n.Elts, without(n.Elts, i))
				f.add("row", e, apply, undo, "drop %s", f.s.text(e))
			}
		case *ast.KeyValueExpr:
			f.table(n.Value) // a key is not changed
			return false
		case *ast.BasicLit:
			f.number(n, "row")
		}
		return true
	})
}

// positional says whether a literal is a struct's whose fields are told by their place: none can be missing.
func positional(n *ast.CompositeLit) bool {
	if n.Type != nil || len(n.Elts) == 0 {
		return false
	}
	_, named := n.Elts[0].(*ast.KeyValueExpr)
	return !named
}
