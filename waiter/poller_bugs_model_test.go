//go:build modelcheck

package waiter

import (
	"testing"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
)

// Seeded bugs: the poller's turn as in poller.go, and the group's park as in
// group.go, with one thing wrong in each. The explorer must find it.

type pollerBug struct {
	lateControl bool // reads control after it said that it is asleep
	deaf        bool // goes to sleep over what has come in meanwhile
	forgetful   bool // goes to sleep over a ticket that was withdrawn
	quietTake   bool // whoever brings a ticket does not call
	trusting    bool // hands the kernel the word as it is now, not as the sleeper saw it
}

// turnWith is turn, without rest: an idle poller waits for ever.
func (p *poller) turnWith(b pollerBug) {
	c := p.control.Load()
	p.mu.Lock()
	p.asleep = false
	p.list = append(p.list, p.incoming...)
	p.incoming = p.incoming[:0]
	p.mu.Unlock()
	if !b.trusting {
		for i := 0; i < len(p.list); {
			if t := p.list[i]; t.word.Load() != t.value {
				p.drop(i)
			} else {
				i++
			}
		}
	}
	p.mu.Lock()
	for i := 0; i < len(p.list) && !b.forgetful; {
		if p.list[i].withdrawn {
			p.drop(i)
		} else {
			i++
		}
	}
	for _, t := range p.out {
		p.called = append(p.called, t.seat)
		t.out = true
	}
	p.asleep = len(p.out) == 0 && (b.deaf || len(p.incoming) == 0)
	sleep := p.asleep
	p.mu.Unlock()
	if !sleep {
		p.handOut()
		return
	}
	if b.lateControl {
		c = p.control.Load()
	}
	p.waiters.Reset()
	p.waiters.Add(p.control, c)
	for _, t := range p.list {
		v := t.value
		if b.trusting {
			v = t.word.Load()
		}
		p.waiters.Add(t.word, v)
	}
	if i := p.waiters.Wait(-1); i > 0 {
		p.drop(i - 1)
	}
}

// takeWith is take.
func (p *poller) takeWith(b pollerBug, ts []ticket) {
	p.mu.Lock()
	for i := range ts {
		ts[i].at = p
		p.incoming = append(p.incoming, &ts[i])
	}
	wake := p.asleep
	p.asleep = false
	p.mu.Unlock()
	if wake && !b.quietTake {
		p.control.Add(1)
		p.control.Wake(1)
	}
}

// pollerBugWorld waits for two words at once, which are bumped and woken as Kick
// does it.
func pollerBugWorld(b pollerBug, words int) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		o := openOfficeWith(w, true, 1, func(p *poller) {
			for {
				p.turnWith(b)
			}
		})
		p, s := o.lot.pollers[0], o.seats[0]
		seqs := modelcheck.Alloc[[2]word.U32](w, "seq")
		w.Go("publisher", func() {
			seqs[0].Add(1)
			seqs[0].Wake(1)
		})
		w.Go("sleeper", func() {
			for seqs[0].Load() == 0 {
				for i := range words {
					s.add(&seqs[i], 0, -1)
				}
				o.lot.room(words)
				p.takeWith(b, s.tickets)
				s.baton.take()
				s.takeBack()
			}
		})
	}
}

type groupBug struct {
	lookBetween bool // looks at each member after its own raise, and not at all after the last
	early       bool // the barrier comes before the last raise
	noBaton     bool // kick does not reach a group at a poller
}

// parkWith is park, directly or at a poller, for as many members as there are.
func (g *Group) parkWith(b groupBug, quit *word.U32, can func(i int) bool) {
	for {
		c := g.cancel.Load()
		g.seqs = g.seqs[:0]
		ready := false
		for i, s := range g.members {
			g.seqs = append(g.seqs, s.ev.seq.Load())
			if b.early && i == len(g.members)-1 {
				word.Membarrier()
			}
			s.ev.raise()
			if b.lookBetween {
				ready = ready || can(i)
			}
		}
		if !b.early {
			word.Membarrier()
		}
		for i := range g.members {
			ready = ready || !b.lookBetween && can(i)
		}
		if ready || quit.Load() != 0 {
			return
		}
		g.block(c, -1)
	}
}

func groupBugWorld(b groupBug, shared, cancel bool) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		o := openOffice(w, shared, 1)
		g := o.group(0)
		x := modelcheck.Alloc[struct{ cancel, quit word.U32 }](w, "x")
		g.cancel = &x.cancel
		cells := [2]*cell{modelcheck.Alloc[cell](w, "a"), modelcheck.Alloc[cell](w, "b")}
		if !cancel {
			w.Go("publisher", func() {
				wk := NewWaker(&cells[1].ev)
				cells[1].publish(&wk, 1)
			})
		}
		w.Go("sleeper", func() {
			for _, c := range cells {
				s := NewSleeper(&c.ev, Park)
				s.lot = o.lot
				g.Add(s)
			}
			g.parkWith(b, &x.quit, func(i int) bool { return cells[i].data.Load() > 0 })
		})
		if cancel {
			w.Go("canceller", func() {
				x.quit.Store(1)
				g.cancel.Add(1)
				g.cancel.Wake(1)
				if !b.noBaton {
					g.seat.baton.give()
				}
			})
		}
	}
}

func TestModelPollerBugs(t *testing.T) {
	s := suite.New(t)
	sc := modelcheck.Config{Search: modelcheck.Bounded, Preemptions: 2, MaxExecutions: suite.UpTo(30_000, 1_000_000)}
	tso := sc
	tso.Model = modelcheck.TSO
	for _, cfg := range []modelcheck.Config{sc, tso} {
		// The copies themselves are right.
		s.Explore("no bug, poller", cfg, pollerBugWorld(pollerBug{}, 2))
		s.Explore("no bug, group", cfg, groupBugWorld(groupBug{}, false, false))
		s.Explore("no bug, cancelled group at a poller", cfg, groupBugWorld(groupBug{}, true, true))
	}
	for _, x := range []struct {
		name      string
		cfg       modelcheck.Config
		world     func(*modelcheck.World)
		execution int
	}{
		{"poller reads control once asleep", sc, pollerBugWorld(pollerBug{lateControl: true}, 1), 551},
		{"poller sleeps over what came in", sc, pollerBugWorld(pollerBug{deaf: true}, 1), 585},
		{"poller forgets what was withdrawn", sc, pollerBugWorld(pollerBug{forgetful: true}, 2), 3},
		{"nobody calls the poller", sc, pollerBugWorld(pollerBug{quietTake: true}, 1), 3},
		{"poller waits for the value that it finds", sc, pollerBugWorld(pollerBug{trusting: true}, 1), 40},
		{"select looks before the barrier", tso, groupBugWorld(groupBug{lookBetween: true}, false, false), 1},
		{"select's barrier before its last raise", tso, groupBugWorld(groupBug{early: true}, false, false), 210},
		{"cancel does not reach a poller's select", sc, groupBugWorld(groupBug{noBaton: true}, true, true), 1},
	} {
		s.Bug(x.name, x.cfg, x.world, modelcheck.Deadlock, x.execution)
	}
}
