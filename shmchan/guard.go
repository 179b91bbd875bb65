package shmchan

import (
	"fmt"
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
// or writes. What runs on goroutines of the library (Ready, Chan, WaitPeer's
// wake-up), and Open, Close and their like, are guarded by themselves.
//
// Guard costs some 10 ns once, and nothing for what f does. It does not reach
// into goroutines that f starts. It may be called from any goroutine, and within
// another Guard.
func Guard(f func() error) (err error) {
	r, gone := region.Guard(func() { err = f() })
	if r == nil {
		return err
	}
	ends.mu.Lock()
	e := ends.of[r]
	ends.mu.Unlock()
	if e != nil {
		e.faulted()
	}
	return fmt.Errorf("shmchan: %w", gone)
}

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
	if r, gone := region.Guard(func() { err = f() }); r != nil {
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
