package house_test

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// public are the folders whose packages others may import: what they have by name stays.
var public = []string{"wire", "packet", "ipsec", "sadb", "pfkey", "pfkey/pfkeytest", "kernel", "kernel/status",
	"packetport", "hostile", "trace", "launch", "ipseckey"}

// What a public package exports mentions no type that only this module can name.
func TestPublicTypes(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range everyGoFile(t) {
		if f.test || !slices.Contains(public, f.room) {
			continue
		}
		seen[f.room] = true
		inside := map[string]bool{} // names of packages below internal, in this file
		for _, i := range f.ast.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains("/"+path+"/", "/internal/") {
				continue
			}
			name := path[strings.LastIndex(path, "/")+1:]
			if i.Name != nil {
				name = i.Name.Name
			}
			inside[name] = true
		}
		for _, d := range f.ast.Decls {
			for _, typ := range exportedTypes(d) {
				ast.Inspect(typ, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok {
						if x, ok := s.X.(*ast.Ident); ok && inside[x.Name] {
							t.Errorf("%s: %s.%s is internal", fset.Position(s.Pos()), x.Name, s.Sel.Name)
						}
					}
					return true
				})
			}
		}
	}
	for _, room := range public {
		if !seen[room] {
			t.Errorf("there is no package %s", room)
		}
	}
}

// dialectName is how constants of one dialect begin.
var dialectName = regexp.MustCompile(`^(Illumos|Linux|KAME|NetBSD|FreeBSD|OpenBSD|Darwin)[A-Z]`)

// Constants of one dialect have a type of the package: go doc lists them below it. Without one they would stand at the
// top, before what people come for.
func TestDialectConstantsHaveTypes(t *testing.T) {
	typed := 0
	for _, f := range everyGoFile(t) {
		if f.test || !slices.Contains(public, f.room) {
			continue
		}
		for _, d := range f.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				id, ok := v.Type.(*ast.Ident)
				switch {
				case !dialectName.MatchString(v.Names[0].Name), v.Values == nil: // as the one before
				case ok && id.IsExported():
					typed++
				default:
					t.Errorf("%s: %s has no type of the package", fset.Position(v.Pos()), v.Names[0].Name)
				}
			}
		}
	}
	if typed == 0 {
		t.Error("no constant of a dialect was found")
	}
}

// docLink is a link in a comment: to a name of the package, or of another one.
var docLink = regexp.MustCompile(`\[(?:([a-z]\w*)\.)?([A-Z][A-Za-z0-9]*(?:\.[A-Z][A-Za-z0-9]*)?)\](?:[^(\[:\w]|$)`)

// What the comments of public packages link to is there, in whichever public package. A name that has gone stays in
// comments otherwise.
func TestDocLinks(t *testing.T) {
	has := map[string]bool{} // as packet.Ledger.Inject
	for _, f := range everyGoFile(t) {
		if f.test || !slices.Contains(public, f.room) {
			continue
		}
		add := func(name ...string) { has[f.ast.Name.Name+"."+strings.Join(name, ".")] = true }
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil {
					add(receiver(d.Recv.List[0].Type), d.Name.Name)
				} else {
					add(d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.ValueSpec:
						for _, id := range s.Names {
							add(id.Name)
						}
					case *ast.TypeSpec:
						add(s.Name.Name)
						for _, m := range members(s.Type) {
							add(s.Name.Name, m)
						}
					}
				}
			}
		}
	}
	for _, f := range everyGoFile(t) {
		if f.test || !slices.Contains(public, f.room) {
			continue
		}
		for _, g := range f.ast.Comments {
			for _, c := range g.List {
				if strings.HasPrefix(c.Text, "//\t") { // code
					continue
				}
				for _, m := range docLink.FindAllStringSubmatch(c.Text, -1) {
					pkg := m[1]
					if pkg == "" {
						pkg = f.ast.Name.Name
					}
					known := slices.ContainsFunc(public, func(room string) bool { return path.Base(room) == pkg })
					if known && !has[pkg+"."+m[2]] {
						t.Errorf("%s: there is no %s.%s", fset.Position(c.Pos()), pkg, m[2])
					}
				}
			}
		}
	}
}

// members are the fields of a struct, or the methods of an interface.
func members(typ ast.Expr) (names []string) {
	var list *ast.FieldList
	switch t := typ.(type) {
	case *ast.StructType:
		list = t.Fields
	case *ast.InterfaceType:
		list = t.Methods
	default:
		return nil
	}
	for _, field := range list.List {
		for _, id := range field.Names {
			names = append(names, id.Name)
		}
	}
	return names
}

// exportedTypes are the types that the exported names of a declaration mention.
func exportedTypes(d ast.Decl) (types []ast.Node) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || exportedReceiver(d.Recv)) {
			types = append(types, d.Type)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				if s.Type != nil && slices.ContainsFunc(s.Names, (*ast.Ident).IsExported) {
					types = append(types, s.Type)
				}
			case *ast.TypeSpec:
				if !s.Name.IsExported() {
					continue
				}
				st, ok := s.Type.(*ast.StructType)
				if !ok {
					types = append(types, s.Type)
					continue
				}
				for _, field := range st.Fields.List {
					if len(field.Names) == 0 || slices.ContainsFunc(field.Names, (*ast.Ident).IsExported) {
						types = append(types, field.Type)
					}
				}
			}
		}
	}
	return types
}

func exportedReceiver(list *ast.FieldList) bool {
	name := list.List[0].Type
	if p, ok := name.(*ast.StarExpr); ok {
		name = p.X
	}
	if x, ok := name.(*ast.IndexExpr); ok {
		name = x.X
	}
	id, ok := name.(*ast.Ident)
	return ok && id.IsExported()
}
