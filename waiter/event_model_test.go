//go:build modelcheck

package waiter

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
)

// The models of the event count, run from the source that ships. A cell is an
// Event with the least that there is to wait for: a counter that its publisher
// stores with StoreRelease, as the ring does with its sequences.
type cell struct {
	data word.U32
	dead word.U32 // how many publishers died, as the sleeper knows
	quit word.U32 // the sleeper's context is done
	ev   Event
}

// What a Sleeper measures once in a process is measured before any model runs.
func init() { NewSleeper(new(Event), Park).End() }

// modelContext is a context that a word of the model ends: store 1, then Kick.
type modelContext struct{ done *word.U32 }

func (c modelContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c modelContext) Done() <-chan struct{}       { return nil }
func (c modelContext) Value(any) any               { return nil }
func (c modelContext) Err() error {
	if c.done.Load() != 0 {
		return context.Canceled
	}
	return nil
}

// publish counts data up to n.
func (c *cell) publish(wk *Waker, n uint32) {
	for i := c.data.Load() + 1; i <= n; i++ {
		c.data.StoreRelease(i)
		wk.Notify()
	}
}

// follow waits for data to reach n, and may be handed something to do after
// each wait.
func (c *cell) follow(sl *Sleeper, n uint32, between func(got uint32)) {
	for got := uint32(0); got < n; {
		if err := sl.Wait(context.Background(), false, func() bool { return c.data.Load() > got }); err != nil {
			panic(err)
		}
		got = c.data.Load()
		if between != nil {
			between(got)
		}
	}
}

// A setup is one publisher and one sleeper, which both begin inside their
// threads, so that Config.NoRegister and NoMembarrier mean something.
type setup struct {
	n         uint32 // publishes
	flag, ack uint32 // what the dead left
	between   func(*Sleeper) func(uint32)
}

func (s setup) world(w *modelcheck.World) {
	c := modelcheck.Alloc[cell](w, "c")
	c.ev.flag.Store(s.flag)
	c.ev.ack.Store(s.ack)
	w.Go("publisher", func() {
		wk := NewWaker(&c.ev)
		c.publish(&wk, s.n)
	})
	w.Go("sleeper", func() {
		sl := NewSleeper(&c.ev, Park)
		var b func(uint32)
		if s.between != nil {
			b = s.between(sl)
		}
		c.follow(sl, s.n, b)
	})
}

// switching asks for fences after the first wait and for none after the
// second, as habit does.
func switching(sl *Sleeper) func(uint32) {
	turn := 0
	return func(uint32) {
		turn++
		sl.wish(turn%2 == 1)
	}
}

// each runs f for each memory model and each way in which the fence can be had:
// membarrier works; the sleepers cannot call it; the publishers cannot be
// registered for it; neither. Under SC nothing asks for a fence.
func each(f func(cfg modelcheck.Config)) {
	sleepers, publishers := []string{"sleeper", "successor", "next sleeper"}, []string{"publisher", "successor", "next publisher"}
	f(modelcheck.Config{Model: modelcheck.TSO})
	f(modelcheck.Config{Model: modelcheck.TSO, NoMembarrier: sleepers})
	f(modelcheck.Config{Model: modelcheck.TSO, NoRegister: publishers})
	f(modelcheck.Config{Model: modelcheck.TSO, NoMembarrier: sleepers, NoRegister: publishers})
	f(modelcheck.Config{})
}

// TestModelEvent: nobody is lost, in each fence mode, with and without
// returns that have no reason, and while the mode changes.
func TestModelEvent(t *testing.T) {
	n := uint32(suite.UpTo(2, 3))
	s := suite.New(t)
	each(func(cfg modelcheck.Config) {
		cfg.MaxExecutions = suite.UpTo(100_000, 200_000)
		if cfg.Model == modelcheck.SC {
			cfg.MaxExecutions = 1_000_000
		}
		s.Explore("event", cfg, setup{n: n}.world)
		s.Explore("event switching", cfg, setup{n: n, between: switching}.world)
		cfg.Spurious, cfg.Timeouts = 1, 1
		s.Explore("event with early returns", cfg, setup{n: 2}.world)
	})
}

// TestModelLegacy: a new Waker and a new Sleeper over whatever the dead left.
func TestModelLegacy(t *testing.T) {
	s := suite.New(t)
	each(func(cfg modelcheck.Config) {
		for _, left := range []struct{ flag, ack uint32 }{
			{raised, 0},
			{over, 0},
			{raised | over, 0},
			{epoch | fence, 0},             // wished, not answered
			{epoch | fence, epoch | fence}, // answered by the dead
			{epoch | fence | raised | over, 0},
			{epoch | fence | raised, epoch | fence},
			{2 * epoch, epoch | fence}, // taken back, not noticed
			{2*epoch | raised, 2 * epoch},
			{3*epoch | fence | raised | over, 2 * epoch},
			{wish | raised, wish}, // the last epoch
			{wish &^ fence, wish - epoch},
		} {
			s.Explore("legacies", cfg, setup{n: 1, flag: left.flag, ack: left.ack}.world)
		}
	})
}

// TestModelCancel: a context that ends while the call parks, or while it is
// woken. The call returns; if the publisher was first it may return either.
func TestModelCancel(t *testing.T) {
	s := suite.New(t)
	each(func(cfg modelcheck.Config) {
		for _, quiet := range []bool{false, true} {
			s.Explore(fmt.Sprintf("cancel, publisher %v", !quiet), cfg, func(w *modelcheck.World) {
				c := modelcheck.Alloc[cell](w, "c")
				if !quiet {
					w.Go("publisher", func() {
						wk := NewWaker(&c.ev)
						c.publish(&wk, 1)
					})
				}
				w.Go("sleeper", func() {
					sl := NewSleeper(&c.ev, Park)
					err := sl.Wait(modelContext{&c.quit}, false, func() bool { return c.data.Load() > 0 })
					switch {
					case err == nil && c.data.Load() == 0:
						panic("returned without a reason")
					case err != nil && !errors.Is(err, context.Canceled):
						panic(err)
					case err != nil && c.quit.Load() == 0:
						panic("cancelled by nobody")
					}
				})
				w.Go("canceller", func() {
					c.quit.Store(1)
					c.ev.Kick()
				})
			})
		}
	})
}

// TestModelTwoSleepers: Wait in one goroutine and Await in another.
func TestModelTwoSleepers(t *testing.T) {
	world := func(n uint32, preset uint32) func(w *modelcheck.World) {
		return func(w *modelcheck.World) {
			c := modelcheck.Alloc[cell](w, "c")
			c.ev.flag.Store(preset)
			word.RegisterMembarrier()
			sl := NewSleeper(&c.ev, Park)
			w.Go("publisher", func() {
				wk := NewWaker(&c.ev)
				c.publish(&wk, n)
			})
			w.Go("sleeper", func() { c.follow(sl, n, nil) })
			w.Go("another", func() {
				if err := sl.Await(context.Background(), func() bool { return c.data.Load() == n }); err != nil {
					panic(err)
				}
			})
		}
	}
	s := suite.New(t)
	for _, m := range suite.Models {
		for _, preset := range []uint32{0, epoch | fence} {
			s.Explore("two sleepers", modelcheck.Config{Model: m}, world(1, preset))
		}
		s.Explore("two sleepers, 2 publishes", modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(40_000, 400_000)}, world(2, 0))
	}
}

// TestModelShort: what shmchan inlines. The publisher asks Quiet, and Notify
// only if that says so; the sleeper looks as often as Looks says, pausing in
// between, and then waits.
func TestModelShort(t *testing.T) {
	s := suite.New(t)
	each(func(cfg modelcheck.Config) {
		for _, streaming := range []bool{false, true} {
			cfg.Pauses = 10 // looks are bounded
			s.Explore("Quiet and Looks", cfg, func(w *modelcheck.World) {
				const n = 2
				c := modelcheck.Alloc[cell](w, "c")
				w.Go("publisher", func() {
					wk := NewWaker(&c.ev)
					for i := uint32(1); i <= n; i++ {
						c.data.StoreRelease(i)
						if !wk.Quiet() {
							wk.Notify()
						}
					}
				})
				w.Go("sleeper", func() {
					sl := NewSleeper(&c.ev, Park)
					for got := uint32(0); got < n; got = c.data.Load() {
						ready := func() bool { return c.data.Load() > got }
						sl.policy, sl.single = Adaptive, false
						looks := min(sl.Looks(streaming), 2) // more of them are the same again
						sl.policy = Park
						for range looks {
							if ready() {
								break
							}
							word.Pause(1)
						}
						if err := sl.Wait(context.Background(), streaming, ready); err != nil {
							panic(err)
						}
					}
				})
			})
		}
	})
}

// TestModelOver: once Over has returned and somebody knows it, the publisher's
// Over says so, and its Quiet does not hide it; a successor of the sleeper takes
// it back.
func TestModelOver(t *testing.T) {
	s := suite.New(t)
	for _, m := range suite.Models {
		s.Explore("over", modelcheck.Config{Model: m}, func(w *modelcheck.World) {
			c := modelcheck.Alloc[cell](w, "c")
			word.RegisterMembarrier()
			sl := NewSleeper(&c.ev, Park)
			w.Go("publisher", func() {
				wk := NewWaker(&c.ev)
				for i := uint32(1); i <= 2; i++ {
					gone := c.quit.Load() == 1
					if gone && (wk.Quiet() || !wk.Over()) {
						panic("the publisher does not know that it is over")
					}
					c.data.StoreRelease(i)
					wk.Notify()
				}
			})
			w.Go("sleeper", func() {
				c.follow(sl, 1, nil)
				sl.Over()
				c.quit.Store(1)
			})
			w.Final(func() error {
				wk := NewWaker(&c.ev)
				if !wk.Over() {
					return errors.New("over is lost")
				}
				NewSleeper(&c.ev, Park)
				if wk.Over() {
					return errors.New("over is kept")
				}
				return nil
			})
		})
	}
}
