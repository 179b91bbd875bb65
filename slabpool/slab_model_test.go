//go:build modelcheck

package slabpool

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/waiter"
)

// The models of the pool, run from the source that ships. Whoever has a block
// writes to it and looks, a step later, whether it is still what he wrote: a
// block that two have at once is a race on its payload, or a wrong value. At the
// end each block must be there exactly once: free, on a list without cycles or
// found by a look, and given out once by a survivor that takes all.

func upTo(n, more int) int { return suite.UpTo(n, more) }

var both = []modelcheck.Model{modelcheck.SC, modelcheck.TSO}

// What a Sleeper measures once in a process is measured before any model runs.
func init() { waiter.NewSleeper(new(waiter.Event), waiter.Park).End() }

const modelBlock = 16

// shared is a pool of a model.
type shared struct {
	mem   unsafe.Pointer
	n     uintptr
	g     Geometry
	count int
	tick  *word.U32 // a step of no meaning
	raws  []*Raw    // kept: their private words must stay where they are
}

func newShared(w *modelcheck.World, count int) *shared {
	g, err := Plan(Class{modelBlock, count})
	if err != nil {
		panic(err)
	}
	b := w.Bytes(int(g.Bytes()), "pool")
	s := &shared{mem: unsafe.Pointer(&b[0]), n: uintptr(len(b)), g: g, count: count, tick: modelcheck.Alloc[word.U32](w, "tick")}
	if err := initAt(s.mem, s.n, g, 7, genMask-1); err != nil { // generations wrap at once
		panic(err)
	}
	return s
}

// seat attaches an owner that may cache a number of blocks, more than it could
// of so few.
func (s *shared) seat(owner, cache int) *Raw {
	p, err := Attach(s.mem, s.n, s.g, Seat{Owner: owner})
	if err != nil {
		panic(err)
	}
	p.classes[0].keep = uint32(cache)
	s.raws = append(s.raws, p)
	return p
}

// use writes to a block that p holds and looks a step later.
func (s *shared) use(p *Raw, h Handle) {
	b, err := p.Bytes(h)
	if err != nil {
		panic(err)
	}
	at := (*uint64)(unsafe.Pointer(&b[0]))
	word.Writes(unsafe.Pointer(at), modelBlock)
	mine := uint64(p.Owner()+1)<<32 | h.Generation()&0xff
	*at = mine
	s.tick.Load()
	if *at != mine {
		panic(fmt.Sprintf("block %d of owner %d was written by another: %#x", h.Index(), p.Owner(), *at))
	}
}

// rounds allocates, uses and frees n times, without waiting. It returns how
// often it found no block.
func (s *shared) rounds(p *Raw, n int) (missed int) {
	for range n {
		h, err := p.TryAlloc(modelBlock)
		if errors.Is(err, ErrExhausted) {
			missed++
			continue
		}
		if err != nil {
			panic(err)
		}
		s.use(p, h)
		if err := p.Free(h); err != nil {
			panic(err)
		}
		if err := p.Free(h); !errors.Is(err, ErrStaleHandle) {
			panic(fmt.Sprintf("a second Free gives %v", err))
		}
	}
	return missed
}

// waits is rounds with Alloc that waits.
func (s *shared) waits(p *Raw, n int) {
	for range n {
		h, err := p.Alloc(context.Background(), modelBlock)
		if err != nil {
			panic(err)
		}
		s.use(p, h)
		if err := p.Free(h); err != nil {
			panic(err)
		}
	}
}

// dead is the look of a sweep of an owner that is dead for good.
func dead() (func(Handle) bool, bool) { return nil, true }

// accounted checks the last state, after sweeps of those who are gone.
func (s *shared) accounted(gone ...int) error {
	p := s.seat(MaxOwners-1, 0)
	c := &p.classes[0]
	for _, o := range gone {
		p.Sweep(o, dead, false)
	}
	listed := map[uint32]bool{}
	for i := uint32(c.words.head.Load() & indexMask); i != 0; i = c.record(c.mem, i-1).next.Load() {
		if listed[i-1] {
			return fmt.Errorf("block %d is listed twice", i-1)
		}
		listed[i-1] = true
		if c.record(c.mem, i-1).state.Load()&queued == 0 {
			return fmt.Errorf("block %d is listed and has no token", i-1)
		}
	}
	for i := range c.count {
		if w := c.record(c.mem, i).state.Load(); !isFree(w) && !isCached(w) {
			return fmt.Errorf("block %d is not free at the end: %#x", i, w)
		}
	}
	got := map[int]bool{}
	for range s.count {
		h, err := p.TryAlloc(modelBlock)
		if err != nil {
			return fmt.Errorf("after %d of %d blocks: %w", len(got), s.count, err)
		}
		if got[h.Index()] {
			return fmt.Errorf("block %d was given out twice", h.Index())
		}
		got[h.Index()] = true
	}
	if _, err := p.TryAlloc(modelBlock); !errors.Is(err, ErrExhausted) {
		return fmt.Errorf("a block too many: %v", err)
	}
	return nil
}

func each(f func(cfg modelcheck.Config, name string)) {
	for _, m := range both {
		f(modelcheck.Config{Model: m}, m.String())
	}
}

// allocWorld has threads that allocate and free rounds times each. With as
// many blocks as threads nobody ever finds none.
func allocWorld(threads, blocks, rounds, cache int) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		s := newShared(w, blocks)
		for o := range threads {
			p := s.seat(o, cache)
			w.Go(fmt.Sprint("owner ", o), func() {
				if missed := s.rounds(p, rounds); missed > 0 && blocks >= threads {
					panic(fmt.Sprintf("owner %d found no block, of %d", o, blocks))
				}
			})
		}
		w.Final(func() error { return s.accounted() })
	}
}

func TestModelAlloc(t *testing.T) {
	each(func(cfg modelcheck.Config, name string) {
		for _, x := range []struct{ threads, blocks, rounds, cache int }{
			{2, 1, 1, 0}, {2, 1, 2, 0}, {2, 2, 1, 0}, {2, 2, 2, 0}, {3, 1, 1, 0}, {3, 2, 1, 0}, {3, 3, 1, 0},
			{2, 1, 1, 1}, {2, 2, 2, 1}, {3, 2, 1, 1},
		} {
			cfg.MaxExecutions = upTo(15_000, 2_000_000)
			modelcheck.Check(t, fmt.Sprintf("%d owners, %d blocks, %d rounds, cache %d, %s", x.threads, x.blocks, x.rounds, x.cache, name),
				modelcheck.Explore(cfg, allocWorld(x.threads, x.blocks, x.rounds, x.cache)))
		}
	})
}

// waitWorld has threads that wait for a block.
func waitWorld(threads, blocks, rounds, cache int) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		s := newShared(w, blocks)
		for o := range threads {
			p := s.seat(o, cache)
			w.Go(fmt.Sprint("owner ", o), func() { s.waits(p, rounds) })
		}
		w.Final(func() error { return s.accounted() })
	}
}

func TestModelWait(t *testing.T) {
	each(func(cfg modelcheck.Config, name string) {
		cfg.MaxExecutions = upTo(15_000, 2_000_000)
		for _, x := range []struct{ threads, blocks, rounds, cache int }{
			{2, 1, 1, 0}, {2, 1, 2, 0}, {2, 1, 1, 1}, {2, 1, 2, 1}, {3, 1, 1, 0}, {3, 1, 1, 1}, {3, 2, 1, 1},
		} {
			modelcheck.Check(t, fmt.Sprintf("%d wait for %d blocks, %d rounds, cache %d, %s", x.threads, x.blocks, x.rounds, x.cache, name),
				modelcheck.Explore(cfg, waitWorld(x.threads, x.blocks, x.rounds, x.cache)))
		}
	})
}

// deathWorld: the victim dies somewhere; whoever notices sweeps, and with
// sweepers 2 another at the same time; a survivor needs all the blocks.
func deathWorld(blocks, cache, sweepers int, successor bool) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		s := newShared(w, blocks)
		victim, survivor := s.seat(0, cache), s.seat(1, cache)
		w.Go("victim", func() { s.waits(victim, 1) })
		w.Go("survivor", func() { s.waits(survivor, 1) })
		for i := range sweepers {
			p := s.seat(2+i, 0)
			w.Go(fmt.Sprint("sweeper ", i), func() {
				w.AwaitDeath("victim")
				p.Sweep(0, dead, false)
			})
		}
		if successor { // in the same seat, after a sweep of its own
			p := s.seat(0, cache)
			w.Go("successor", func() {
				w.AwaitDeath("victim")
				p.Sweep(0, dead, false)
				s.waits(p, 1)
			})
		}
		w.Final(func() error {
			var gone []int
			for i, name := range []string{"victim", "survivor", "sweeper 0", "sweeper 1"} {
				if i < 2+sweepers && w.Crashed(name) {
					gone = append(gone, i)
				}
			}
			return s.accounted(gone...)
		})
	}
}

func TestModelOwnerDies(t *testing.T) {
	each(func(cfg modelcheck.Config, name string) {
		cfg.MaxExecutions = upTo(400, 20_000) // for each step
		for _, x := range []struct {
			blocks, cache, sweepers int
			successor               bool
		}{
			{1, 0, 1, false}, {2, 0, 1, false}, {1, 1, 1, false}, {1, 0, 2, false}, {1, 0, 0, true}, {2, 1, 0, true},
		} {
			modelcheck.Check(t, fmt.Sprintf("owner dies, %d blocks, cache %d, %d sweepers, successor %v, %s", x.blocks, x.cache, x.sweepers, x.successor, name),
				modelcheck.Sweep(cfg, "victim", deathWorld(x.blocks, x.cache, x.sweepers, x.successor)))
		}
	})
}

// TestModelFewSwitches goes the other way: all schedules with at most one
// preemption, from the beginning.
func TestModelFewSwitches(t *testing.T) {
	each(func(cfg modelcheck.Config, name string) {
		cfg.Search, cfg.Preemptions, cfg.MaxExecutions = modelcheck.Bounded, 1, 2_000 // for each step
		modelcheck.Check(t, "owner dies, few switches, "+name, modelcheck.Sweep(cfg, "victim", deathWorld(1, 0, 1, false)))
		modelcheck.Check(t, "owner dies, successor, few switches, "+name, modelcheck.Sweep(cfg, "victim", deathWorld(2, 1, 0, true)))
	})
}

// TestModelSweeperDies: the victim and then who sweeps after it, at each pair
// of steps. Another survivor sweeps both.
func TestModelSweeperDies(t *testing.T) {
	each(func(cfg modelcheck.Config, name string) {
		cfg.MaxExecutions = upTo(30, 2_000) // for each pair of steps
		modelcheck.Check(t, "owner and sweeper die, "+name, modelcheck.SweepPair(cfg, "victim", "sweeper", func(w *modelcheck.World) {
			s := newShared(w, 1)
			victim, sweeper, survivor := s.seat(0, 0), s.seat(1, 0), s.seat(2, 0)
			w.Go("victim", func() { s.waits(victim, 1) })
			w.Go("sweeper", func() {
				w.AwaitDeath("victim")
				sweeper.Sweep(0, dead, false)
				s.waits(sweeper, 1)
			})
			w.Go("survivor", func() { s.waits(survivor, 1) })
			w.Go("second sweeper", func() {
				w.AwaitDeath("victim")
				w.AwaitDeath("sweeper")
				survivor.Sweep(0, dead, false)
				survivor.Sweep(1, dead, false)
			})
			w.Final(func() error { return s.accounted(0, 1) })
		}))
	})
}

// TestModelOwnerStops: a stopped owner is not dead, and nobody takes what it
// holds; when it goes on, nothing is listed twice. The others sweep somebody who
// has died before, so that they look at every block.
func TestModelOwnerStops(t *testing.T) {
	each(func(cfg modelcheck.Config, name string) {
		cfg.MaxExecutions = upTo(600, 20_000) // for each step
		for _, x := range []struct{ blocks, cache int }{{2, 0}, {1, 0}, {2, 1}} {
			modelcheck.Check(t, fmt.Sprintf("owner stops, %d blocks, cache %d, %s", x.blocks, x.cache, name),
				modelcheck.SweepStop(cfg, "victim", func(w *modelcheck.World) {
					s := newShared(w, x.blocks)
					victim, other, gone := s.seat(0, x.cache), s.seat(1, x.cache), s.seat(2, 0)
					if _, err := gone.TryAlloc(modelBlock); err != nil { // and died
						panic(err)
					}
					w.Go("victim", func() { s.rounds(victim, 2) })
					w.Go("other", func() {
						other.Sweep(2, dead, false)
						s.rounds(other, 2)
					})
					w.Final(func() error { return s.accounted() })
				}))
		}
	})
}

// shareWorld: owner 0 shares a block with 1 and 2, and all three use and free
// it. Owner 3 waits for it.
func shareWorld(w *modelcheck.World) {
	s := newShared(w, 1)
	var p [4]*Raw
	for o := range p {
		p[o] = s.seat(o, 0)
	}
	h, err := p[0].TryAlloc(modelBlock)
	for o := 1; o < 3 && err == nil; o++ {
		err = p[0].Share(h, o)
	}
	if err != nil {
		panic(err)
	}
	for o := range 3 {
		w.Go(fmt.Sprint("owner ", o), func() {
			if err := p[o].Retain(h); err != nil {
				panic(err)
			}
			for range 2 { // once for the Retain
				b, err := p[o].Bytes(h)
				if err != nil {
					panic(err)
				}
				word.Reads(unsafe.Pointer(&b[0]), modelBlock)
				s.tick.Load()
				if err := p[o].Free(h); err != nil {
					panic(err)
				}
			}
			if err := p[o].Free(h); !errors.Is(err, ErrStaleHandle) {
				panic(fmt.Sprintf("one Free too many gives %v", err))
			}
		})
	}
	w.Go("next", func() { s.waits(p[3], 1) })
	w.Go("sweeper", func() {
		w.AwaitDeath("owner 0")
		p[3].Sweep(0, dead, false)
	})
	w.Final(func() error { return s.accounted() })
}

func TestModelShare(t *testing.T) {
	each(func(cfg modelcheck.Config, name string) {
		cfg.MaxExecutions = upTo(15_000, 1_000_000)
		modelcheck.Check(t, "three share a block, "+name, modelcheck.Explore(cfg, shareWorld))
		cfg.MaxExecutions = upTo(400, 20_000) // for each step
		modelcheck.Check(t, "a holder of three dies, "+name, modelcheck.Sweep(cfg, "owner 0", shareWorld))
	})
}

// TestModelGive: a block goes from hand to hand, by a word that has its
// generation, and each uses it alone.
func TestModelGive(t *testing.T) {
	each(func(cfg modelcheck.Config, name string) {
		modelcheck.Check(t, "a block is given on, "+name, modelcheck.Explore(cfg, func(w *modelcheck.World) {
			s := newShared(w, 1)
			mail := modelcheck.Alloc[word.U64](w, "mail")
			p, q := s.seat(0, 0), s.seat(1, 0)
			w.Go("giver", func() {
				h, err := p.Alloc(context.Background(), modelBlock)
				if err != nil {
					panic(err)
				}
				s.use(p, h)
				if err := p.Give(h, 1); err != nil {
					panic(err)
				}
				mail.Store(h.block + 1)
				if err := p.Free(h); !errors.Is(err, ErrStaleHandle) {
					panic(fmt.Sprintf("Free after Give gives %v", err))
				}
				s.waits(p, 1)
			})
			w.Go("taker", func() {
				v := mail.Load()
				for ; v == 0; v = mail.Load() {
					word.Pause(1)
				}
				h := makeHandle(7, 0, 0, (v-1)>>indexBits, modelBlock)
				s.use(q, h)
				if err := q.Free(h); err != nil {
					panic(err)
				}
			})
			w.Final(func() error { return s.accounted() })
		}))
	})
}
