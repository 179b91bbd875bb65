package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// A pkg is what Docs knows of one directory with Go files.
type pkg struct {
	name    string
	docFile bool // has a doc.go with a package comment
	comment bool // has a package comment somewhere
	example bool
}

// Docs reports every package of the tree without a doc.go (for a program: a
// package comment), every package for users without an example, and every
// exported name outside of programs without a comment.
func Docs(tree fs.FS) (faults []string, err error) {
	pkgs := map[string]*pkg{}
	err = walk(tree, func(name string) error {
		if path.Ext(name) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		p := pkgs[dir]
		if p == nil {
			p = &pkg{}
			pkgs[dir] = p
		}
		if strings.HasSuffix(name, "_test.go") {
			p.example = p.example || hasExample(f)
			return nil
		}
		p.name = f.Name.Name
		if f.Doc != nil {
			p.comment = true
			p.docFile = p.docFile || path.Base(name) == "doc.go"
		}
		if p.name != "main" {
			faults = append(faults, undocumented(fset, f)...)
		}
		return nil
	})
	for _, dir := range slices.Sorted(maps.Keys(pkgs)) {
		p := pkgs[dir]
		switch {
		case p.name == "": // tests only
		case p.name == "main" && !p.comment:
			faults = append(faults, dir+": the program has no package comment")
		case p.name != "main" && !p.docFile:
			faults = append(faults, dir+": no doc.go with a package comment")
		case p.name != "main" && !p.example && !strings.Contains("/"+dir+"/", "/internal/"):
			faults = append(faults, dir+": no example in a test file")
		}
	}
	return faults, err
}

func hasExample(f *ast.File) bool {
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Example") {
			return true
		}
	}
	return false
}

// undocumented lists the exported names of a file that have no comment. A
// comment on a group of values counts for each of them, as does one behind the
// value. String, Error and Unwrap methods speak for
// themselves.
func undocumented(fset *token.FileSet, f *ast.File) (faults []string) {
	fault := func(at token.Pos, name string) {
		faults = append(faults, fmt.Sprintf("%v: %s has no comment", fset.Position(at), name))
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if !d.Name.IsExported() || d.Doc != nil {
				break
			}
			if d.Recv != nil {
				recv := receiver(d.Recv.List[0].Type)
				if !ast.IsExported(recv) || name == "String" || name == "Error" || name == "Unwrap" {
					break
				}
				name = recv + "." + name
			}
			fault(d.Pos(), name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() && s.Doc == nil && d.Doc == nil {
						fault(s.Pos(), s.Name.Name)
					}
				case *ast.ValueSpec:
					for _, n := range s.Names {
						if n.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
							fault(n.Pos(), n.Name)
						}
					}
				}
			}
		}
	}
	return faults
}

// receiver is the name of a method's type.
func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	}
	return ""
}

// Limits of Long, in lines.
const (
	maxLines     = 500
	maxTestLines = 1000
)

// Long reports the Go files that are too long to be about one idea.
func Long(tree fs.FS) (faults []string, err error) {
	err = walk(tree, func(name string) error {
		if path.Ext(name) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		limit := maxLines
		if strings.HasSuffix(name, "_test.go") {
			limit = maxTestLines
		}
		if n := strings.Count(string(src), "\n"); n > limit {
			faults = append(faults, fmt.Sprintf("%s: %d lines, want at most %d; one structure a file", name, n, limit))
		}
		return nil
	})
	return faults, err
}
