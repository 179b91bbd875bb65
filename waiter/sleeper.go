package waiter

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/shmkit/shm/internal/fault"
	"github.com/shmkit/shm/internal/word"
)

// A Sleeper is the waiting side of an Event within one process.
//
// Invariants:
//   - Wait belongs to one goroutine at a time; Await, Kick and End to any;
//   - after End nothing of it touches the Event any more, apart from a call of
//     Wait or Await that is still under way, which the caller of End waits for.
type Sleeper struct {
	ev     *Event
	policy Policy

	// Of the goroutine in Wait.
	hope    hope   // how long to spin: learned
	single  bool   // this process has one CPU only
	slip    uint32 // pauses
	parked  bool   // in the last Wait
	parks   uint   // since the last look at the habit
	quickly uint   // of those, the ones after few messages
	ctx     watched
	turns   turns

	lot  *lot
	seat *seat // of the goroutine in Wait, from when it first parked at a poller

	counts *Counts // nil if nobody wants to know

	mode sync.Mutex // guards the wish in the flag
	gate sync.Mutex // guards the two below
	done bool
	sat  []*seat // of goroutines that wait through pollers
}

// watched is a context whose end is told by cancel. It stays so from call to
// call, since most programs pass the same one again and again.
type watched struct {
	done <-chan struct{}
	stop func() bool
}

const (
	unfenced = time.Millisecond // longest park while a wake-up could be missed

	firstAgain = 10 * time.Millisecond  // after the end of a context: to the second kick,
	lastAgain  = 100 * time.Millisecond // and, doubled each time, between two at most
)

// NewSleeper makes a Sleeper for e. A policy that is not valid counts as
// Adaptive. The process registers for membarrier, since its own publishers may
// have to be fenced.
func NewSleeper(e *Event, p Policy) *Sleeper {
	word.RegisterMembarrier()
	setOver(e, false)
	return &Sleeper{ev: e, policy: p, hope: hope{budget: firstSpin, every: 1}, single: alone(), slip: pauses(slipTime), lot: parking()}
}

// Looks returns how often the caller is to look for itself, pausing in between,
// before it calls Wait: looks that inline, for the shortest way from a message
// to its receiver.
//
// streaming says that much went through since the last wait. Then the other
// side is at work right behind us, and Looks first lets a moment pass, so that
// it gets ahead and the two do not fight for the same cache line message by
// message ("temporal slipping" in FastForward).
//
// With policy Park these are all the looks that there are before a park.
func (s *Sleeper) Looks(streaming bool) int {
	if s.single || s.policy == Adaptive && !streaming && s.hope.none() {
		return 0
	}
	if s.policy == Park {
		return int(min(s.slip, parkLooks))
	}
	if streaming {
		word.Pause(s.slip)
	}
	return firstLooks
}

// Hold lets a moment pass, some 0.2 µs, unless the process has one CPU only: so
// that the other side, which is at work, gets ahead.
func (s *Sleeper) Hold() {
	if !s.single {
		word.Pause(s.slip/8 + 1)
	}
}

// Wait waits until ready reports true, and returns nil then; or until ctx is
// done, and returns its error (and cause). ready is called again and again,
// from the calling goroutine only, and must be cheap. If ready is true and ctx
// is done at once, Wait returns nil.
//
// streaming says that much went through since the last Wait.
//
// A call that does not park makes no system call and does not look at ctx.
func (s *Sleeper) Wait(ctx context.Context, streaming bool, ready func() bool) error {
	return s.WaitWith(ctx, -1, streaming, ready)
}

// WaitWith is Wait that looks for itself after each longest in the kernel, as
// AwaitWith does.
func (s *Sleeper) WaitWith(ctx context.Context, longest time.Duration, streaming bool, ready func() bool) error {
	s.parked = false
	if ready() {
		return nil
	}
	if s.policy == Spin {
		return spinFor(ctx, ready)
	}
	if s.policy == Adaptive && !s.single && s.hope.spin(ready) {
		return nil
	}
	s.watch(ctx)
	s.parked = true
	if s.counts != nil {
		Bump(&s.counts.slept)
	}
	s.turns.stir()
	err := s.park(ctx, longest, ready, &s.seat)
	s.habit(streaming)
	return err
}

// Yield lets another process have the CPU if the last Wait parked.
func (s *Sleeper) Yield() {
	if s.parked {
		osyield()
	}
}

// Await is Wait for any goroutine: it parks at once and learns nothing.
func (s *Sleeper) Await(ctx context.Context, ready func() bool) error {
	return s.AwaitWith(ctx, -1, ready)
}

// AwaitWith is Await that looks for itself after each longest in the kernel
// (negative: never), for an Event that several processes signal: one that is
// stopped between lowering the flag and the wake keeps the others from waking
// anybody.
func (s *Sleeper) AwaitWith(ctx context.Context, longest time.Duration, ready func() bool) error {
	if ready() {
		return nil
	}
	if done := ctx.Done(); done != nil {
		defer context.AfterFunc(ctx, func() { s.cancel(done) })()
	}
	var own *seat
	defer func() {
		if own != nil {
			leaveSeat(own)
		}
	}()
	return s.park(ctx, longest, ready, &own)
}

// Kick wakes everybody who is parked on the Event, as Event.Kick does; after
// End it does nothing. It runs on goroutines that no user can guard (a context
// ends, a peer dies), so it survives an Event whose file was cut off, and wakes
// nobody then.
func (s *Sleeper) Kick() { s.kick() }

// kick is Kick, and reports false after End.
func (s *Sleeper) kick() bool {
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.done {
		return false
	}
	fault.Catch(s.ev.Kick, nil)
	for _, x := range s.sat { // also if a peer has put the sequence back
		x.baton.give()
	}
	return true
}

// Rouse is Kick for what nobody will tell again, such as the death of a peer. Who has
// not come out of the kernel after a tenth of a second is fetched in another way: a
// peer may have moved who sleeps on the Event to another word, where no wake-up finds
// him.
func (s *Sleeper) Rouse() {
	nth := s.lot.last()
	if !s.kick() {
		return
	}
	if groups, others := s.lot.since(s, nth); len(groups) == 0 && !others {
		return
	}
	after(lastAgain, func() {
		groups, others := s.lot.since(s, nth)
		for _, g := range groups {
			g.kick()
		}
		if others {
			word.Interrupt()
		}
	})
}

// sit makes Kick wake the seat's owner.
func (s *Sleeper) sit(x *seat) {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.sat = append(s.sat, x)
}

// rise undoes one sit.
func (s *Sleeper) rise(x *seat) {
	s.gate.Lock()
	defer s.gate.Unlock()
	for i, y := range s.sat {
		if x == y {
			last := len(s.sat) - 1
			s.sat[i], s.sat[last] = s.sat[last], nil
			s.sat = s.sat[:last]
			return
		}
	}
}

// End lets go of the Event: no context and no Kick touches it any more. No
// Wait is under way, and none comes after. Ending twice does nothing.
func (s *Sleeper) End() {
	s.gate.Lock()
	s.done = true
	s.gate.Unlock()
	if s.ctx.stop != nil {
		s.ctx.stop()
		s.ctx = watched{}
	}
}

// Over makes the Over of the waking side report true from now on, until a
// successor makes a Sleeper for the Event.
func (s *Sleeper) Over() { setOver(s.ev, true) }

func setOver(e *Event, yes bool) {
	for {
		f := e.flag.Load()
		n := f &^ over
		if yes {
			n |= over
		}
		if f == n || e.flag.CompareAndSwap(f, n) {
			return
		}
	}
}

// watch arranges that the end of ctx is told.
func (s *Sleeper) watch(ctx context.Context) {
	done := ctx.Done()
	if done == s.ctx.done {
		return
	}
	if s.ctx.stop != nil {
		s.ctx.stop() // if it runs already: a spurious wake-up
	}
	s.ctx = watched{}
	if done != nil {
		s.ctx = watched{done, context.AfterFunc(ctx, func() { s.cancel(done) })}
	}
}

// cancel wakes the calls whose context, the one of this Done channel, has ended,
// again and again until they are out of the kernel: a peer may have put the
// sequence back after a call looked at its context and before it was asleep, and
// then the first kick has woken nobody. A later one finds it asleep, and wakes
// it whatever the sequence says, unless the peer has moved it to another word; so
// in the end all threads are made to look. (Where the kernel has no futex, a call
// looks at the sequence now and then, and a kick can be hidden from it more often.)
//
// Between two kicks there is a timer and no goroutine. Calls that are not in held
// now find ctx done if they come; those at a poller sit before they look, and Kick
// gives them their baton.
func (s *Sleeper) cancel(done <-chan struct{}) { s.insist(done, firstAgain) }

// insist kicks, and once more after step if one of the calls is still there.
func (s *Sleeper) insist(done <-chan struct{}, step time.Duration) {
	if !s.kick() {
		return
	}
	if step >= lastAgain {
		word.Interrupt()
	}
	if !s.lot.has(s.ev, done) {
		return
	}
	after(step, func() {
		if s.lot.has(s.ev, done) {
			s.insist(done, min(2*step, lastAgain))
		}
	})
}

// park parks until ready or the end of ctx, which cancel tells; for longest at a
// time, unless it is negative.
//
// The race between publish and park is argued in event.go. The one between
// cancel and park: Kick bumps seq after ctx.Err() is set. Either that is before
// our read of seq, and then we see Err; or seq is not the one we park on; or a
// peer has written to seq, and cancel kicks again.
func (s *Sleeper) park(ctx context.Context, longest time.Duration, ready func() bool, own **seat) error {
	for {
		seq := s.ev.seq.Load()
		wished := s.ev.raise()
		limit := s.barrier(wished)
		if limit < 0 {
			limit = longest
		}
		if ready() {
			return nil
		}
		if err := s.lot.park(ctx, s, seq, limit, own); err != nil {
			return err
		}
		if ready() {
			return nil
		}
	}
}

// barrier makes every publish that did not see our flag visible to our next
// look. It returns how long we may park: for ever (negative), unless a
// publisher could still miss the flag.
func (s *Sleeper) barrier(wished uint32) time.Duration {
	if s.covered(wished) || word.Membarrier() {
		return -1
	}
	if wished&fence == 0 {
		s.wish(true)
	}
	return unfenced
}

// covered tells whether every publish after raise sees the flag without our help.
func (s *Sleeper) covered(wished uint32) bool {
	return !word.NeedsFence || // raise and look are sequentially consistent, as publish and Notify are
		wished&fence != 0 && s.ev.ack.Load() == wished // pairs with the store in (*Waker).notify
}

// wish asks the waking side to fence each publish, or not to.
func (s *Sleeper) wish(fenced bool) {
	s.mode.Lock()
	defer s.mode.Unlock()
	for {
		f := s.ev.flag.Load()
		if fenced == (f&fence != 0) {
			return
		}
		n := (f ^ fence) + epoch
		if s.ev.flag.CompareAndSwap(f, n) {
			return
		}
	}
}

// habit chooses the cheaper way for the pair: a membarrier at each park (up to
// 8 µs, and an interrupt on each CPU where a registered process runs), or a
// fence at each publish (some 20 ns). Who parks after nearly every message is
// better off with the fence.
func (s *Sleeper) habit(streaming bool) {
	const window = 64
	if !word.NeedsFence {
		return
	}
	s.parks++
	if !streaming {
		s.quickly++
	}
	if s.parks < window {
		return
	}
	s.single = alone()
	if often := s.quickly > window/2; often || word.Membarrier() {
		s.wish(often)
	}
	s.parks, s.quickly = 0, 0
}

// ContextError returns the error of a context that is done, with its cause
// where that is another one; nil of one that is not.
func ContextError(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && cause != err {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}
