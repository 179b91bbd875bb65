//go:build modelcheck

package waiter

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/shmkit/shm/internal/modelcheck"
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

var deep = flag.Bool("deep", false, "explore larger bounds")

// upTo is n, or more with -deep.
func upTo(n, more int) int {
	if *deep {
		return more
	}
	return n
}

// What a Sleeper measures once in a process is measured before any model runs.
func init() { NewSleeper(new(Event), Park).End() }

var both = []modelcheck.Model{modelcheck.SC, modelcheck.TSO}

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

// modes are the ways in which the fence can be had.
var modes = []struct {
	name         string
	noMembarrier []string
	noRegister   []string
}{
	{"membarrier", nil, nil},
	{"sleeper without membarrier", []string{"sleeper", "successor", "next sleeper"}, nil},
	{"publisher not registered", nil, []string{"publisher", "successor", "next publisher"}},
	{"neither", []string{"sleeper", "successor", "next sleeper"}, []string{"publisher", "successor", "next publisher"}},
}

// each runs f for each memory model and fence mode; under SC only for the
// first, since nothing asks for a fence there.
func each(f func(cfg modelcheck.Config, name string)) {
	for _, mode := range modes {
		f(modelcheck.Config{Model: modelcheck.TSO, NoMembarrier: mode.noMembarrier, NoRegister: mode.noRegister}, "TSO, "+mode.name)
	}
	f(modelcheck.Config{}, "SC")
}

// sum puts the results of several explorations together.
type sum struct{ modelcheck.Result }

func (s *sum) add(r modelcheck.Result) {
	if s.Failure == nil && r.Failure != nil {
		s.Failure = r.Failure
	}
	s.Executions += r.Executions
	s.Blocked += r.Blocked
	s.Steps += r.Steps
	s.Points += r.Points
	s.Time += r.Time
	if s.Bound == "" {
		s.Bound = r.Bound
	}
}

// TestModelEvent: nobody is lost, in each fence mode, with and without
// returns that have no reason, and while the mode changes.
func TestModelEvent(t *testing.T) {
	n := uint32(upTo(2, 3))
	each(func(cfg modelcheck.Config, name string) {
		modelcheck.Check(t, "event, "+name, modelcheck.Explore(cfg, setup{n: n}.world))
		modelcheck.Check(t, "event switching, "+name, modelcheck.Explore(cfg, setup{n: n, between: switching}.world))
		cfg.Spurious, cfg.Timeouts = 1, 1
		modelcheck.Check(t, "event with early returns, "+name, modelcheck.Explore(cfg, setup{n: 2}.world))
	})
}

// TestModelLegacy: a new Waker and a new Sleeper over whatever the dead left.
func TestModelLegacy(t *testing.T) {
	each(func(cfg modelcheck.Config, name string) {
		var all sum
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
			all.add(modelcheck.Explore(cfg, setup{n: 1, flag: left.flag, ack: left.ack}.world))
			if all.Failure != nil {
				t.Errorf("left flag %#x, ack %#x", left.flag, left.ack)
				break
			}
		}
		modelcheck.Check(t, "12 legacies, "+name, all.Result)
	})
}

// TestModelCancel: a context that ends while the call parks, or while it is
// woken. The call returns; if the publisher was first it may return either.
func TestModelCancel(t *testing.T) {
	each(func(cfg modelcheck.Config, name string) {
		for _, quiet := range []bool{false, true} {
			r := modelcheck.Explore(cfg, func(w *modelcheck.World) {
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
			modelcheck.Check(t, fmt.Sprintf("cancel, publisher %v, %s", !quiet, name), r)
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
	for _, m := range both {
		for _, preset := range []uint32{0, epoch | fence} {
			r := modelcheck.Explore(modelcheck.Config{Model: m}, world(1, preset))
			modelcheck.Check(t, fmt.Sprintf("two sleepers, %v, wish %#x", m, preset), r)
		}
		r := modelcheck.Explore(modelcheck.Config{Model: m, MaxExecutions: upTo(40_000, 2_000_000)}, world(2, 0))
		modelcheck.Check(t, fmt.Sprintf("two sleepers, 2 publishes, %v", m), r)
	}
}

// TestModelOver: once Over has returned and somebody knows it, the Waker says so;
// a successor of the sleeper takes it back.
func TestModelOver(t *testing.T) {
	for _, m := range both {
		r := modelcheck.Explore(modelcheck.Config{Model: m}, func(w *modelcheck.World) {
			c := modelcheck.Alloc[cell](w, "c")
			word.RegisterMembarrier()
			sl := NewSleeper(&c.ev, Park)
			w.Go("publisher", func() {
				wk := NewWaker(&c.ev)
				for i := uint32(1); i <= 2; i++ {
					gone := c.quit.Load() == 1
					c.data.StoreRelease(i)
					wk.Notify()
					if gone && !wk.Over() {
						panic("the Waker does not know that it is over")
					}
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
		modelcheck.Check(t, fmt.Sprintf("over, %v", m), r)
	}
}
