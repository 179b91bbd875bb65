package word

import (
	"bytes"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBuildsAgree holds the exported names and signatures of the build with
// the tag modelcheck against those of the build without it.
func TestBuildsAgree(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	real, model := map[string]bool{}, map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range exported(fset, f) {
			if tagged(f, false) {
				real[d] = true
			}
			if tagged(f, true) {
				model[d] = true
			}
		}
	}
	if !maps.Equal(real, model) {
		t.Errorf("without the tag:\n%s\nwith it:\n%s",
			strings.Join(slices.Sorted(maps.Keys(real)), "\n"), strings.Join(slices.Sorted(maps.Keys(model)), "\n"))
	}
}

// tagged reports whether f belongs to the build with the tag modelcheck, or to
// the one without, on some system.
func tagged(f *ast.File, model bool) bool {
	for _, g := range f.Comments {
		for _, c := range g.List {
			if x, err := constraint.Parse(c.Text); err == nil {
				return strings.Contains(x.String(), "!modelcheck") != model
			}
		}
	}
	return true
}

// exported lists the exported declarations of f.
func exported(fset *token.FileSet, f *ast.File) (list []string) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() {
				d.Doc, d.Body = nil, nil
				var b bytes.Buffer
				printer.Fprint(&b, fset, d)
				list = append(list, b.String())
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						list = append(list, "type "+s.Name.Name)
					}
				case *ast.ValueSpec:
					for _, n := range s.Names {
						if n.IsExported() {
							list = append(list, "value "+n.Name)
						}
					}
				}
			}
		}
	}
	return list
}
