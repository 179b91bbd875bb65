//go:build modelcheck

package slabpool

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
)

// The models of a Close beside calls of the same endpoint, from the source that
// ships, with a successor in the seat as soon as it is given up. The locks of
// Pool are words (latch_model.go), and its region is one.

// An endpoint is a Pool without a region.
type endpoint struct {
	*shared
	*Pool
	left *word.U32 // the seat is given up
	next *Raw      // the successor in the seat
}

func newEndpoint(w *modelcheck.World, blocks, cache int) *endpoint {
	s := newShared(w, blocks)
	e := &endpoint{shared: s, Pool: &Pool{&pool{raw: s.seat(0, cache)}}, left: modelcheck.Alloc[word.U32](w, "left")}
	e.next = s.seat(0, cache)
	return e
}

// taken returns a block that the endpoint holds.
func (e *endpoint) taken() Handle {
	h, err := e.TryAlloc(modelBlock)
	if err != nil {
		panic(err)
	}
	return h
}

func (e *endpoint) end() error { return e.Pool.end() }

func (e *endpoint) freed(h Handle) {
	if err := e.Free(h); err != nil {
		panic(err)
	}
}

// works allocates, uses and frees n times by the methods of a Pool, until it is closed.
func (e *endpoint) works(n int) {
	for range n {
		h, err := e.TryAlloc(modelBlock)
		switch {
		case errors.Is(err, fs.ErrClosed):
			if e.gate.state.Load() != closed {
				panic("closed by nobody")
			}
			return
		case errors.Is(err, ErrExhausted):
			continue
		case err != nil:
			panic(err)
		}
		b, err := e.Bytes(h)
		if err != nil {
			panic(err)
		}
		at := (*uint64)(unsafe.Pointer(&b[0]))
		word.Writes(unsafe.Pointer(at), modelBlock)
		*at = 1 << 40
		e.tick.Load()
		if *at != 1<<40 {
			panic(fmt.Sprintf("block %d was written by another: %#x", h.Index(), *at))
		}
		e.freed(h)
	}
}

// closes gives the seat up, if nothing is held. If something is, and the process
// dies, q sweeps after it.
func (e *endpoint) closes(w *modelcheck.World, end func(*endpoint) error, q *Raw) {
	switch err := end(e); {
	case err == nil:
		e.left.Store(1) // pairs with the load in succeeds
	case !errors.Is(err, ErrBusy):
		panic(err)
	case q != nil:
		w.AwaitDeath("caller")
		q.Sweep(0, dead, false)
	}
}

// succeeds waits for the seat, sweeps as newPool does, and uses a block.
func (e *endpoint) succeeds(n int) {
	for e.left.Load() == 0 {
		word.Pause(1)
	}
	e.next.Sweep(0, dead, false)
	e.rounds(e.next, n)
}

// closeAlloc: Close beside callers that allocate what is cached, with another
// process that takes it, or not.
func closeAlloc(callers, rounds int, another bool, end func(*endpoint) error) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		e := newEndpoint(w, 1, 1)
		e.freed(e.taken()) // cached now
		q := e.seat(1, 0)
		for i := range callers {
			w.Go(fmt.Sprint("caller ", i), func() { e.works(rounds) })
		}
		w.Go("closer", func() { e.closes(w, end, nil) })
		w.Daemon("successor", func() { e.succeeds(1) }) // of a seat that may not be given up
		if another {
			w.Go("another", func() { e.rounds(q, 1) })
		}
		w.Final(func() error { return e.accounted() })
	}
}

// closeFree: Close beside one that frees, to the cache or to all. A successor or
// who waits gets the block, though the caller may never run again.
func closeFree(cache int, successor bool, end func(*endpoint) error) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		e := newEndpoint(w, 1, cache)
		h := e.taken()
		q := e.seat(1, 0)
		w.Go("caller", func() { e.freed(h) })
		w.Go("closer", func() { e.closes(w, end, q) })
		if successor {
			w.Daemon("successor", func() { e.succeeds(1) })
		} else {
			w.Go("waiter", func() { e.waits(q, 1) })
		}
		w.Final(func() error { return e.accounted() })
	}
}

// closeRetained: Close beside two that end a hold each of one block.
func closeRetained(w *modelcheck.World) {
	e := newEndpoint(w, 1, 1)
	h := e.taken()
	if err := e.Retain(h); err != nil {
		panic(err)
	}
	for i := range 2 {
		w.Go(fmt.Sprint("caller ", i), func() { e.freed(h) })
	}
	w.Go("closer", func() { e.closes(w, (*endpoint).end, nil) })
	w.Daemon("successor", func() { e.succeeds(1) })
	w.Final(func() error { return e.accounted() })
}

// closeDies: the process dies in the middle of a Close beside a call, and another
// one has all its blocks.
func closeDies(call func(*endpoint, Handle)) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		e := newEndpoint(w, 1, 1)
		h := e.taken()
		q := e.seat(1, 0)
		w.Daemon("caller", func() { call(e, h) }) // who may spin on the latch of the dead for ever
		w.Daemon("closer", func() { e.closes(w, (*endpoint).end, nil) })
		w.Go("survivor", func() {
			w.AwaitDeath("closer")
			w.AwaitDeath("caller")
			if e.left.Load() == 0 {
				q.Sweep(0, dead, false)
			}
			e.waits(q, 1)
		})
		w.Final(func() error {
			if !w.Crashed("closer") || !w.Crashed("caller") {
				return nil
			}
			return e.accounted()
		})
	}
}

// closeGiven: a Free under way while the block is given away, the seat given up,
// and the block given to whoever has the seat now: it stays his.
func closeGiven(full bool, x trips) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		e := newEndpoint(w, 1, 1)
		h := e.taken()
		q := e.seat(1, 0)
		if full {
			_, r, err := q.find(h)
			if err != nil {
				panic(err)
			}
			r.state.Store(r.state.Load() | hops)
		}
		w.Go("caller", func() {
			if err := x.free(e, h); err != nil && !errors.Is(err, ErrStaleHandle) {
				panic(err)
			}
		})
		w.Go("others", func() {
			if e.with(func() error { return x.give(e.raw, h, 1) }) != nil {
				return // it was freed
			}
			if err := e.end(); err != nil {
				panic(err)
			}
			e.left.Store(1)
			if err := x.give(q, h, 0); err != nil {
				panic(fmt.Sprintf("freed, though another's: %v", err))
			}
			e.use(e.next, h)
			if err := e.next.Free(h); err != nil {
				panic(fmt.Sprintf("freed, though the successor's: %v", err))
			}
		})
		w.Final(func() error {
			if w.Crashed("caller") && e.left.Load() == 0 {
				return e.accounted(0)
			}
			return e.accounted()
		})
	}
}

// trips are what closeGiven does, right or with one thing wrong.
type trips struct {
	free func(*endpoint, Handle) error
	give func(*Raw, Handle, int) error
}

var sound = trips{func(e *endpoint, h Handle) error { return e.Free(h) }, (*Raw).Give}

func TestModelClose(t *testing.T) {
	end := (*endpoint).end
	each(t, func(models *suite.Suite, cfg modelcheck.Config) {
		cfg.MaxExecutions = suite.UpTo(15_000, 150_000)
		for rounds := 1; rounds <= 2; rounds++ {
			models.Explore(fmt.Sprintf("close beside %d allocations", rounds), cfg, closeAlloc(1, rounds, false, end))
		}
		models.Explore("close beside two that allocate", cfg, closeAlloc(2, 1, false, end))
		models.Explore("close beside an allocation, another takes the cache", cfg, closeAlloc(1, 1, true, end))
		models.Explore("close beside Free of a block that is held twice", cfg, closeRetained)
		for cache := range 2 {
			models.Explore(fmt.Sprintf("close beside Free, cache %d", cache), cfg, closeFree(cache, false, end))
		}
		models.Explore("close beside Free, successor", cfg, closeFree(1, true, end))
		for _, full := range []bool{false, true} {
			models.Explore(fmt.Sprintf("close beside Free, block given back, full %v", full), cfg, closeGiven(full, sound))
		}
		cfg.MaxExecutions = suite.UpTo(400, 10_000) // for each step
		for cache := range 2 {
			models.Sweep(fmt.Sprintf("close beside Free that stays under way, cache %d", cache), cfg, "caller", closeFree(cache, false, end))
		}
		models.Sweep("close beside Free that stays under way, block given back", cfg, "caller", closeGiven(false, sound))
		cfg.MaxExecutions = suite.UpTo(30, 200) // for each pair of steps
		models.SweepPair("process dies in Close beside Free", cfg, "closer", "caller", closeDies((*endpoint).freed))
		models.SweepPair("process dies in Close beside Alloc", cfg, "closer", "caller", closeDies(func(e *endpoint, h Handle) {
			e.freed(h)
			e.works(1)
		}))
	})
}

// TestModelCloseFewSwitches goes the other way: all schedules with at most one
// preemption.
func TestModelCloseFewSwitches(t *testing.T) {
	end := (*endpoint).end
	each(t, func(models *suite.Suite, cfg modelcheck.Config) {
		cfg.Search, cfg.Preemptions, cfg.MaxExecutions = modelcheck.Bounded, 1, suite.UpTo(20_000, 200_000)
		models.Explore("close beside an allocation, another takes the cache, few switches", cfg, closeAlloc(1, 1, true, end))
		models.Explore("close beside two that allocate, few switches", cfg, closeAlloc(2, 1, false, end))
		cfg.MaxExecutions = suite.UpTo(2_000, 20_000) // for each step
		models.Sweep("close beside Free that stays under way, few switches", cfg, "caller", closeFree(0, false, end))
	})
}

// once is end with no look after a flush, unless again, and without the last stir if quiet.
func once(again, quiet bool) func(*endpoint) error {
	return func(e *endpoint) error {
		e.work.Lock()
		defer e.work.Unlock()
		e.gate.state.Store(closing)
		held, cached := e.raw.count()
		for ; held == 0 && cached > 0; held, cached = e.raw.count() {
			e.raw.Flush()
			if !again {
				held = 0
				break
			}
		}
		if held > 0 {
			e.gate.state.Store(open)
			return ErrBusy
		}
		if !quiet {
			e.raw.stir()
		}
		e.gate.state.Store(closed)
		return nil
	}
}

// freeOnce is Free behind a gate that is looked at before the word, or that lets
// words with full hops pass.
func freeOnce(early, full bool) func(*endpoint, Handle) error {
	return func(e *endpoint, h Handle) error {
		c, r, err := e.raw.find(h)
		if err != nil {
			return err
		}
		passes := func() bool { return e.gate.state.Load() == open }
		if early && !passes() {
			return ErrStaleHandle
		}
		w := r.state.Load()
		if !early && !(passes() && (full || w&hops != hops)) {
			return ErrStaleHandle
		}
		if !isHeld(w, e.raw.me) || generation(w) != h.Generation() || !c.drop(uint32(h.Index()), r, w, e.raw.me) {
			return ErrStaleHandle
		}
		return nil
	}
}

// giveUncounted is Give without a hop.
func giveUncounted(p *Raw, h Handle, owner int) error {
	_, r, err := p.find(h)
	if err != nil {
		return err
	}
	w := r.state.Load()
	if !isHeld(w, p.me) || generation(w) != h.Generation() || !r.state.CompareAndSwap(w, w&^p.me|ownerBit(owner)) {
		return ErrStaleHandle
	}
	return nil
}

// TestModelCloseSeeded: a Close or a gate with one thing wrong.
func TestModelCloseSeeded(t *testing.T) {
	models := suite.New(t)
	sc := modelcheck.Config{MaxExecutions: 20_000}
	models.Explore("no bug, gate", sc, closeGiven(false, trips{freeOnce(false, false), (*Raw).Give}))
	models.Explore("no bug, close", sc, closeAlloc(1, 1, false, once(true, false)))
	models.Bug("gate before the word", sc, closeGiven(false, trips{freeOnce(true, false), (*Raw).Give}), modelcheck.Panic, 7)
	models.Bug("no hops", sc, closeGiven(false, trips{sound.free, giveUncounted}), modelcheck.Panic, 3)
	models.Bug("full hops pass the gate", sc, closeGiven(true, trips{freeOnce(false, true), (*Raw).Give}), modelcheck.Panic, 3)
	models.Bug("no look after the flush", sc, closeAlloc(1, 1, false, once(false, false)), modelcheck.Panic, 38)
	models.SweepBug("nothing said after the last look", sc, "caller", closeFree(0, false, once(true, true)), modelcheck.Livelock, 169)
}
