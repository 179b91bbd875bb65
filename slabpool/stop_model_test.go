//go:build modelcheck

package slabpool

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
)

// waitsForEver is waits for one round by somebody who parks without a limit.
func (s *shared) waitsForEver(p *Raw) {
	var h Handle
	var err error
	p.sleeper().Await(context.Background(), func() bool {
		h, err = p.alloc(modelBlock)
		return !errors.Is(err, ErrExhausted)
	})
	if err != nil {
		panic(err)
	}
	s.use(p, h)
	p.Free(h)
}

// stoppedWaker: the victim stops for ever within Free, say between lowering the
// flag and the wake. It is not dead, and nobody sweeps. Another goes on to free
// its block, which the waiter must get.
func stoppedWaker(cache int, wait func(*shared, *Raw)) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		s := newShared(w, 2)
		victim, other, waiter := s.seat(0, cache), s.seat(1, 0), s.seat(2, 0)
		a, err := victim.TryAlloc(modelBlock)
		if err != nil {
			panic(err)
		}
		b, err := other.TryAlloc(modelBlock)
		if err != nil {
			panic(err)
		}
		w.Go("victim", func() { victim.Free(a) })
		w.Go("other", func() { other.Free(b) })
		w.Go("waiter", func() { wait(s, waiter) })
	}
}

func TestModelStoppedWaker(t *testing.T) {
	s := suite.New(t)
	for _, m := range suite.Models {
		cfg := modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(2_000, 50_000)} // for each step
		for _, cache := range []int{0, 1} {
			s.Sweep("a waker is stopped", cfg, "victim", stoppedWaker(cache, func(s *shared, p *Raw) { s.waits(p, 1) }))
		}
	}
	s.SweepBug("a park without a limit beside a stopped waker", modelcheck.Config{MaxExecutions: 20_000}, "victim",
		stoppedWaker(0, (*shared).waitsForEver), modelcheck.Deadlock, 0)
}

// TestModelAfterSweep: two goroutines of one endpoint and one of another wait
// for blocks in a pool as an attach leaves it: swept, so that it may have hidden
// blocks.
func TestModelAfterSweep(t *testing.T) {
	s := suite.New(t)
	for _, m := range suite.Models {
		cfg := modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(5_000, 150_000)}
		for _, x := range []struct{ blocks, cache int }{{1, 1}, {2, 1}, {2, 0}} {
			s.Explore(fmt.Sprintf("wait after a sweep, %d blocks, cache %d", x.blocks, x.cache), cfg, func(w *modelcheck.World) {
				s := newShared(w, x.blocks)
				p, q := s.seat(0, x.cache), s.seat(1, x.cache)
				p.Sweep(0, dead, false)
				w.Go("a", func() { s.waits(p, 1) })
				w.Go("b", func() { s.waits(p, 1) })
				w.Go("c", func() { s.waits(q, 1) })
				w.Final(func() error { return s.accounted() })
			})
		}
	}
}

// TestModelRetain: two goroutines of one endpoint, each with a hold of its own
// and a second one that it adds.
func TestModelRetain(t *testing.T) {
	s := suite.New(t)
	for _, m := range suite.Models {
		cfg := modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(5_000, 150_000)}
		s.Explore("two goroutines retain and free", cfg, func(w *modelcheck.World) {
			s := newShared(w, 1)
			p, q := s.seat(0, 1), s.seat(1, 0)
			h, err := p.TryAlloc(modelBlock)
			if err == nil {
				err = p.Retain(h)
			}
			if err != nil {
				panic(err)
			}
			for _, name := range []string{"a", "b"} {
				w.Go(name, func() {
					err := p.Retain(h)
					for range 2 {
						if err == nil {
							err = p.Free(h)
						}
					}
					if err != nil {
						panic(err)
					}
				})
			}
			w.Go("c", func() { s.waits(q, 1) })
			w.Final(func() error { return s.accounted() })
		})
	}
}
