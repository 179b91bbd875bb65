package waiter

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/shmkit/shm/internal/word"
)

const patience = 20 * time.Second // for what should take microseconds

var policies = []Policy{Adaptive, Spin, Park}

// A group is golang.org/x/sync/errgroup's, which this module does not need
// otherwise.
type group struct {
	wg   sync.WaitGroup
	once sync.Once
	err  error
}

func (g *group) Go(f func() error) {
	g.wg.Go(func() {
		if err := f(); err != nil {
			g.once.Do(func() { g.err = err })
		}
	})
}

func (g *group) Wait() error {
	g.wg.Wait()
	return g.err
}

// pingPong is two words and their events.
type pingPong struct {
	ping, pong word.U32
	a, b       Event
}

// echo answers n pings.
func (x *pingPong) echo(p Policy, n uint32) error {
	s, w := NewSleeper(&x.a, p), NewWaker(&x.b)
	defer s.End()
	for i := uint32(1); i <= n; i++ {
		if err := s.Wait(context.Background(), false, func() bool { return x.ping.Load() >= i }); err != nil {
			return err
		}
		x.pong.StoreRelease(i)
		w.Notify()
	}
	return nil
}

// play sends n pings and waits for each answer.
func (x *pingPong) play(ctx context.Context, p Policy, n uint32) error {
	s, w := NewSleeper(&x.b, p), NewWaker(&x.a)
	defer s.End()
	for i := uint32(1); i <= n; i++ {
		x.ping.StoreRelease(i)
		w.Notify()
		if err := s.Wait(ctx, false, func() bool { return x.pong.Load() >= i }); err != nil {
			return err
		}
	}
	return nil
}

// TestPingPong parks and wakes across goroutines, for all pairs of policies.
func TestPingPong(t *testing.T) {
	for _, p := range policies {
		for _, q := range policies {
			t.Run(p.String()+" "+q.String(), func(t *testing.T) {
				n := uint32(500)
				if p == Spin && q == Spin && runtime.GOMAXPROCS(0) > 1 {
					n = 5000
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				var x pingPong
				var g group
				g.Go(func() error { return x.echo(q, n) })
				g.Go(func() error { return x.play(ctx, p, n) })
				if err := g.Wait(); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// TestStream publishes at random moments, so that the sleeper is met in every
// state, and changes the mode of fencing now and then.
func TestStream(t *testing.T) {
	const n = 20_000
	for _, p := range policies {
		t.Run(p.String(), func(t *testing.T) {
			var x pingPong
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			go func() {
				w := NewWaker(&x.a)
				r := rand.New(rand.NewPCG(1, uint64(p)))
				for i := uint32(1); i <= n; i++ {
					x.ping.StoreRelease(i)
					w.Notify()
					if r.IntN(100) == 0 {
						time.Sleep(time.Duration(r.IntN(100)) * time.Microsecond)
					} else if r.IntN(10) == 0 {
						word.Pause(uint32(1 + r.IntN(500)))
					}
				}
			}()
			s := NewSleeper(&x.a, p)
			defer s.End()
			for got, turn := uint32(0), 0; got < n; turn++ {
				if err := s.Wait(ctx, turn%2 == 0, func() bool { return x.ping.Load() > got }); err != nil {
					t.Fatalf("at %d: %v", got, err)
				}
				got = x.ping.Load()
				if turn%50 == 0 {
					s.wish(turn%100 == 0)
				}
			}
		})
	}
}

// TestReadyBeatsContext: Wait returns nil if ready is true and the context is
// done.
func TestReadyBeatsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, p := range policies {
		var e Event
		s := NewSleeper(&e, p)
		if err := s.Wait(ctx, false, func() bool { return true }); err != nil {
			t.Errorf("%v: %v", p, err)
		}
		if err := s.Wait(ctx, true, func() bool { return false }); !errors.Is(err, context.Canceled) {
			t.Errorf("%v: %v", p, err)
		}
		if err := s.Await(ctx, func() bool { return true }); err != nil {
			t.Errorf("%v: Await: %v", p, err)
		}
		if err := s.Await(ctx, func() bool { return false }); !errors.Is(err, context.Canceled) {
			t.Errorf("%v: Await: %v", p, err)
		}
		s.End()
	}
}

// TestCancel ends the context while the call waits.
func TestCancel(t *testing.T) {
	reason := errors.New("lunch")
	for _, p := range policies {
		for _, await := range []bool{false, true} {
			var e Event
			s := NewSleeper(&e, p)
			wait := func(ctx context.Context) error {
				if await {
					return s.Await(ctx, func() bool { return false })
				}
				return s.Wait(ctx, false, func() bool { return false })
			}
			ctx, cancel := context.WithCancelCause(context.Background())
			time.AfterFunc(5*time.Millisecond, func() { cancel(reason) })
			start := time.Now()
			if err := wait(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
				t.Errorf("%v: %v", p, err)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("%v: told after %v", p, d)
			}
			ctx, stop := context.WithTimeout(context.Background(), 5*time.Millisecond)
			if err := wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v: %v", p, err)
			}
			stop()
			// The same Sleeper waits on, with a context that is new or none.
			x := make(chan struct{})
			go func() {
				time.Sleep(2 * time.Millisecond)
				close(x)
				s.Kick()
			}()
			if err := s.Wait(context.Background(), false, func() bool {
				select {
				case <-x:
					return true
				default:
					return false
				}
			}); err != nil {
				t.Errorf("%v: %v", p, err)
			}
			s.End()
		}
	}
}

// TestCancelledWaitsLeaveNothing: 10,000 of them, half with a context of their
// own, leave no goroutine and no timer behind.
func TestCancelledWaitsLeaveNothing(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	var e Event
	s := NewSleeper(&e, Park)
	before := runtime.NumGoroutine()
	parent, end := context.WithCancel(context.Background())
	defer end()
	for i := range n {
		ctx, cancel := context.WithCancel(parent)
		go func() {
			if i%4 == 0 {
				time.Sleep(50 * time.Microsecond)
			}
			cancel()
		}()
		var err error
		if i%2 == 0 {
			err = s.Wait(ctx, false, func() bool { return false })
		} else {
			err = s.Await(ctx, func() bool { return false })
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	s.End()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// TestEnd: after End neither Kick nor the end of a context touches the Event,
// which may be unmapped.
func TestEnd(t *testing.T) {
	e := new(Event)
	s := NewSleeper(e, Park)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	later, cancelLater := context.WithCancel(context.Background())
	n := 0
	s.Wait(ctx, false, func() bool { return false })
	s.Wait(later, false, func() bool { n++; return n > 1 })
	var kickers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		kickers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.Kick()
				}
			}
		})
	}
	time.Sleep(time.Millisecond)
	s.End()
	s.End()
	seq := e.seq.Load()
	cancelLater()
	s.Kick()
	time.Sleep(2 * time.Millisecond)
	close(stop)
	kickers.Wait()
	if e.seq.Load() != seq {
		t.Error("the Event was touched after End")
	}
}

// TestKickWakesAll: several goroutines in Await and one in Wait.
func TestKickWakesAll(t *testing.T) {
	var e Event
	var go_ word.U32
	s := NewSleeper(&e, Park)
	defer s.End()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var g group
	for range 8 {
		g.Go(func() error { return s.Await(ctx, func() bool { return go_.Load() == 1 }) })
	}
	g.Go(func() error { return s.Wait(ctx, false, func() bool { return go_.Load() == 1 }) })
	time.Sleep(2 * time.Millisecond)
	go_.Store(1)
	s.Kick()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestNotifyWakesAll: the same by one publish.
func TestNotifyWakesAll(t *testing.T) {
	for range 50 {
		var e Event
		var data word.U32
		s, w := NewSleeper(&e, Park), NewWaker(&e)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		var g group
		for range 4 {
			g.Go(func() error { return s.Await(ctx, func() bool { return data.Load() == 1 }) })
		}
		runtime.Gosched()
		data.StoreRelease(1)
		w.Notify()
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		cancel()
		s.End()
	}
}

// TestOver is what both sides of it say, whatever is notified in between.
func TestOver(t *testing.T) {
	var e Event
	s, w := NewSleeper(&e, Park), NewWaker(&e)
	if w.Over() {
		t.Error("over before Over")
	}
	s.Over()
	for range 2 {
		if !w.Over() {
			t.Error("not over after Over")
		}
		w.Notify()
	}
	next := NewWaker(&e)
	if !next.Over() {
		t.Error("the successor of the waker does not know")
	}
	NewSleeper(&e, Park)
	if w.Over() || next.Over() {
		t.Error("over with a new sleeper")
	}
}

// TestLooks: nobody looks on one CPU, and with policy Park a few looks are all.
func TestLooks(t *testing.T) {
	var e Event
	for _, p := range policies {
		s := NewSleeper(&e, p)
		s.single = false
		most := firstLooks
		if p == Park {
			most = parkLooks
		}
		for _, streaming := range []bool{false, true} {
			if n := s.Looks(streaming); n < 1 || n > most {
				t.Errorf("%v: %d looks, want 1 to %d", p, n, most)
			}
		}
		s.single = true
		if n := s.Looks(true); n != 0 {
			t.Errorf("%v on one CPU: %d looks", p, n)
		}
		s.End()
	}
}

// TestNotifyIsQuiet: nothing is written and nobody is woken while nobody
// sleeps.
func TestNotifyIsQuiet(t *testing.T) {
	var e Event
	s, w := NewSleeper(&e, Park), NewWaker(&e)
	defer s.End()
	for range 1000 {
		w.Notify()
	}
	if e.seq.Load() != 0 || e.flag.Load() != 0 || e.ack.Load() != 0 {
		t.Errorf("%d %d %d", e.seq.Load(), e.flag.Load(), e.ack.Load())
	}
	if n := testing.AllocsPerRun(1000, func() { w.Notify() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	ready := func() bool { return true }
	if n := testing.AllocsPerRun(1000, func() { s.Wait(context.Background(), false, ready) }); n != 0 {
		t.Errorf("%v allocations in Wait", n)
	}
}

// TestBudget: what a Sleeper spins grows where that pays and shrinks where it
// does not, within bounds.
func TestBudget(t *testing.T) {
	if alone() {
		t.Skip("one CPU")
	}
	var e Event
	s := NewSleeper(&e, Adaptive)
	defer s.End()
	for range 20 {
		looks := 0
		if err := s.Wait(context.Background(), false, func() bool { looks++; return looks > 2 }); err != nil {
			t.Fatal(err)
		}
	}
	if s.hope.budget != maxSpin {
		t.Errorf("after short waits the budget is %v, want %v", s.hope.budget, maxSpin)
	}
	for range 20 {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
		s.Wait(ctx, false, func() bool { return false })
		cancel()
	}
	if s.hope.budget != minSpin {
		t.Errorf("after long waits the budget is %v, want %v", s.hope.budget, minSpin)
	}
	looks := 0
	s.Wait(context.Background(), false, func() bool { looks++; return looks > 2 })
	if s.hope.budget <= minSpin {
		t.Errorf("after one more short wait the budget is %v", s.hope.budget)
	}
}

// TestHopeless: when spinning was in vain for long, even the shortest spin is
// left out, but for a try now and then, which brings it back.
func TestHopeless(t *testing.T) {
	h := hope{budget: firstSpin, every: 1}
	tries := 0
	for range 1000 {
		if h.spin(func() bool { return false }) {
			t.Fatal("true for nothing")
		}
	}
	if !h.none() {
		t.Fatalf("hope after 1000 misses: %+v", h)
	}
	for range 2 * maxEvery {
		looked := false
		if h.spin(func() bool { looked = true; return false }); looked {
			tries++
		}
	}
	if tries == 0 || tries > 20 {
		t.Errorf("%d tries in %d waits", tries, 2*maxEvery)
	}
	for n := 0; !h.spin(func() bool { return true }); n++ {
		if n > maxEvery {
			t.Fatal("never tries again")
		}
	}
	if h.none() {
		t.Errorf("hope after a success: %+v", h)
	}
}

// TestAbsent: an answer that came while this thread did not run is no success of
// spinning.
func TestAbsent(t *testing.T) {
	n := 0
	ok, fair := spin(time.Second, func() bool {
		if n++; n == 3*looks {
			time.Sleep(100 * time.Microsecond)
		}
		return n > 3*looks
	})
	if !ok || fair {
		t.Error(ok, fair)
	}
}

// TestHabit: who parks after nearly every message asks for fences, and takes
// it back when messages flow; the waker answers.
func TestHabit(t *testing.T) {
	if !word.NeedsFence || !word.Membarrier() {
		t.Skip("no need of fences, or no membarrier")
	}
	var e Event
	s, w := NewSleeper(&e, Park), NewWaker(&e)
	defer s.End()
	for _, streaming := range []bool{false, true, false} {
		for range 64 {
			looks := 0
			s.Wait(context.Background(), streaming, func() bool {
				looks++
				if looks == 2 {
					w.Notify()
				}
				return looks > 2
			})
		}
		w.Notify()
		if fenced := e.flag.Load()&fence != 0; fenced == streaming {
			t.Errorf("streaming %v, fences asked for: %v", streaming, fenced)
		}
		if e.ack.Load() != e.flag.Load()&wish || w.fences == streaming {
			t.Errorf("the waker does not follow: flag %#x, ack %#x, fences %v", e.flag.Load(), e.ack.Load(), w.fences)
		}
	}
}

// TestHostileEvent: whatever a peer wrote into the Event, nobody hangs who
// has something to see.
func TestHostileEvent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		var e Event
		e.seq.Store(r.Uint32())
		e.flag.Store(r.Uint32() | r.Uint32()*uint32(r.IntN(2)))
		e.ack.Store(r.Uint32())
		if r.IntN(2) == 0 {
			e.ack.Store(e.flag.Load() & wish)
		}
		w := NewWaker(&e)
		s := NewSleeper(&e, Park)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		var data word.U32
		go func() {
			data.StoreRelease(1)
			w.Notify()
		}()
		if err := s.Wait(ctx, false, func() bool { return data.Load() == 1 }); err != nil {
			t.Fatalf("flag %#x, ack %#x: %v", e.flag.Load(), e.ack.Load(), err)
		}
		cancel()
		s.End()
	}
}

func TestPolicy(t *testing.T) {
	for p := Adaptive - 1; p <= Park+1; p++ {
		if p.Valid() != (p >= Adaptive && p <= Park) {
			t.Errorf("%v: %v", p, p.Valid())
		}
		if p.String() == "" {
			t.Errorf("%d has no name", p)
		}
	}
	var e Event
	s := NewSleeper(&e, Policy(99)) // counts as Adaptive
	defer s.End()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := s.Wait(ctx, false, func() bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestContextError(t *testing.T) {
	if err := ContextError(context.Background()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := ContextError(ctx); err != context.Canceled {
		t.Error(err)
	}
}
