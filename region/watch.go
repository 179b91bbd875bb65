package region

import (
	"fmt"
	"io/fs"
	"sync"
)

// watch is what one Region remembers for its watch function.
type watch struct {
	mu   sync.Mutex // held while fn runs
	fn   func()     // nil if there is none
	told []uint32   // deaths of each role that fn knows of
	in   []fileID   // where watchLocks put it
}

// Watch makes fn be called soon after an endpoint of the region may have
// died: normally within a millisecond, and after its state says Dead. If a
// role is dead when Watch is called, fn is called before Watch returns. It is
// called too when the file was found to be cut off (Cut).
// Spurious calls are possible, two at the same time are not. There is at most
// one fn a Region; a second Watch is fs.ErrInvalid.
//
// fn runs on a goroutine that serves the whole process. It must not block and
// must not begin or end a claim; State, Probe and Retired are fine. Until
// Detach, Close, File, Abandon or Unmap returns, the process keeps the Region
// and fn reachable, and so whatever fn refers to.
//
// Only the kernel's locks decide who is dead. Where its notifications run out
// (a limit on inotify watches), the roles are looked at every 50 ms instead.
func (r *Region) Watch(fn func()) error {
	r.life.Lock()
	defer r.life.Unlock()
	if r.locks == nil {
		return fmt.Errorf("region: watch: %w", fs.ErrClosed)
	}
	if err := r.setWatch(fn); err != nil {
		return err
	}

	// Register first and look after, so that no death falls between.
	if r.heap != nil {
		r.heap.mu.Lock()
		r.heap.watching[r] = struct{}{}
		r.heap.mu.Unlock()
	} else {
		watchLocks(r)
	}
	r.look()
	return nil
}

func (r *Region) setWatch(fn func()) error {
	r.watch.mu.Lock()
	defer r.watch.mu.Unlock()
	if fn == nil || r.watch.fn != nil {
		return fmt.Errorf("region: watch: want one function, once: %w", fs.ErrInvalid)
	}
	r.watch.told = make([]uint32, len(r.roles))
	if survive(func() {
		for i := range r.roles {
			s := r.State(i)
			r.watch.told[i] = s.Deaths
			if s.Phase == Dead {
				r.watch.told[i]-- // so that look tells
			}
		}
	}) {
		r.lost()
	}
	r.watch.fn = fn
	return nil
}

// unwatch ends the watch; fn does not run when it returns. The caller holds
// r.life.
func (r *Region) unwatch() {
	r.watch.mu.Lock()
	watched := r.watch.fn != nil
	r.watch.fn = nil
	r.watch.mu.Unlock()
	if !watched {
		return
	}
	if r.heap != nil {
		r.heap.mu.Lock()
		delete(r.heap.watching, r)
		r.heap.mu.Unlock()
		return
	}
	unwatchLocks(r)
}

// look probes every role of others, tells fn if one has newly died, and
// reports whether one is left that could die. It may be called from any
// goroutine that holds neither r.watch.mu nor r.fds.
func (r *Region) look() (atRisk bool) {
	r.watch.mu.Lock()
	defer r.watch.mu.Unlock()
	if r.watch.fn == nil {
		return false
	}
	cut := r.shrunk()
	cut = survive(func() {
		cut = cut || r.wiped()
		atRisk = r.lookAtRoles()
	}) || cut
	if cut || r.Cut() {
		r.lost()
		r.watch.fn() // each time: it wakes nobody while the file is short
		return true
	}
	return atRisk
}

// lookAtRoles does the work of look. The caller holds r.watch.mu.
func (r *Region) lookAtRoles() (atRisk bool) {
	own := r.Role()
	news := false
	for i := range r.roles {
		if i == own {
			continue
		}
		s := r.Probe(i)
		if s.Phase == Attached || s.Phase == Transit {
			atRisk = true
		}
		// By the count and not by the phase: a successor may have come
		// before we looked.
		if s.Deaths != r.watch.told[i] {
			r.watch.told[i] = s.Deaths
			news = true
		}
	}
	if news {
		r.watch.fn()
	}
	return atRisk
}
