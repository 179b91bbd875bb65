//go:build modelcheck

package waiter

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
)

// The models of waiting at a poller and of waiting for two Events at once, from
// the source that ships. What a process has to itself (mutexes, Go channels, the
// poller's control word) is made of words here: see baton_model.go.

// An office is a lot in a World. With a poller nobody parks directly.
type office struct {
	lot   *lot
	seats []*seat // made in advance: a thread makes no memory
}

// openOffice makes it in setup, and the poller's thread.
func openOffice(w *modelcheck.World, shared bool, seats int) *office {
	return openOfficeWith(w, shared, seats, func(p *poller) {
		for p.turn() {
		}
	})
}

func openOfficeWith(w *modelcheck.World, shared bool, seats int, run func(*poller)) *office {
	mem := modelcheck.Alloc[[8]word.U32](w, "private")
	used := 0
	newWord = func() *word.U32 {
		used++
		return &mem[used-1]
	}
	o := &office{lot: &lot{most: maxDirect, start: func(*poller) { panic("one poller is enough") }}}
	for range seats {
		o.seats = append(o.seats, newSeat())
	}
	if shared {
		o.lot.most = 0
		p := newPoller(o.lot)
		p.isOut(new(ticket)) // makes the latch's word
		o.lot.pollers = []*poller{p}
		w.Daemon("poller", func() { run(p) })
	}
	newWord = func() *word.U32 { panic("memory is made in setup") }
	return o
}

// sleeper makes a Sleeper that waits there. Its seat is the i-th.
func (o *office) sleeper(e *Event, i int) *Sleeper {
	s := NewSleeper(e, Park)
	s.lot, s.seat = o.lot, o.seats[i]
	return s
}

// group makes a Group, in setup.
func (o *office) group(i int) *Group {
	return &Group{lot: o.lot, seat: o.seats[i], cancel: new(word.U32)}
}

// direct is what exhausts waiting without a poller.
const direct = 90_000

// oneSwitch is what exhausts the smaller models at a poller up to one
// preemption.
const oneSwitch = 110_000

// someSwitches bounds the others so that at least SC is exhausted.
func someSwitches() int { return suite.UpTo(7_500, 40_000) }

// pollerModes are each's; once up to a number of executions, and once all
// schedules with few switches, since a poller has many steps. With few 0 the
// search without that bound is enough.
func pollerModes(t *testing.T, most, few int, f func(s *suite.Suite, cfg modelcheck.Config, few string)) {
	s := suite.New(t)
	each(func(cfg modelcheck.Config) {
		cfg.MaxExecutions = most
		f(s, cfg, "")
		if few > 0 {
			cfg.Search, cfg.Preemptions, cfg.MaxExecutions = modelcheck.Bounded, 1, few
			f(s, cfg, ", few switches")
		}
	})
}

// sharedBounds are pollerModes' for a model that goes both ways.
func sharedBounds(shared bool, few int) (int, int) {
	if !shared {
		return direct, 0
	}
	return suite.UpTo(5_000, 25_000), few
}

func TestModelPoller(t *testing.T) {
	for n := uint32(1); n <= 2; n++ {
		few := oneSwitch
		if n > 1 {
			few = someSwitches()
		}
		pollerModes(t, suite.UpTo(5_000, 25_000), few, func(s *suite.Suite, cfg modelcheck.Config, few string) {
			s.Explore(fmt.Sprintf("at a poller, %d sent%s", n, few), cfg, func(w *modelcheck.World) {
				o := openOffice(w, true, 1)
				c := modelcheck.Alloc[cell](w, "c")
				w.Go("publisher", func() {
					wk := NewWaker(&c.ev)
					c.publish(&wk, n)
				})
				w.Go("sleeper", func() { c.follow(o.sleeper(&c.ev, 0), n, nil) })
			})
		})
	}
}

// TestModelPollerOfTwo: two goroutines wait at the same poller.
func TestModelPollerOfTwo(t *testing.T) {
	pollerModes(t, suite.UpTo(5_000, 25_000), someSwitches(), func(s *suite.Suite, cfg modelcheck.Config, few string) {
		s.Explore("two at a poller"+few, cfg, func(w *modelcheck.World) {
			o := openOffice(w, true, 2)
			var cells [2]*cell
			for i := range cells {
				cells[i] = modelcheck.Alloc[cell](w, fmt.Sprint("c", i))
			}
			w.Go("publisher", func() {
				for _, c := range cells {
					wk := NewWaker(&c.ev)
					c.publish(&wk, 1)
				}
			})
			w.Go("sleeper", func() { cells[0].follow(o.sleeper(&cells[0].ev, 0), 1, nil) })
			w.Go("another", func() { cells[1].follow(o.sleeper(&cells[1].ev, 1), 1, nil) })
		})
	})
}

// TestModelPollerCancel: the context ends while the call waits at a poller.
func TestModelPollerCancel(t *testing.T) {
	pollerModes(t, suite.UpTo(5_000, 25_000), oneSwitch, func(s *suite.Suite, cfg modelcheck.Config, few string) {
		s.Explore("cancel at a poller"+few, cfg, func(w *modelcheck.World) {
			o := openOffice(w, true, 1)
			c := modelcheck.Alloc[cell](w, "c")
			w.Go("publisher", func() {
				wk := NewWaker(&c.ev)
				c.publish(&wk, 1)
			})
			w.Go("sleeper", func() {
				err := o.sleeper(&c.ev, 0).Wait(modelContext{&c.quit}, false, func() bool { return c.data.Load() > 0 })
				verdict(err, c.data.Load() > 0, c.quit.Load() != 0)
			})
			w.Go("canceller", func() {
				c.quit.Store(1)
				c.ev.Kick()
			})
		})
	})
}

// verdict panics unless a call ended for a reason.
func verdict(err error, ready, cancelled bool) {
	switch {
	case err == nil && !ready:
		panic("returned without a reason")
	case err != nil && !errors.Is(err, context.Canceled):
		panic(err)
	case err != nil && !cancelled:
		panic("cancelled by nobody")
	}
}

// TestModelPollerPublisherDies: the publisher dies in place of each of its
// steps, and whoever watches tells.
func TestModelPollerPublisherDies(t *testing.T) {
	pollerModes(t, suite.UpTo(500, 2_500), oneSwitch, func(s *suite.Suite, cfg modelcheck.Config, few string) {
		s.Sweep("publisher dies, sleeper at a poller"+few, cfg, "publisher", func(w *modelcheck.World) {
			o := openOffice(w, true, 1)
			c := modelcheck.Alloc[cell](w, "c")
			w.Go("publisher", func() {
				wk := NewWaker(&c.ev)
				c.publish(&wk, 1)
			})
			w.Go("watch", func() {
				w.AwaitDeath("publisher")
				c.dead.Store(1)
				c.ev.Kick()
			})
			w.Go("sleeper", func() {
				err := o.sleeper(&c.ev, 0).Wait(context.Background(), false, func() bool { return c.data.Load() > 0 || c.dead.Load() != 0 })
				verdict(err, true, false)
			})
		})
	})
}

// TestModelReady is what Ready does: a goroutine waits for the level and offers a
// token, until the endpoint is closed, which waits for its end.
func TestModelReady(t *testing.T) {
	for _, shared := range []bool{false, true} {
		most, few := sharedBounds(shared, oneSwitch)
		pollerModes(t, most, few, func(s *suite.Suite, cfg modelcheck.Config, few string) {
			s.Explore(fmt.Sprintf("Ready and close, at a poller %v%s", shared, few), cfg, func(w *modelcheck.World) {
				o := openOffice(w, shared, 1)
				c := modelcheck.Alloc[cell](w, "c")
				x := modelcheck.Alloc[struct{ token, taken, gone word.U32 }](w, "x")
				w.Go("publisher", func() {
					wk := NewWaker(&c.ev)
					c.publish(&wk, 1)
				})
				w.Go("sleeper", func() { // the goroutine that Ready starts
					s := o.sleeper(&c.ev, 0)
					for x.gone.Load() == 0 {
						s.park(context.Background(), -1, func() bool { return x.gone.Load() != 0 || c.data.Load() > x.taken.Load() }, &s.seat)
						if x.gone.Load() == 0 && x.token.CompareAndSwap(0, 1) {
							x.token.Wake(1)
						}
						if x.gone.Load() == 0 && x.token.Load() == 1 { // the next one is blocked on the Go channel
							x.token.Wait(1, -1)
						}
					}
				})
				w.Go("user", func() {
					for !x.token.CompareAndSwap(1, 0) { // never misses
						x.token.Wait(0, -1)
					}
					if c.data.Load() == 0 {
						panic("a token without a message")
					}
					x.taken.Store(1)
					x.token.Wake(1)
					x.gone.Store(1) // Close
					x.token.Store(2)
					x.token.Wake(2)
					c.ev.Kick()
				})
			})
		})
	}
}

// TestModelGroup: Select on two channels, of which one or both get a message.
func TestModelGroup(t *testing.T) {
	for _, shared := range []bool{false, true} {
		for both := 1; both <= 2; both++ {
			bound := oneSwitch
			if both > 1 {
				bound = someSwitches()
			}
			most, few := sharedBounds(shared, bound)
			pollerModes(t, most, few, func(s *suite.Suite, cfg modelcheck.Config, few string) {
				s.Explore(fmt.Sprintf("select on two, %d send, at a poller %v%s", both, shared, few), cfg, groupWorld(shared, both, false))
			})
		}
	}
}

// TestModelGroupCancel: a context that ends meanwhile, with a sender or without.
func TestModelGroupCancel(t *testing.T) {
	for _, shared := range []bool{false, true} {
		for senders := range 2 {
			bound := oneSwitch
			if senders > 0 {
				bound = someSwitches()
			}
			most, few := sharedBounds(shared, bound)
			pollerModes(t, most, few, func(s *suite.Suite, cfg modelcheck.Config, few string) {
				s.Explore(fmt.Sprintf("select cancelled, %d send, at a poller %v%s", senders, shared, few), cfg, groupWorld(shared, senders, true))
			})
		}
	}
}

// groupWorld takes all that is sent on two channels, by one Group.
func groupWorld(shared bool, senders int, cancel bool) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		o := openOffice(w, shared, 1)
		g := o.group(0)
		g.cancel = &modelcheck.Alloc[[1]word.U32](w, "cancel")[0]
		quit := modelcheck.Alloc[word.U32](w, "quit")
		var cells [2]*cell
		for i := range cells {
			c := modelcheck.Alloc[cell](w, fmt.Sprint("c", i))
			cells[i] = c
			if i < senders {
				w.Go([]string{"publisher", "next publisher"}[i], func() {
					wk := NewWaker(&c.ev)
					c.publish(&wk, 1)
				})
			}
		}
		w.Go("sleeper", func() {
			for _, c := range cells {
				s := NewSleeper(&c.ev, Park)
				s.lot = o.lot
				g.Add(s)
			}
			var got [2]uint32
			can := func() bool { return cells[0].data.Load() > got[0] || cells[1].data.Load() > got[1] }
			for range max(senders, 1) {
				err := g.Wait(modelContext{quit}, can)
				verdict(err, can(), quit.Load() != 0)
				if err != nil {
					return
				}
				for i, c := range cells {
					if c.data.Load() > got[i] {
						got[i]++
						break
					}
				}
			}
		})
		if cancel {
			w.Go("canceller", func() {
				quit.Store(1)
				g.kick()
			})
		}
	}
}

// TestModelGroupClose: an endpoint among the cases closes: its state changes,
// then Kick.
func TestModelGroupClose(t *testing.T) {
	for _, shared := range []bool{false, true} {
		most, few := sharedBounds(shared, someSwitches())
		pollerModes(t, most, few, func(s *suite.Suite, cfg modelcheck.Config, few string) {
			s.Explore(fmt.Sprintf("select, one closes, at a poller %v%s", shared, few), cfg, func(w *modelcheck.World) {
				o := openOffice(w, shared, 1)
				g := o.group(0)
				g.cancel = &modelcheck.Alloc[[1]word.U32](w, "cancel")[0]
				a, b := modelcheck.Alloc[cell](w, "a"), modelcheck.Alloc[cell](w, "b")
				w.Go("publisher", func() {
					wk := NewWaker(&a.ev)
					a.publish(&wk, 1)
				})
				w.Go("closer", func() {
					b.dead.Store(1)
					b.ev.Kick()
				})
				w.Go("sleeper", func() {
					for _, c := range []*cell{a, b} {
						s := NewSleeper(&c.ev, Park)
						s.lot = o.lot
						g.Add(s)
					}
					got, told := uint32(0), uint32(0)
					for got == 0 || told == 0 {
						can := func() bool { return a.data.Load() > got || b.dead.Load() > told }
						verdict(g.Wait(context.Background(), can), can(), false)
						got, told = a.data.Load(), b.dead.Load()
					}
				})
			})
		})
	}
}
