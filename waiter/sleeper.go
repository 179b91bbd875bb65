package waiter

import (
	"context"
	"fmt"
	"sync"
	"time"

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

	counts *Counts // nil if nobody wants to know

	mode sync.Mutex // guards the wish in the flag
	gate sync.Mutex // guards ended
	done bool
}

// watched is a context whose end kicks the Event. It stays so from call to
// call, since most programs pass the same one again and again.
type watched struct {
	done <-chan struct{}
	stop func() bool
}

const (
	unfenced = time.Millisecond // longest park while a wake-up could be missed
)

// NewSleeper makes a Sleeper for e. A policy that is not valid counts as
// Adaptive. The process registers for membarrier, since its own publishers may
// have to be fenced.
func NewSleeper(e *Event, p Policy) *Sleeper {
	word.RegisterMembarrier()
	setOver(e, false)
	return &Sleeper{ev: e, policy: p, hope: hope{budget: firstSpin, every: 1}, single: alone(), slip: pauses(slipTime)}
}

// Looks returns how often the caller is to look for itself, pausing in between,
// before it calls Wait: looks that inline, for the shortest way from a message
// to its receiver.
//
// streaming says that much went through since the last wait. Then the other
// side is at work right behind us, and Looks first lets a moment pass, so that
// it gets ahead and the two do not fight for the same cache line message by
// message ("temporal slipping" in FastForward).
func (s *Sleeper) Looks(streaming bool) int {
	if s.single || s.policy == Park {
		return 0
	}
	if streaming {
		word.Pause(s.slip)
	}
	return firstLooks
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
	err := s.park(ctx, ready)
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
	if ready() {
		return nil
	}
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, s.Kick)()
	}
	return s.park(ctx, ready)
}

// Kick wakes everybody who is parked on the Event, as Event.Kick does; after
// End it does nothing.
func (s *Sleeper) Kick() {
	s.gate.Lock()
	defer s.gate.Unlock()
	if !s.done {
		s.ev.Kick()
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

// Over makes the Notify of the waking side report false from now on, until a
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

// watch arranges that the end of ctx kicks the Event.
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
		s.ctx = watched{done, context.AfterFunc(ctx, s.Kick)}
	}
}

// park parks until ready or the end of ctx, which kicks the Event.
//
// The race between publish and park is argued in event.go. The one between
// cancel and park: Kick bumps seq after ctx.Err() is set. Either that is before
// our read of seq, and then we see Err; or seq is not the one we park on.
func (s *Sleeper) park(ctx context.Context, ready func() bool) error {
	for {
		seq := s.ev.seq.Load()
		wished := s.ev.raise()
		limit := s.barrier(wished)
		if ready() {
			return nil
		}
		if err := ContextError(ctx); err != nil {
			return err
		}
		if s.counts != nil {
			s.counts.parks.Add(1) // pairs with the load in (*Counts).Read
		}
		s.ev.seq.Wait(seq, limit)
		if ready() {
			return nil
		}
	}
}

// barrier makes every publish that did not see our flag visible to our next
// look. It returns how long we may park: for ever (negative), unless a
// publisher could still miss the flag.
func (s *Sleeper) barrier(wished uint32) time.Duration {
	if !word.NeedsFence {
		return -1 // raise and look are sequentially consistent, as publish and Notify are
	}
	if wished&fence != 0 && s.ev.ack.Load() == wished { // pairs with the store in (*Waker).notify
		return -1
	}
	if word.Membarrier() {
		return -1
	}
	if wished&fence == 0 {
		s.wish(true)
	}
	return unfenced
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
