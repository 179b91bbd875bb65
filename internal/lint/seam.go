package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// seamFree are the directories where atomics and raw futex calls are allowed:
// the seam itself, the explorer behind it, and programs that measure or show
// things and are no part of the library.
var seamFree = []string{"internal/word", "internal/modelcheck", "internal/bench", "bench", "examples", "chantrace"}

// Seam reports every place in a library package of the tree that goes past
// internal/word: an import of sync/atomic (or of the runtime's own), the
// numbers of the futex and membarrier calls, a system call by a literal
// number, a go:linkname, and assembly. Test files are free to do all that.
func Seam(tree fs.FS) (faults []string, err error) {
	err = walk(tree, func(name string) error {
		if strings.HasSuffix(name, "_test.go") || within(name, seamFree) {
			return nil
		}
		if path.Ext(name) == ".s" {
			faults = append(faults, name+": assembly outside of internal/word")
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		found, err := seamOf(name, src)
		faults = append(faults, found...)
		return err
	})
	return faults, err
}

// seamOf is Seam for one file.
func seamOf(name string, src []byte) (faults []string, err error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	fault := func(at token.Pos, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%v: %s", fset.Position(at), fmt.Sprintf(format, args...)))
	}
	for _, imp := range f.Imports {
		switch p, _ := strconv.Unquote(imp.Path.Value); p {
		case "sync/atomic", "internal/runtime/atomic", "runtime/internal/atomic":
			fault(imp.Pos(), "imports %s; use internal/word", p)
		}
	}
	for _, g := range f.Comments {
		for _, c := range g.List {
			if strings.HasPrefix(c.Text, "//go:linkname ") {
				fault(c.Pos(), "go:linkname")
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if strings.HasPrefix(n.Name, "SYS_FUTEX") || strings.HasPrefix(n.Name, "SYS_MEMBARRIER") {
				fault(n.Pos(), "%s; use internal/word", n.Name)
			}
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || len(n.Args) == 0 {
				break
			}
			lit, isLit := n.Args[0].(*ast.BasicLit)
			if isLit && (strings.HasPrefix(sel.Sel.Name, "Syscall") || strings.HasPrefix(sel.Sel.Name, "RawSyscall")) {
				fault(lit.Pos(), "system call by the number %s; give it its name", lit.Value)
			}
		}
		return true
	})
	return faults, nil
}

// walk calls f for every file of the tree that is part of the project.
func walk(tree fs.FS, f func(name string) error) error {
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if base == "testdata" || base == "vendor" || name != "." && strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
			return nil
		}
		return f(name)
	})
}

// within tells whether a file lies in one of the directories, at any depth.
func within(name string, dirs []string) bool {
	for _, d := range dirs {
		if strings.HasPrefix(name, d+"/") {
			return true
		}
	}
	return false
}
