package shmchan

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/shmkit/shm/region"
)

// ends finds the end to a region, while it is mapped.
//
// Ownership: an end enrols itself in init, and whoever unmaps its region strikes
// it out.
var ends struct {
	mu sync.Mutex
	of map[*region.Region]*end
}

func (e *end) enroll() {
	ends.mu.Lock()
	defer ends.mu.Unlock()
	if ends.of == nil {
		ends.of = make(map[*region.Region]*end)
	}
	ends.of[e.reg] = e
}

// unmap ends the access to the memory: nobody holds it any more.
func (e *end) unmap() error {
	ends.mu.Lock()
	delete(ends.of, e.reg)
	ends.mu.Unlock()
	return e.reg.Unmap()
}

// Guard runs f and returns its error. If the file of a channel is cut off under
// f, on this goroutine, f ends where it is (its deferred functions run) and
// Guard returns ErrCorrupt. The endpoint that was at work is of no use then: close
// it. Any other panic goes on.
//
// Without Guard such a fault is a SIGBUS, which ends the process. It cannot
// happen with Pair, whose memory is sealed. The file of a named channel can be
// cut off by its owner, by root, and by those whom WithMode lets write to it:
// put the loop that works with such a channel under Guard if you do not trust
// all of them. The same goes for a message in place (Reserve, Peek) that f reads
// or writes, and for the bytes of a Buf. The deferred functions of f may release
// such a message and Close its endpoint, which unmaps the memory; so a message of a
// named channel that f uses after it has done both may be ErrCorrupt too. What runs on
// goroutines of the library (Ready, Chan, WaitPeer's wake-up), Select, and Open,
// Close and their like are guarded by themselves.
//
// Guard costs some 30 ns once, and nothing for what f does. While one is under way
// the addresses of the last 256 named channels that were closed stay taken, without
// memory; they count for RLIMIT_AS. It does not reach into goroutines that f starts. It may be called from any
// goroutine, and within another Guard.
func Guard(f func() error) (err error) {
	owner, done := false, false
	r, gone := region.Guard(func() {
		defer func() { owner = !done && inCall() }()
		err = f()
		done = true
	})
	if r == nil {
		return err
	}
	ends.mu.Lock()
	e := ends.of[r]
	ends.mu.Unlock()
	if e != nil && owner {
		e.faulted()
	}
	return fmt.Errorf("shmchan: %w", gone)
}

// inCall tells whether this goroutine has met a fault in a call of an endpoint's
// owner, and runs deferred functions because of that. Who holds a Buf, or a
// message in place, may meet one while another goroutine is in a call, which must
// not be ended for it. So it looks for who touched the memory: the functions of
// this package, but for those of a Buf, are the owner's, or guarded.
func inCall() bool {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	for fault, more := false, true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		switch {
		case f.Function == "runtime.sigpanic":
			fault = true
		case fault && !begins(f.Function, below):
			return begins(f.Function, calls) && !begins(f.Function, others)
		}
	}
	return false
}

func begins(name string, with []string) bool {
	return slices.ContainsFunc(with, func(s string) bool { return strings.HasPrefix(name, s) })
}

// What names of functions begin with: of those that touch memory for this
// package, of this package's, and of those that are for any goroutine.
var (
	calls  = []string{reflect.TypeFor[end]().PkgPath() + "."}
	module = strings.TrimSuffix(calls[0], "shmchan.")
	below  = []string{"runtime.", "internal/", "sync/atomic.", module + "internal/",
		module + "region.", module + "waiter.", module + "slabpool.", module + "shmchan/spsc."}
	others = []string{calls[0] + "(*Buf).", calls[0] + "Guard"}
)

// faulted ends the call in which the owning goroutine was when it met a fault.
func (e *end) faulted() {
	if e.use.Load() != working {
		return // the fault was in the use of a message in place
	}
	e.leave()
	e.life.Lock()
	defer e.life.Unlock()
	if e.gone.Load() != 0 {
		e.part() // shutdown left it to us, or has done it
	}
}

// guarded runs f, of the library's own. A fault in it is ErrCorrupt.
func guarded(f func() error) (err error) {
	if r, gone := region.Catch(func() { err = f() }); r != nil {
		return fmt.Errorf("shmchan: %w", gone)
	}
	return err
}

// attached finishes the attachment to r by f. After an error there is none.
func attached(r *region.Region, f func() error) error {
	err := guarded(f)
	if err != nil {
		ends.mu.Lock()
		delete(ends.of, r)
		ends.mu.Unlock()
		r.Abandon()
		r.Unmap()
	}
	return err
}
