package waiter

import (
	"context"
	"time"

	"github.com/shmkit/shm/internal/word"
)

// A Group waits on the Events of several Sleepers at once: one park for all.
//
// Invariants:
//   - cancel is bumped, and the seat's baton given, after the context that is
//     watched has ended;
//   - no ticket of the seat is with a poller between two calls of block.
//
// Ownership: of one goroutine at a time, but for kick, which any may call. The
// Sleepers may be in use by others meanwhile, as with Await.
//
// Who may die where: as for a Sleeper in each of them. What is left raised costs
// each waker one wake-up that wakes nobody; also after a Wait that another
// member has ended.
type Group struct {
	members []*Sleeper
	seqs    []uint32
	policy  Policy
	single  bool
	hope    hope
	turns   turns

	lot    *lot
	seat   *seat
	cancel *word.U32
	direct *word.Waiters // made when it is first needed
	ctx    watched
}

// NewGroup makes an empty Group.
func NewGroup() *Group {
	return &Group{hope: hope{budget: firstSpin, every: 1}, lot: parking(), seat: newSeat(), cancel: newControl()}
}

// Reset makes the Group empty.
func (g *Group) Reset() {
	clear(g.members)
	g.members = g.members[:0]
	g.single = alone()
}

// Add adds s, whose Event is mapped until the next Reset. A Sleeper may be there
// twice. The Group waits as its members do; if they differ, it parks at once
// where one of them does, and spins for a while otherwise.
func (g *Group) Add(s *Sleeper) {
	switch {
	case len(g.members) == 0 || s.policy == Park:
		g.policy = s.policy
	case g.policy != s.policy && g.policy != Park:
		g.policy = Adaptive
	}
	g.members = append(g.members, s)
}

// Wait waits until ready reports true, and returns nil then, or until ctx is
// done, and returns its error (and cause). ready is called from the calling
// goroutine only. It is looked at after each Notify and Kick of a member's
// Event. Without members only ctx ends the call. It allocates nothing once a
// first call has parked with the same ctx and as many members.
func (g *Group) Wait(ctx context.Context, ready func() bool) error {
	if ready() {
		return nil
	}
	if len(g.members) > 0 {
		if g.policy == Spin {
			return spinFor(ctx, ready)
		}
		if g.policy == Adaptive && !g.single && g.hope.spin(ready) {
			return nil
		}
	}
	g.watch(ctx)
	g.turns.stir()
	return g.park(ctx, ready)
}

// End lets go of the context of the last Wait. The Group may be used again.
func (g *Group) End() {
	if g.ctx.stop != nil {
		g.ctx.stop()
	}
	g.ctx = watched{}
}

// watch arranges that the end of ctx wakes the Group, from call to call.
func (g *Group) watch(ctx context.Context) {
	done := ctx.Done()
	if done == g.ctx.done {
		return
	}
	g.End()
	if done != nil {
		g.ctx = watched{done, context.AfterFunc(ctx, g.kick)}
	}
}

// kick makes the goroutine in Wait look. Nobody else notices, and no
// peer can take it back: cancel lies in memory of this process.
func (g *Group) kick() {
	g.cancel.Add(1) // pairs with the load in park
	g.cancel.Wake(1)
	g.seat.baton.give()
}

// park is (*Sleeper).park for all members: each flag is raised after its
// sequence was read, then one barrier is enough for all, then comes the last
// look.
func (g *Group) park(ctx context.Context, ready func() bool) error {
	for {
		c := g.cancel.Load() // before the look at ctx: pairs with the Add in kick
		g.seqs = g.seqs[:0]
		covered := true
		for _, s := range g.members {
			g.seqs = append(g.seqs, s.ev.seq.Load())
			if !s.covered(s.ev.raise()) {
				covered = false
			}
		}
		limit := time.Duration(-1)
		if !covered && !word.Membarrier() {
			limit = unfenced
			for _, s := range g.members {
				s.wish(true)
			}
		}
		if ready() {
			return nil
		}
		if err := ContextError(ctx); err != nil {
			return err
		}
		for _, s := range g.members {
			s.countPark()
		}
		g.block(c, limit)
		if ready() {
			return nil
		}
	}
}

// block parks until a member's sequence or cancel is another than was read.
func (g *Group) block(c uint32, limit time.Duration) {
	if len(g.members) == 0 {
		g.seat.baton.take()
		return
	}
	if len(g.members) < word.MaxWaiters {
		if i := g.lot.enter(place{ev: g.members[0].ev, g: g}); i >= 0 {
			defer g.lot.leave(i)
			if g.direct == nil {
				g.direct = word.NewWaiters()
			}
			g.direct.Reset()
			g.direct.Add(g.cancel, c)
			for i, s := range g.members {
				g.direct.Add(&s.ev.seq, g.seqs[i])
			}
			g.direct.Wait(limit)
			return
		}
	}
	for i, s := range g.members {
		g.seat.add(&s.ev.seq, g.seqs[i], limit)
		s.sit(g.seat)
	}
	g.lot.share(g.seat)
	for _, s := range g.members {
		s.rise(g.seat)
	}
}
