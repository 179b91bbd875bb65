//go:build modelcheck

package waiter

import (
	"errors"
	"fmt"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/modelcheck"
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
	for _, lease := range []bool{false, true} {
		calls := 2
		if lease {
			calls = upTo(1, 2)
		}
		for _, cfg := range []modelcheck.Config{
			{},
			{Model: modelcheck.TSO},
			{Model: modelcheck.TSO, NoRegister: []string{"caller"}},
		} {
			r := modelcheck.Explore(cfg, endpointWorld(calls, lease, endpointBugs{}))
			modelcheck.Check(t, fmt.Sprintf("shutdown, lease %v, %v, not registered %v", lease, cfg.Model, cfg.NoRegister != nil), r)
		}
	}
}

func TestModelShutdownBugs(t *testing.T) {
	sc, tso := modelcheck.Config{}, modelcheck.Config{Model: modelcheck.TSO}
	modelcheck.Check(t, "no barrier, SC", modelcheck.Explore(sc, endpointWorld(2, false, endpointBugs{noBarrier: true})))
	for _, x := range []struct {
		name      string
		cfg       modelcheck.Config
		bugs      endpointBugs
		kind      modelcheck.FailureKind
		execution int
	}{
		{"shutdown without the barrier, TSO", tso, endpointBugs{noBarrier: true}, modelcheck.Race, 1},
		{"a call looks at gone first, SC", sc, endpointBugs{lookFirst: true}, modelcheck.Race, 3},
		{"shutdown looks for a lease too late, SC", sc, endpointBugs{lateLook: true}, modelcheck.Final, 8},
	} {
		r := modelcheck.Explore(x.cfg, endpointWorld(2, false, x.bugs))
		modelcheck.MustFail(t, x.name, r, x.kind, x.execution)
	}
}
