package region

import (
	"runtime"
	"strings"
	"time"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
)

// A fault under Guard is looked at after the deferred functions have run, and
// they, or other goroutines, may have unmapped the region meanwhile. The fault
// does not say whether there was memory at its address when it came. So Unmap
// looks whether there may be such a Guard, and the region is remembered.
//
// Invariants:
//   - what is remembered was of a named region, and its memory was gone (gone), or
//     it was unmapped by a goroutine that had met a fault, and then for the Guard
//     that this fault ends (under). The use of any other region after Unmap stays
//     a crash;
//   - it is remembered for pastTime at most, and no longer than until pastSize
//     more have come; gone also no longer than until another region of this
//     process was in its place.
//
// Ownership: all of it is under mapped.mu.

const (
	pastSize = 64
	pastTime = time.Minute // for deferred functions to run
)

// A past is the regions that were unmapped last, of those that are remembered.
type past struct {
	last [pastSize]former
	n    int // how many there were
}

// A former is an attachment that was unmapped.
type former struct {
	span
	r *Region
	ending
	when time.Time
}

// An ending is how the memory was when it was unmapped.
type ending struct {
	gone  bool   // the file had been cut off
	under string // the goroutine, if it was unmapped because of a fault
}

// add remembers f, if there is reason to. What was in its place before is over.
func (p *past) add(f former) {
	for i := range p.last {
		if l := &p.last[i]; l.base < f.base+f.size && f.base < l.base+l.size {
			l.gone = false
		}
	}
	if !f.gone && f.under == "" {
		return
	}
	p.last[p.n%pastSize] = f
	p.n++
}

// at returns the attachment that was the last at the address, nil if none is
// remembered. own tells that self unmapped it because of a fault.
func (p *past) at(addr uintptr, self string) (r *Region, own bool) {
	for i := range min(p.n, pastSize) {
		f := &p.last[(p.n-1-i)%pastSize]
		if !f.has(addr) || time.Since(f.when) > pastTime {
			continue
		}
		if f.under == self {
			return f.r, true
		}
		if f.gone && r == nil {
			r = f.r
		}
	}
	return r, false
}

// settle notes that a Guard has dealt with the fault of a goroutine.
func (p *past) settle(self string) {
	for i := range p.last {
		if p.last[i].under == self {
			p.last[i].under = ""
		}
	}
}

// ending looks how r ends. The caller holds r.life.
func (r *Region) ending() (e ending) {
	if r.backing != BackingNamed || r.mem == nil {
		return e
	}
	// A mapping has its end as long as the file has, which takes no descriptor,
	// nor a name, to find out. If somebody has made the file as long again, there
	// is his mark, or no header.
	end := (*word.U32)(unsafe.Pointer(&r.mem[len(r.mem)-4]))
	wiped := false
	e.gone = survive(func() {
		wiped = r.wiped()
		end.Load()
	}) || wiped || r.cut.Load() != 0
	if faulted() {
		e.under = goroutine()
	}
	return e
}

// faulted tells whether this goroutine runs deferred functions because of a fault
// that is a panic. An attacker may have undone what the fault was by now.
func faulted() bool {
	var pcs [256]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	for more := true; more; {
		var f runtime.Frame
		if f, more = frames.Next(); f.Function == "runtime.panicmemAddr" { // a nil pointer is without Addr
			return true
		}
	}
	return false
}

// goroutine names the goroutine that calls it. No other one ever has that name.
func goroutine() string {
	var b [64]byte
	name, _, _ := strings.Cut(string(b[:runtime.Stack(b[:], false)]), " [")
	return name
}
