package chaos

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

// A witness looks at a traced process from outside, instruction by instruction, and
// tells which of them changed anything that others can see.
//
// What others can see of a process is the memory that it shares, and what it asks
// the kernel for. So an instruction is public if it is a system call, or if a byte of
// a shared mapping is another one after it than before. How it was written does not
// matter: a plain store, a locked or a wide one, one turn of a string instruction, or
// one through another mapping of the same memory. A store of what is there already
// changes nothing, and is not public.
type witness struct {
	pid   int
	areas []area
}

// An area is a shared mapping of the process, as it was when we last looked.
type area struct {
	from uintptr
	was  []byte
	is   []byte
}

// headOfControl is how much of the control is looked at: its words, and a few lines
// of its log.
const headOfControl = 4096

// witnessOf looks at what is mapped now.
func witnessOf(pid int) (*witness, error) {
	w := &witness{pid: pid}
	return w, w.survey()
}

// survey finds the shared mappings anew.
func (w *witness) survey() error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", w.pid))
	if err != nil {
		return err
	}
	w.areas = w.areas[:0]
	for line := range strings.Lines(string(text)) {
		var from, to uintptr
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			return err
		}
		if len(mode) != 4 || mode[0] != 'r' || mode[3] != 's' {
			continue
		}
		if strings.Contains(line, "chaos-control") {
			to = from + headOfControl
		}
		w.areas = append(w.areas, area{from, make([]byte, to-from), make([]byte, to-from)})
	}
	return w.copy(func(a *area) []byte { return a.was })
}

// copy reads all areas.
func (w *witness) copy(into func(*area) []byte) error {
	if len(w.areas) == 0 {
		return nil
	}
	var local []unix.Iovec
	var remote []unix.RemoteIovec
	want := 0
	for i := range w.areas {
		b := into(&w.areas[i])
		local = append(local, unix.Iovec{Base: unsafe.SliceData(b), Len: uint64(len(b))})
		remote = append(remote, unix.RemoteIovec{Base: w.areas[i].from, Len: len(b)})
		want += len(b)
	}
	n, err := unix.ProcessVMReadv(w.pid, local, remote, 0)
	if err == nil && n != want {
		err = fmt.Errorf("%d bytes of %d could be read", n, want)
	}
	return err
}

// public tells whether the instruction that has just run is one that others can see.
func (w *witness) public(i instruction) (bool, error) {
	if i.call() {
		return true, w.survey()
	}
	if err := w.copy(func(a *area) []byte { return a.is }); err != nil {
		return false, err
	}
	changed := false
	for k := range w.areas {
		a := &w.areas[k]
		if !bytes.Equal(a.was, a.is) {
			changed = true
			a.was, a.is = a.is, a.was
		}
	}
	return changed, nil
}

// A shown instruction is one of displayMain, and whether a witness must see it: once
// for each turn of a string instruction.
type shown struct {
	code   string
	public string
}

// display is machine code that stores to shared memory, at RDI, and private memory,
// at RSI, in all ways.
var display = []shown{
	{"\xb8\x05\x00\x00\x00", "."},         // MOV EAX, 5
	{"\x48\x89\x07", "p"},                 // MOV [RDI], RAX
	{"\x48\x89\x07", "."},                 // the same again
	{"\x48\x89\x06", "."},                 // MOV [RSI], RAX
	{"\xf0\x48\x0f\xc1\x47\x08", "p"},     // LOCK XADD [RDI+8], RAX
	{"\xb8\x07\x00\x00\x00", "."},         // MOV EAX, 7
	{"\x48\x87\x47\x10", "p"},             // XCHG [RDI+16], RAX
	{"\x48\x8b\x47\x10", "."},             // MOV RAX, [RDI+16]
	{"\xf0\x48\xff\x47\x18", "p"},         // LOCK INC QWORD [RDI+24]
	{"\xc6\x47\x20\x01", "p"},             // MOV BYTE [RDI+32], 1
	{"\xc5\xfd\x76\xc0", "."},             // VPCMPEQD YMM0, YMM0, YMM0
	{"\xc5\xfe\x7f\x47\x40", "p"},         // VMOVDQU [RDI+64], YMM0
	{"\xc5\xfe\x7f\x47\x40", "."},         // the same again
	{"\xc5\xfe\x7f\x06", "."},             // VMOVDQU [RSI], YMM0
	{"\xc5\xf8\x77", "."},                 // VZEROUPPER
	{"\x48\x0f\xc3\x47\x70", "p"},         // MOVNTI [RDI+112], RAX
	{"\x48\x81\xc7\x80\x00\x00\x00", "."}, // ADD RDI, 128
	{"\xb9\x03\x00\x00\x00", "."},         // MOV ECX, 3
	{"\xf3\x48\xab", "ppp"},               // REP STOSQ
	{"\xb9\x02\x00\x00\x00", "."},         // MOV ECX, 2
	{"\xf3\x48\xa5", "pp"},                // REP MOVSQ
	{"\xc3", "."},                         // RET
}

// displayMain runs that before a witness.
func displayMain(c *control, _ []string) {
	var private [64]byte
	code := []byte{0x48, 0xbf}
	code = binary.LittleEndian.AppendUint64(code, uint64(uintptr(unsafe.Pointer(&c.log))))
	code = append(code, 0x48, 0xbe)
	code = binary.LittleEndian.AppendUint64(code, uint64(uintptr(unsafe.Pointer(&private))))
	c.taken.Store(uint64(len(code)))
	for _, s := range display {
		code = append(code, s.code...)
	}
	mem, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		fail("%v", err)
	}
	copy(mem, code)
	c.acked.Store(uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))))
	entry := &mem
	run := *(*func())(unsafe.Pointer(&entry)) // what a function is: a pointer to a pointer to its code
	runtime.Breakpoint()
	run()
	c.done.Store(1)
	runtime.Breakpoint()
	runtime.KeepAlive(&private)
}

var _ = register("display", displayMain)

// TestWitness: what changes shared memory is seen, however it is written, and what
// does not is not.
func TestWitness(t *testing.T) {
	needsTracing(t)
	if !cpu.X86.HasAVX2 {
		t.Skip("no AVX2")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer everywhere(0)
	ctl, page := newControl(t)
	p, err := launch(ctl, "display", []*os.File{page})
	must(t, err)
	defer p.kill()
	w, err := witnessOf(p.pid)
	must(t, err)
	begin := uintptr(ctl.acked.Load() + ctl.taken.Load())
	seen := map[uintptr]string{}
	for !p.ended() {
		pc, err := p.pc()
		must(t, err)
		must(t, p.step())
		public, err := w.public(instruction(pc))
		must(t, err)
		if public {
			seen[pc-begin] += "p"
		} else {
			seen[pc-begin] += "."
		}
	}
	at := uintptr(0)
	for _, s := range display {
		if seen[at] != s.public {
			t.Errorf("% x: seen as %q, want %q", s.code, seen[at], s.public)
		}
		at += uintptr(len(s.code))
	}
}
