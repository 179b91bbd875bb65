//go:build amd64 && !modelcheck && !race

package word

import (
	"regexp"
	"strings"
	"testing"
)

// releaseProgram has the hot paths, inlined into functions of its own. The
// names of the constants are what the test looks for in the instructions.
const releaseProgram = `package main

import (
	"unsafe"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/shmchan/spsc"
)

//go:noinline
func send(p *spsc.Producer) bool {
	s := p.Slot()
	if s == nil {
		return false
	}
	*(*uint64)(s) = 0x7071727374757677
	p.Publish()
	return true
}

//go:noinline
func recv(c *spsc.Consumer, to *uint64) bool {
	s := c.Slot()
	if s == nil {
		return false
	}
	*to = *(*uint64)(s)
	c.Release()
	return true
}

//go:noinline
func release(u *word.U64, payload *uint64) {
	*payload = 0x1112
	u.StoreRelease(0x2122)
	*payload = 0x3132
}

//go:noinline
func load(u *word.U32) uint32 { return u.Load() }

func main() {
	mem := make([]uint64, 4096)
	at := unsafe.Pointer(&mem[0])
	at = unsafe.Add(at, -uintptr(at)%spsc.Align)
	g, _ := spsc.Plan(4, 8)
	spsc.Init(at, g.Bytes(), g)
	p, _ := spsc.AttachProducer(at, g.Bytes(), g)
	c, _ := spsc.AttachConsumer(at, g.Bytes(), g)
	var u word.U64
	var v word.U32
	var x uint64
	release(&u, &x)
	if !send(&p) || !recv(&c, &x) || x != 0x7071727374757677 || load(&v) != 0 {
		panic("wrong")
	}
}
`

// TestReleaseOrder holds the compiler to what StoreRelease rests on: the
// payload is stored before the sequence, in program order, and neither the
// store nor a Load is more than a MOV.
func TestReleaseOrder(t *testing.T) {
	binary := build(t, releaseProgram)
	disassemble := func(f string) []string { return disassemble(t, binary, f) }
	show := func(code []string) string { return strings.Join(code, "\n\t") }
	// find returns the place of the n-th instruction that matches.
	find := func(code []string, re string, n int) int {
		r := regexp.MustCompile(re)
		for i, c := range code {
			if r.MatchString(c) {
				if n--; n == 0 {
					return i
				}
			}
		}
		return -1
	}

	for _, f := range []string{"send", "recv", "release", "load"} {
		code := disassemble(f)
		if i := find(code, `XCHG|LOCK|FENCE|CMPXCHG`, 1); i >= 0 {
			t.Errorf("%s has a locked instruction, %s:\n\t%s", f, code[i], show(code))
		}
		if i := find(code, `^CALL`, 1); i >= 0 && !strings.Contains(code[i], "runtime.") {
			t.Errorf("%s calls %s, which was to be inlined:\n\t%s", f, code[i], show(code))
		}
	}

	const store = `^MOVQ [A-Z0-9]+, -?(0x)?[0-9a-f]*\(` // of a register to memory, not of the stack
	code := disassemble("release")
	a, b1, c := find(code, `^MOVQ \$0x1112, `, 1), find(code, `^MOVQ \$0x2122, `, 1), find(code, `^MOVQ \$0x3132, `, 1)
	if a < 0 || b1 < a || c < b1 {
		t.Errorf("the stores of release are not in order (%d, %d, %d):\n\t%s", a, b1, c, show(code))
	}

	code = disassemble("send")
	constant := find(code, `\$0x7071727374757677`, 1)
	if constant < 0 {
		t.Fatalf("send does not store its payload:\n\t%s", show(code))
	}
	reg := regexp.MustCompile(`, ([A-Z0-9]+)$`).FindStringSubmatch(code[constant])
	if reg == nil {
		t.Fatalf("send stores its payload in a way that this test does not know:\n\t%s", show(code))
	}
	payload := find(code, `^MOVQ `+reg[1]+`, -?(0x)?[0-9a-f]*\(`, 1)
	// Behind the payload: the sequence, the producer's own stamp, the tail word.
	sequence := -1
	for i := range code {
		if i != payload && regexp.MustCompile(store).MatchString(code[i]) && !strings.Contains(code[i], "(SP)") {
			sequence = i
			break
		}
	}
	if payload < 0 || sequence < payload {
		t.Errorf("send stores something else (%d) before its payload (%d):\n\t%s", sequence, payload, show(code))
	}

	// In recv the payload is copied to *to before the slot is given back.
	code = disassemble("recv")
	given := find(code, `^MOVQ [A-Z0-9]+, 0\(BX\)`, 1) // BX is the second argument
	if given < 0 {
		t.Fatalf("recv takes its payload in a way that this test does not know:\n\t%s", show(code))
	}
	for i, c := range code[:given] {
		if regexp.MustCompile(store).MatchString(c) && !strings.Contains(c, "(SP)") {
			t.Errorf("recv stores something (%d) before it has copied the payload (%d):\n\t%s", i, given, show(code))
		}
	}
}
