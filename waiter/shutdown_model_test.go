//go:build modelcheck

package waiter

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
)

// The handshake between the calls of an endpoint and its shutdown, in package
// shmchan: the operations of quick, enter, leave, again, resume and shutdown in end.go, and
// nothing else of them. There a call may be in another thread than Close, and
// the mapping must not end under it.

const (
	idle = iota
	working
	leased
)

type endpoint struct {
	use, gone word.U32
	mapping   [8]byte // read by calls, written by the unmap: the explorer finds the race
	unmapped  uint64  // how often; ordered as mapping is
}

type endpointBugs struct {
	noBarrier bool // shutdown trusts the processor's order, as where Membarrier fails
	lateLook  bool // shutdown decides at its end, not at the look that ended its waiting, whether a lease is out
	lookFirst bool // a call looks at gone before it says that it works
}

func (e *endpoint) touch() {
	word.Reads(unsafe.Pointer(&e.mapping), 8)
	if e.unmapped != 0 {
		panic("the mapping is gone")
	}
}

func (e *endpoint) unmap() {
	word.Writes(unsafe.Pointer(&e.mapping), 8)
	e.unmapped++
}

// quick and again are what inlines, before enter and resume.
func (e *endpoint) quick(fences bool) bool {
	if fences || e.use.Load() != idle {
		return false
	}
	e.use.StoreRelease(working)
	if e.gone.Load() == 0 {
		return true
	}
	e.use.StoreRelease(idle)
	return false
}

func (e *endpoint) again(fences bool) bool {
	if e.use.Load() != leased || fences {
		return false
	}
	e.use.StoreRelease(working)
	if e.gone.Load() == 0 {
		return true
	}
	e.use.StoreRelease(leased)
	return false
}

func (e *endpoint) enter(fences bool, b endpointBugs) bool {
	if e.use.Load() != idle {
		return false
	}
	if b.lookFirst && e.gone.Load() != 0 {
		return false
	}
	e.use.StoreRelease(working)
	if fences {
		word.Fence()
	}
	if b.lookFirst || e.gone.Load() == 0 {
		return true
	}
	e.use.StoreRelease(idle)
	return false
}

// shutdown is done by one thread: mutexes keep others out.
func (e *endpoint) shutdown(life *word.U32, fences bool, b endpointBugs) {
	e.gone.Store(1)
	if word.NeedsFence && !fences && !b.noBarrier {
		word.Membarrier()
	}
	u := e.use.Load()
	for ; u == working; u = e.use.Load() {
		word.Pause(1)
	}
	if b.lateLook {
		u = e.use.Load()
	}
	if u == idle {
		e.unmap()
	}
	life.Store(0)
}

// resume ends a lease.
func (e *endpoint) resume(life *word.U32, fences bool) bool {
	if e.use.Load() != leased {
		return false
	}
	e.use.StoreRelease(working)
	if fences {
		word.Fence()
	}
	if e.gone.Load() == 0 {
		return true
	}
	e.use.StoreRelease(leased)
	for !life.CompareAndSwap(0, 1) { // stands for the mutex
		word.Pause(1)
	}
	e.use.StoreRelease(idle)
	e.unmap()
	return false
}

func endpointWorld(calls int, lease bool, b endpointBugs) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		e := modelcheck.Alloc[endpoint](w, "e")
		life := modelcheck.Alloc[word.U32](w, "life")
		started := modelcheck.Alloc[word.U32](w, "started")
		fences := modelcheck.Alloc[word.U32](w, "fences")
		w.Go("caller", func() {
			// Whoever makes the endpoint registers, before anybody closes it.
			fence := word.NeedsFence && !word.RegisterMembarrier()
			if fence {
				fences.Store(1)
			}
			started.Store(1)
			for range calls {
				if !(!b.lookFirst && e.quick(fence)) && !e.enter(fence, b) {
					continue
				}
				e.touch()
				if !lease {
					e.use.StoreRelease(idle)
					continue
				}
				e.use.StoreRelease(leased)
				e.touch() // what a lease points to stays mapped
				if e.again(fence) || e.resume(life, fence) {
					e.touch()
					e.use.StoreRelease(idle)
				}
			}
		})
		w.Go("closer", func() {
			for started.Load() == 0 {
				word.Pause(1)
			}
			life.Store(1)
			e.shutdown(life, fences.Load() == 1, b)
		})
		w.Final(func() error {
			if e.unmapped != 1 {
				return fmt.Errorf("unmapped %d times", e.unmapped)
			}
			if e.use.Load() != idle {
				return errors.New("still in use")
			}
			return nil
		})
	}
}

func TestModelShutdown(t *testing.T) {
	s := suite.New(t)
	for _, lease := range []bool{false, true} {
		calls := 2
		if lease {
			calls = suite.UpTo(1, 2)
		}
		for _, cfg := range []modelcheck.Config{
			{},
			{Model: modelcheck.TSO},
			{Model: modelcheck.TSO, NoRegister: []string{"caller"}},
		} {
			cfg.MaxExecutions = suite.UpTo(100_000, 500_000)
			s.Explore(fmt.Sprintf("shutdown, lease %v", lease), cfg, endpointWorld(calls, lease, endpointBugs{}))
		}
	}
}

// TestModelShutdownWakes: a call is parked, or about to, when the endpoint is
// shut down, and the peer publishes at the same time. The call ends, by the
// message or with the endpoint, and the mapping after it. (Here shutdown kicks
// once; in end.go it does so again and again.)
func TestModelShutdownWakes(t *testing.T) {
	world := func(peer, kick bool) func(*modelcheck.World) {
		return func(w *modelcheck.World) {
			e := modelcheck.Alloc[endpoint](w, "e")
			c := modelcheck.Alloc[cell](w, "c")
			life := modelcheck.Alloc[word.U32](w, "life")
			word.RegisterMembarrier()
			sl := NewSleeper(&c.ev, Park)
			if peer {
				w.Go("peer", func() {
					wk := NewWaker(&c.ev)
					c.data.StoreRelease(1)
					if !wk.Quiet() {
						wk.Notify()
					}
				})
			}
			w.Go("caller", func() {
				if !e.quick(false) && !e.enter(false, endpointBugs{}) {
					return
				}
				e.touch()
				err := sl.Wait(context.Background(), false, func() bool { return c.data.Load() > 0 || e.gone.Load() != 0 })
				if err != nil {
					panic(err)
				}
				e.touch()
				e.use.StoreRelease(idle)
			})
			w.Go("closer", func() {
				life.Store(1)
				e.gone.Store(1)
				if word.NeedsFence {
					word.Membarrier()
				}
				if kick {
					c.ev.Kick()
				}
				for e.use.Load() == working {
					word.Pause(1)
				}
				e.unmap()
			})
			w.Final(func() error {
				if e.unmapped != 1 || e.use.Load() != idle {
					return errors.New("not shut down")
				}
				return nil
			})
		}
	}
	s := suite.New(t)
	for _, m := range suite.Models {
		s.Explore("shutdown of a parked call", modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(50_000, 1_000_000)}, world(true, true))
	}
	s.Bug("shutdown that does not kick", modelcheck.Config{}, world(false, false), modelcheck.Deadlock, 1)
}

func TestModelShutdownBugs(t *testing.T) {
	s := suite.New(t)
	sc, tso := modelcheck.Config{}, modelcheck.Config{Model: modelcheck.TSO}
	s.Explore("no barrier", sc, endpointWorld(2, false, endpointBugs{noBarrier: true}))
	for _, x := range []struct {
		name      string
		cfg       modelcheck.Config
		bugs      endpointBugs
		kind      modelcheck.FailureKind
		execution int
	}{
		{"shutdown without the barrier", tso, endpointBugs{noBarrier: true}, modelcheck.Race, 1},
		{"a call looks at gone first", sc, endpointBugs{lookFirst: true}, modelcheck.Race, 3},
		{"shutdown looks for a lease too late", sc, endpointBugs{lateLook: true}, modelcheck.Final, 8},
	} {
		s.Bug(x.name, x.cfg, endpointWorld(2, false, x.bugs), x.kind, x.execution)
	}
}
