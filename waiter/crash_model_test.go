//go:build modelcheck

package waiter

import (
	"context"
	"fmt"
	"testing"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
)

// Crash sweeps: one side dies in place of each of its steps, in each fence
// mode. Whoever watches does what package shmchan does: changes the state,
// then Kick.

// publisherDies: the sleeper is told of the death, or gets all from a
// successor, which goes on where the dead one stopped.
func publisherDies(n uint32, successor bool, between func(*Sleeper) func(uint32)) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		c := modelcheck.Alloc[cell](w, "c")
		work := func() {
			wk := NewWaker(&c.ev)
			c.publish(&wk, n)
		}
		w.Go("publisher", work)
		w.Go("watch", func() {
			w.AwaitDeath("publisher")
			c.dead.Store(1)
			c.ev.Kick()
		})
		if successor {
			w.Go("successor", func() {
				w.AwaitDeath("publisher")
				work()
			})
		}
		w.Go("sleeper", func() {
			sl := NewSleeper(&c.ev, Park)
			var b func(uint32)
			if between != nil {
				b = between(sl)
			}
			got := uint32(0)
			for got < n {
				told := c.dead.Load() // before the look at data: its last word counts
				if d := c.data.Load(); d > got {
					if got = d; b != nil {
						b(got)
					}
					continue
				}
				if told == 1 && !successor {
					break
				}
				err := sl.Wait(context.Background(), false, func() bool { return c.data.Load() > got || c.dead.Load() != told })
				if err != nil {
					panic(err)
				}
			}
			if d := c.data.Load(); got != d {
				panic(fmt.Sprintf("%d published, %d seen", d, got))
			}
		})
	}
}

// sleeperDies: the publisher goes on, and a successor of the sleeper sees all.
func sleeperDies(n uint32, between func(*Sleeper) func(uint32)) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		c := modelcheck.Alloc[cell](w, "c")
		work := func() {
			sl := NewSleeper(&c.ev, Park)
			var b func(uint32)
			if between != nil {
				b = between(sl)
			}
			c.follow(sl, n, b)
		}
		w.Go("publisher", func() {
			wk := NewWaker(&c.ev)
			c.publish(&wk, n)
		})
		w.Go("sleeper", work)
		w.Go("successor", func() {
			w.AwaitDeath("sleeper")
			work()
		})
	}
}

func TestModelPublisherDies(t *testing.T) {
	s := suite.New(t)
	each(func(cfg modelcheck.Config) {
		s.Sweep("publisher dies", cfg, "publisher", publisherDies(2, false, nil))
		s.SweepStop("publisher stops", cfg, "publisher", setup{n: 2}.world)
		s.Sweep("publisher dies, successor", cfg, "publisher", publisherDies(1, true, nil))
		s.SweepStop("publisher stops, switching", cfg, "publisher", setup{n: 2, between: switching}.world)
		cfg.MaxExecutions = suite.UpTo(600, 6_000) // for each step
		s.Sweep("publisher dies, switching", cfg, "publisher", publisherDies(2, true, switching))
	})
}

func TestModelSleeperDies(t *testing.T) {
	s := suite.New(t)
	each(func(cfg modelcheck.Config) {
		s.SweepStop("sleeper stops", cfg, "sleeper", setup{n: 2}.world)
		s.Sweep("sleeper dies", cfg, "sleeper", sleeperDies(1, nil))
		s.SweepStop("sleeper stops, switching", cfg, "sleeper", setup{n: 2, between: switching}.world)
		cfg.MaxExecutions = suite.UpTo(600, 6_000) // for each step
		if cfg.Model == modelcheck.SC {
			cfg.MaxExecutions = 40_000
		}
		s.Sweep("sleeper dies, switching", cfg, "sleeper", sleeperDies(2, switching))
	})
}

// TestModelBothDie: publisher and sleeper at each pair of steps, and a
// successor for each.
func TestModelBothDie(t *testing.T) {
	s := suite.New(t)
	each(func(cfg modelcheck.Config) {
		cfg.MaxExecutions = 5_000 // for each pair of steps
		s.SweepPair("both die", cfg, "publisher", "sleeper", func(w *modelcheck.World) {
			const n = 1
			c := modelcheck.Alloc[cell](w, "c")
			send := func() {
				wk := NewWaker(&c.ev)
				c.publish(&wk, n)
			}
			recv := func() { c.follow(NewSleeper(&c.ev, Park), n, nil) }
			w.Go("publisher", send)
			w.Go("sleeper", recv)
			w.Go("watch", func() {
				w.AwaitDeath("publisher")
				c.ev.Kick()
			})
			w.Go("next publisher", func() { w.AwaitDeath("publisher"); send() })
			w.Go("next sleeper", func() { w.AwaitDeath("sleeper"); recv() })
		})
	})
}

// Seeded bugs: the event count as in event.go, waker.go and sleeper.go, with
// one thing wrong in each. The explorer must find it, in the execution that
// the table names.
type seeded struct {
	Event
	data word.U32
}

type bug struct {
	noRecheck   bool // parks without a second look
	bumpFirst   bool // bump, lower, wake
	noFence     bool // nobody pays for the fence
	lateRead    bool // reads seq after the look: parks on a seq already bumped
	timid       bool // recovery kicks only if raised
	weakAck     bool // the answer to a wish is no fence
	blindAck    bool // the sleeper does not look for an answer
	quietCursor bool // the successor of a waker trusts that the mode is the usual one
	noKick      bool // cancellation sets the word and wakes nobody
	wishes      bool // no bug: the sleeper begins with a wish
}

func (e *seeded) notify(b bug, quiet *uint32, fences *bool) {
	if *fences && !b.noFence {
		word.Fence()
	}
	f := e.flag.Load()
	if f == *quiet {
		return
	}
	if f&wish != *quiet {
		*quiet = f & wish
		*fences = f&fence != 0
		if b.weakAck {
			e.ack.StoreRelease(*quiet)
		} else {
			e.ack.Store(*quiet)
		}
	}
	if b.bumpFirst {
		if e.flag.Load()&raised != 0 {
			e.seq.Add(1)
			e.lower()
			e.seq.Wake(1 << 30)
		}
		return
	}
	if e.lower() {
		e.Kick()
	}
}

// wait parks until ready. barrier says whether it calls membarrier.
func (e *seeded) wait(b bug, barrier bool, ready func() bool) {
	for !ready() {
		seq := e.seq.Load()
		wished := e.raise()
		answer := e.ack.Load()
		switch {
		case wished&fence != 0 && (b.blindAck || answer == wished):
		case barrier && !b.noFence:
			word.Membarrier()
		}
		if !b.noRecheck && ready() {
			return
		}
		if b.lateRead {
			seq = e.seq.Load()
		}
		e.seq.Wait(seq, -1)
	}
}

// bugWorld has the flag and the answer that the dead left.
func bugWorld(b bug, n, left, ack uint32, barrier, die bool) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		e := modelcheck.Alloc[seeded](w, "e")
		quit := modelcheck.Alloc[word.U32](w, "quit")
		e.flag.Store(left)
		e.ack.Store(ack)
		word.RegisterMembarrier()
		quiet, fences := uint32(0), false
		if b.quietCursor {
			quiet = left & wish
		}
		w.Go("publisher", func() {
			for i := uint32(1); i <= n; i++ {
				e.data.StoreRelease(i)
				e.notify(b, &quiet, &fences)
			}
		})
		w.Go("sleeper", func() {
			if b.wishes {
				e.flag.Add(epoch | fence)
			}
			for got := uint32(0); got < max(n, 1) && quit.Load() == 0; got = e.data.Load() {
				e.wait(b, barrier, func() bool { return e.data.Load() > got || quit.Load() != 0 })
			}
		})
		switch {
		case die:
			w.Go("watch", func() {
				w.AwaitDeath("publisher")
				quit.Store(1)
				if !b.timid || e.flag.Load()&raised != 0 {
					e.Kick()
				}
			})
		case n == 0:
			w.Go("canceller", func() {
				if quit.Store(1); !b.noKick {
					e.Kick()
				}
			})
		}
	}
}

func TestModelSeededBugs(t *testing.T) {
	const acked = epoch | fence
	s := suite.New(t)
	for _, m := range suite.Models { // the copy itself is right
		cfg := modelcheck.Config{Model: m}
		s.Explore("no bug", cfg, bugWorld(bug{}, 2, 0, 0, true, false))
		s.Explore("no bug, fenced", cfg, bugWorld(bug{}, 2, acked, acked, false, false))
		s.Explore("no bug, wish", cfg, bugWorld(bug{wishes: true}, 2, 0, 0, true, false))
		s.Explore("no bug, cancel", cfg, bugWorld(bug{}, 0, 0, 0, true, false))
		s.Sweep("no bug, death", cfg, "publisher", bugWorld(bug{}, 2, 0, 0, true, true))
	}
	sc, tso := modelcheck.Config{}, modelcheck.Config{Model: modelcheck.TSO}
	s.Explore("no fence", sc, bugWorld(bug{noFence: true}, 2, 0, 0, true, false))
	s.Explore("weak ack", sc, bugWorld(bug{weakAck: true}, 2, acked, 0, true, false))
	for _, x := range []struct {
		name      string
		cfg       modelcheck.Config
		world     func(*modelcheck.World)
		execution int
	}{
		{"no look before parking", sc, bugWorld(bug{noRecheck: true}, 1, 0, 0, true, false), 5},
		{"bump, lower, wake", sc, bugWorld(bug{bumpFirst: true}, 2, 0, 0, true, false), 47},
		{"seq read after the look", sc, bugWorld(bug{lateRead: true}, 1, 0, 0, true, false), 5},
		{"no fence between publish and flag", tso, bugWorld(bug{noFence: true}, 1, 0, 0, true, false), 1},
		{"cancel without Kick", sc, bugWorld(bug{noKick: true}, 0, 0, 0, true, false), 1},
		{"a wish counts before its answer", tso, bugWorld(bug{blindAck: true, wishes: true}, 1, 0, 0, true, false), 1},
		{"answer without the store's fence", tso, bugWorld(bug{weakAck: true}, 1, acked, acked, false, false), 1},
		{"successor follows the old mode", tso, bugWorld(bug{quietCursor: true}, 1, acked, acked, false, false), 1},
	} {
		s.Bug(x.name, x.cfg, x.world, modelcheck.Deadlock, x.execution)
	}
	s.SweepBug("recovery asks the flag", sc, "publisher", bugWorld(bug{timid: true}, 1, 0, 0, true, true), modelcheck.Deadlock, 35)
}
