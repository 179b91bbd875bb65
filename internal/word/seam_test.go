//go:build !modelcheck && !race

package word

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// seamProgram has each operation of a word twice: by this package, and by
// sync/atomic on an ordinary variable.
const seamProgram = `package main

import (
	"sync/atomic"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
)

//go:noinline
func seamLoad32(u *word.U32) uint32 { return u.Load() }

//go:noinline
func bareLoad32(u *uint32) uint32 { return atomic.LoadUint32(u) }

//go:noinline
func seamLoad64(u *word.U64) uint64 { return u.Load() }

//go:noinline
func bareLoad64(u *uint64) uint64 { return atomic.LoadUint64(u) }

//go:noinline
func seamStore32(u *word.U32, v uint32) { u.Store(v) }

//go:noinline
func bareStore32(u *uint32, v uint32) { atomic.StoreUint32(u, v) }

//go:noinline
func seamStore64(u *word.U64, v uint64) { u.Store(v) }

//go:noinline
func bareStore64(u *uint64, v uint64) { atomic.StoreUint64(u, v) }

//go:noinline
func seamAdd32(u *word.U32, v uint32) uint32 { return u.Add(v) }

//go:noinline
func bareAdd32(u *uint32, v uint32) uint32 { return atomic.AddUint32(u, v) }

//go:noinline
func seamAdd64(u *word.U64, v uint64) uint64 { return u.Add(v) }

//go:noinline
func bareAdd64(u *uint64, v uint64) uint64 { return atomic.AddUint64(u, v) }

//go:noinline
func seamSwap32(u *word.U32, v uint32) uint32 { return u.Swap(v) }

//go:noinline
func bareSwap32(u *uint32, v uint32) uint32 { return atomic.SwapUint32(u, v) }

//go:noinline
func seamCompare32(u *word.U32, a, b uint32) bool { return u.CompareAndSwap(a, b) }

//go:noinline
func bareCompare32(u *uint32, a, b uint32) bool { return atomic.CompareAndSwapUint32(u, a, b) }

//go:noinline
func seamCompare64(u *word.U64, a, b uint64) bool { return u.CompareAndSwap(a, b) }

//go:noinline
func bareCompare64(u *uint64, a, b uint64) bool { return atomic.CompareAndSwapUint64(u, a, b) }

//go:noinline
func seamAccess(p *uint64) uint64 {
	word.Writes(unsafe.Pointer(p), 8)
	*p = 7
	word.Reads(unsafe.Pointer(p), 8)
	return *p
}

//go:noinline
func bareAccess(p *uint64) uint64 {
	*p = 7
	return *p
}

func main() {
	var u word.U32
	var v word.U64
	var a uint32
	var b uint64
	seamStore32(&u, 1); bareStore32(&a, 1)
	seamStore64(&v, 1); bareStore64(&b, 1)
	seamAdd32(&u, 1); bareAdd32(&a, 1)
	seamAdd64(&v, 1); bareAdd64(&b, 1)
	if !seamCompare32(&u, 2, 3) || !bareCompare32(&a, 2, 3) || !seamCompare64(&v, 2, 3) || !bareCompare64(&b, 2, 3) ||
		seamSwap32(&u, 4) != 3 || bareSwap32(&a, 4) != 3 || seamLoad32(&u) != bareLoad32(&a) || seamLoad64(&v) != bareLoad64(&b) ||
		seamAccess(&b) != bareAccess(&b) {
		panic("wrong")
	}
}
`

// TestSeamCostsNothing compares the machine code of each operation with that of
// the direct call. A no-op is left out: where an inlined call begins with its
// function, the compiler marks that by one.
func TestSeamCostsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a compiler and what it makes, which an emulator may not do")
	}
	binary := build(t, seamProgram)
	for _, f := range []string{"Load32", "Load64", "Store32", "Store64", "Add32", "Add64", "Swap32", "Compare32", "Compare64", "Access"} {
		seam, bare := disassemble(t, binary, "seam"+f), disassemble(t, binary, "bare"+f)
		seam = slices.DeleteFunc(seam, func(c string) bool { return c == "NOPL" || c == "NOOP" })
		if !slices.Equal(seam, bare) {
			t.Errorf("%s is not what sync/atomic is:\n\t%s\nand directly:\n\t%s", f, strings.Join(seam, "\n\t"), strings.Join(bare, "\n\t"))
		}
	}
}

// build compiles a program inside this module, where it may import what is
// internal, runs it, and returns its file.
func build(t *testing.T, program string) (binary string) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command")
	}
	dir := t.TempDir()
	source, overlay, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "program")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	there := filepath.Join(here, "disassembled", "main.go")
	b, err := json.Marshal(map[string]any{"Replace": map[string]string{there: source}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{source: []byte(program), overlay: b} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-overlay", overlay, "-o", binary, "./disassembled")
	cmd.Env = append(os.Environ(), "GOARCH="+runtime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if out, err := exec.Command(binary).CombinedOutput(); err != nil {
		t.Fatalf("run: %v\n%s", err, out)
	}
	return binary
}

var address = regexp.MustCompile(`0x[0-9a-f]{5,}`)

// disassemble returns the instructions of a function of package main, without
// where they are: a jump's target is an address, which two functions do not
// share.
func disassemble(t *testing.T, binary, f string) (code []string) {
	t.Helper()
	out, err := exec.Command("go", "tool", "objdump", "-s", `^main\.`+f+`$`, binary).CombinedOutput()
	if err != nil {
		t.Fatalf("objdump: %v\n%s", err, out)
	}
	for l := range strings.Lines(string(out)) {
		// file:line, address, bytes, instruction
		if fields := strings.Fields(l); len(fields) >= 4 && strings.HasPrefix(fields[1], "0x") {
			c := strings.Join(fields[3:], " ")
			if strings.HasPrefix(c, "J") || strings.HasPrefix(c, "B") {
				c = address.ReplaceAllString(c, "address")
			}
			code = append(code, c)
		}
	}
	if len(code) == 0 {
		t.Fatalf("no code of %s:\n%s", f, out)
	}
	return code
}
