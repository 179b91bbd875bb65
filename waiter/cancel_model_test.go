//go:build modelcheck

package waiter

import (
	"testing"
	"time"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
)

// A channelContext is a modelContext with a Done channel, by which cancel knows its
// calls. Nothing is ever sent there.
type channelContext struct {
	modelContext
	done chan struct{}
}

func (c channelContext) Done() <-chan struct{} { return c.done }

// hiddenCancel: a context ends beside a peer that puts the sequence back once, at any
// moment. early is a call that looks at its context before it is in held, and not
// again.
func hiddenCancel(early bool, cancel func(s *Sleeper, done <-chan struct{})) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		o := openOffice(w, false, 1)
		c := modelcheck.Alloc[cell](w, "c")
		out := modelcheck.Alloc[word.U32](w, "out")
		ctx := channelContext{modelContext{&c.quit}, make(chan struct{})}
		never := modelcheck.Alloc[word.U32](w, "never")
		s := o.sleeper(&c.ev, 0)
		after = func(_ time.Duration, f func()) {
			if out.Load() == 0 && c.ev.seq.Load() != 0 {
				word.Pause(1) // until the call is out, or the sequence is put back
			}
			f()
		}
		w.Go("sleeper", func() {
			if early {
				for seq := c.ev.seq.Load(); ctx.Err() == nil; seq = c.ev.seq.Load() {
					never.Load() // others run here
					s.lot.park(channelContext{modelContext{never}, ctx.done}, s, seq, -1, &s.seat)
				}
			} else {
				err := s.park(ctx, -1, func() bool { return false }, &s.seat)
				verdict(err, false, c.quit.Load() != 0)
			}
			out.Store(1)
		})
		w.Go("canceller", func() {
			c.quit.Store(1)
			cancel(s, ctx.done)
		})
		w.Go("hostile", func() { c.ev.seq.Store(0) })
	}
}

// TestModelCancelIsNotUndone goes through all schedules, since which calls are in
// held is not in words.
func TestModelCancelIsNotUndone(t *testing.T) {
	s := suite.New(t)
	for _, m := range suite.Models {
		cfg := modelcheck.Config{Model: m, Search: modelcheck.DFS}
		s.Explore("cancel beside a peer that hides it", cfg, hiddenCancel(false, (*Sleeper).cancel))
	}
	sc := modelcheck.Config{Search: modelcheck.DFS}
	s.Bug("cancel that kicks once", sc, hiddenCancel(false, func(s *Sleeper, _ <-chan struct{}) { s.Kick() }), modelcheck.Deadlock, 20)
	s.Bug("a call looks at its context before it can be found", sc, hiddenCancel(true, (*Sleeper).cancel), modelcheck.Deadlock, 4820)
}
