package lint

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const root = "../.."

func report(t *testing.T, faults []string, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Error(f)
	}
}

func TestOnlyTheSeamHasAtomics(t *testing.T) {
	faults, err := Seam(os.DirFS(root))
	report(t, faults, err)
}

func TestEverythingIsDocumented(t *testing.T) {
	faults, err := Docs(os.DirFS(root))
	report(t, faults, err)
}

func TestFilesAreShort(t *testing.T) {
	faults, err := Long(os.DirFS(root))
	report(t, faults, err)
}

func TestLinksLeadSomewhere(t *testing.T) {
	faults, err := Links(os.DirFS(root))
	report(t, faults, err)
}

// A rule that finds nothing may be a rule that looks at nothing.

func TestSeamFinds(t *testing.T) {
	code := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	tree := fstest.MapFS{
		"a/atomic.go":           code("package a\nimport \"sync/atomic\"\nvar X atomic.Int32\n"),
		"b/renamed.go":          code("package b\nimport u \"sync/atomic\"\nvar X u.Int32\n"),
		"c/futex.go":            code("package c\nimport \"syscall\"\nfunc f() { syscall.Syscall(syscall.SYS_FUTEX, 0, 0, 0) }\n"),
		"d/membarrier.go":       code("package d\nimport \"golang.org/x/sys/unix\"\nconst n = unix.SYS_MEMBARRIER\n"),
		"e/number.go":           code("package e\nimport \"syscall\"\nfunc f() { syscall.RawSyscall6(202, 0, 0, 0, 0, 0, 0) }\n"),
		"f/linkname.go":         code("package f\nimport _ \"unsafe\"\n//go:linkname sem runtime.semrelease\nfunc sem()\n"),
		"g/fast.s":              code("RET\n"),
		"x/examples/in.go":      code("package x\nimport \"sync/atomic\"\nvar X atomic.Int32\n"),
		"ok/a_test.go":          code("package ok\nimport \"sync/atomic\"\nvar X atomic.Int32\n"),
		"ok/yield.go":           code("package ok\nimport \"syscall\"\nfunc f() { syscall.Syscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }\n"),
		"ok/words.go":           code("package ok\nvar s = \"sync/atomic SYS_FUTEX\" // sync/atomic\n"),
		"internal/word/word.go": code("package word\nimport \"sync/atomic\"\nvar X atomic.Int32\n"),
		"internal/word/cpu.s":   code("RET\n"),
		"examples/a/main.go":    code("package main\nimport \"sync/atomic\"\nvar X atomic.Int32\n"),
		"a/testdata/bad.go":     code("package bad\nimport \"sync/atomic\"\n"),
	}
	faults, err := Seam(tree)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, f := range faults {
		file, _, _ := strings.Cut(f, ":")
		files = append(files, file)
	}
	want := []string{"a/atomic.go", "b/renamed.go", "c/futex.go", "d/membarrier.go", "e/number.go", "f/linkname.go", "g/fast.s", "x/examples/in.go"}
	if !slices.Equal(files, want) {
		t.Errorf("faults in %q, want %q:\n%s", files, want, strings.Join(faults, "\n"))
	}
	if _, err := Seam(fstest.MapFS{"a/broken.go": code("package")}); err == nil {
		t.Error("a file that does not parse was passed")
	}
}

func TestDocsFinds(t *testing.T) {
	code := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	faults, err := Docs(fstest.MapFS{
		"good/doc.go":       code("// Package good is.\npackage good\n"),
		"good/a.go":         code("package good\n\n// A is.\ntype A[T any] struct{}\n\nfunc (*A[T]) String() string\n\n// M does.\nfunc (A[T]) M()\n\n// Some.\nconst (\n\tX = 1\n\tY = 2 // two\n)\n\ntype b int\n\nfunc (b) N()\n"),
		"good/a_test.go":    code("package good_test\n\nfunc Example() {}\n"),
		"bad/a.go":          code("package bad\n\ntype A int\n\nfunc (*A) M()\n\nfunc F()\n\nvar V, w int\n"),
		"cmd/p/main.go":     code("// P does.\npackage main\n"),
		"cmd/q/main.go":     code("package main\n"),
		"internal/i/doc.go": code("// Package i is.\npackage i\n"),
		"none/a_test.go":    code("package none\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"bad/a.go:3:6: A has no comment", "bad/a.go:5:1: A.M has no comment", "bad/a.go:7:1: F has no comment", "bad/a.go:9:5: V has no comment",
		"bad: no doc.go with a package comment",
		"cmd/q: the program has no package comment",
	}
	if !slices.Equal(faults, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(faults, "\n"), strings.Join(want, "\n"))
	}
	faults, _ = Docs(fstest.MapFS{"bare/doc.go": code("// Package bare is.\npackage bare\n")})
	if !slices.Equal(faults, []string{"bare: no example in a test file"}) {
		t.Errorf("%q", faults)
	}
}

func TestLongFinds(t *testing.T) {
	lines := func(n int) *fstest.MapFile { return &fstest.MapFile{Data: []byte(strings.Repeat("\n", n))} }
	faults, err := Long(fstest.MapFS{
		"a/a.go": lines(maxLines), "a/b.go": lines(maxLines + 1), "a/a_test.go": lines(maxTestLines), "a/b_test.go": lines(maxTestLines + 1), "a.md": lines(5000),
	})
	if err != nil || len(faults) != 2 || !strings.HasPrefix(faults[0], "a/b.go: 501 ") || !strings.HasPrefix(faults[1], "a/b_test.go: 1001 ") {
		t.Errorf("%q, %v", faults, err)
	}
}

func TestLinksFinds(t *testing.T) {
	md := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	faults, err := Links(fstest.MapFS{
		"README.md":    md("# A b: `c`\n[ok](docs/x.md) [ok](docs/x.md#the-words-2) [ok](#a-b-c) [ok](docs) [ok](https://go.dev)\n[no](docs/y.md)\n[no](#z) [no](docs/x.md#code)\n"),
		"docs/x.md":    md("## The words, 2\n```\n# code\n[no](nowhere.md)\n```\n[ok](../README.md)\n"),
		".hidden/a.md": md("[no](nowhere.md)\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"README.md:3: link to docs/y.md: there is no docs/y.md",
		"README.md:4: link to #z: there is no such heading", "README.md:4: link to docs/x.md#code: there is no such heading",
	}
	if !slices.Equal(faults, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(faults, "\n"), strings.Join(want, "\n"))
	}
}

func TestTableFinds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.md")
	os.WriteFile(file, []byte(`
# S
| offset | size | field |
|---|---|---|
| 0 | 4 | `+"`a`"+` |
| 4 | 4 | (padding) |
| 8 | 8 | b |

# Gap
| offset | size | field |
|--|--|--|
| 0 | 4 | a |
| 8 | 8 | b |

# Short
| offset | size | field |
|--|--|--|
| 0 | 4 | a |

# Lacks
| offset | size | field |
|--|--|--|
| 0 | 4 | a |
| 4 | 12 | (padding) |

# Wrong
| offset | size | field |
|--|--|--|
| 0 | 8 | a |
| 8 | 8 | b |

# V
| value | name |
|--|--|
| 0x10 | x |

# B
| bits | name |
|--|--|
| 0-7 | low |
| 63 | top |
`), 0o600)
	tables, err := Tables(file)
	if err != nil {
		t.Fatal(err)
	}
	type s struct {
		a uint32
		_ [4]byte
		b uint64
	}
	_ = s{a: 1, b: 2}
	if err := tables["S"].Struct(reflect.TypeFor[s]()); err != nil {
		t.Error(err)
	}
	for _, title := range []string{"Gap", "Short", "Lacks", "Wrong"} {
		if tables[title].Struct(reflect.TypeFor[s]()) == nil {
			t.Errorf("%s was passed", title)
		}
	}
	if err := tables["V"].Values(map[string]uint64{"x": 16}); err != nil {
		t.Error(err)
	}
	if tables["V"].Values(map[string]uint64{"x": 16, "y": 1}) == nil || tables["V"].Values(map[string]uint64{"x": 15}) == nil {
		t.Error("wrong values were passed")
	}
	if err := tables["B"].Bits(map[string]uint64{"low": 0xff, "top": 1 << 63}); err != nil {
		t.Error(err)
	}
	if tables["B"].Bits(map[string]uint64{"low": 0x7f, "top": 1 << 63}) == nil {
		t.Error("wrong bits were passed")
	}
}

// What code in Markdown may use without saying so.
var (
	given   = "ctx context.Context, tx *shmchan.Sender[Tick], rx *shmchan.Receiver[Tick], tick Tick, ticks []Tick, cmd *exec.Cmd"
	imports = []string{
		"context", "errors", "fmt", "io", "log", "os", "os/exec", "time",
		"github.com/shmkit/shm/region", "github.com/shmkit/shm/shmchan", "github.com/shmkit/shm/shmchan/spsc", "github.com/shmkit/shm/slabpool", "github.com/shmkit/shm/waiter",
	}
	common = "package PKG\n\ntype Tick struct {\n\tSymbol [8]byte\n\tPrice float64\n}\n"
)

// TestCodeInMarkdownCompiles builds the Go code of README.md and docs/, each
// file as one package. A block that declares Tick replaces the common one.
func TestCodeInMarkdownCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the go command")
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	var pkgs []string
	add := func(pkg, name, text string) {
		file := filepath.Join(dir, pkg+"_"+name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(top, "internal", "lint", pkg, name)] = file
	}
	err = walk(os.DirFS(root), func(name string) error {
		if filepath.Ext(name) != ".md" {
			return nil
		}
		text, err := fs.ReadFile(os.DirFS(root), name)
		if err != nil {
			return err
		}
		blocks := CodeBlocks(name, string(text))
		if len(blocks) == 0 {
			return nil
		}
		pkg := "markdown" + fmt.Sprint(len(pkgs))
		pkgs = append(pkgs, "./internal/lint/"+pkg)
		head := strings.ReplaceAll(common, "PKG", pkg)
		for i, b := range blocks {
			if strings.Contains(b.Text, "type Tick ") {
				head = "package " + pkg + "\n"
			}
			src, err := b.Source(pkg, given, imports)
			if err != nil {
				return err
			}
			add(pkg, fmt.Sprintf("block%d.go", i), fmt.Sprintf("//line %s:%d\n%s", name, b.Line, src))
		}
		add(pkg, "common.go", head)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) == 0 {
		t.Fatal("no Go code in any Markdown file")
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", append([]string{"build", "-overlay", filepath.Join(dir, "overlay.json")}, pkgs...)...)
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
