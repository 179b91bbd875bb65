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

// A lot of the test's own, where at most most goroutines park directly.
func newLot(most int) *lot { return &lot{most: most, start: func(p *poller) { go p.run() }} }

// empty waits until all pollers of l have ended.
func (l *lot) empty(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		direct, pollers := l.direct, len(l.pollers)
		l.mu.Unlock()
		if direct == 0 && pollers == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d goroutines park directly, %d pollers are left", direct, pollers)
		}
	}
}

// Many goroutines at few pollers get all that is published, each its own.
func TestSharedSleepers(t *testing.T) {
	const pairs = 100
	rounds := uint32(200)
	if testing.Short() {
		rounds = 20
	}
	l := newLot(3)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var g group
	for range pairs {
		x := new(pingPong)
		g.Go(func() error {
			s, w := NewSleeper(&x.a, Park), NewWaker(&x.b)
			s.lot = l
			defer s.End()
			for i := uint32(1); i <= rounds; i++ {
				if err := s.Wait(ctx, false, func() bool { return x.ping.Load() >= i }); err != nil {
					return err
				}
				x.pong.StoreRelease(i)
				w.Notify()
			}
			return nil
		})
		g.Go(func() error {
			s, w := NewSleeper(&x.b, Park), NewWaker(&x.a)
			s.lot = l
			defer s.End()
			for i := uint32(1); i <= rounds; i++ {
				x.ping.StoreRelease(i)
				w.Notify()
				if err := s.Await(ctx, func() bool { return x.pong.Load() >= i }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	l.empty(t)
}

// A park that is limited, because a wake-up could be missed, ends by itself at a
// poller too.
func TestSharedParkIsLimited(t *testing.T) {
	l := newLot(0)
	var e Event
	s := NewSleeper(&e, Park)
	defer s.End()
	start := time.Now()
	for range 10 {
		if err := l.park(context.Background(), s, 0, time.Millisecond, &s.seat); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(start); d < 5*time.Millisecond {
		t.Errorf("10 parks of 1 ms took %v", d) // some may end early
	}
	l.empty(t)
}

// With many pollers the goroutines that park directly make way, but for a few.
func TestDirectParksMakeWay(t *testing.T) {
	l := newLot(maxDirect)
	l.start = func(*poller) {} // they stay where they are: only numbers count here
	var events [maxDirect]Event
	for i := range events {
		if got := l.enter(place{ev: &events[i]}); got != i {
			t.Fatalf("place %d, want %d", got, i)
		}
	}
	if l.enter(place{ev: new(Event)}) >= 0 {
		t.Fatal("one more than allowed parks directly")
	}
	gone := map[int]bool{}
	for waits := 0; waits < 10_000-maxDirect; waits++ {
		l.room(1)
		for i := range events {
			if events[i].seq.Load() > 0 && !gone[i] { // was kicked
				l.leave(i)
				gone[i] = true
			}
		}
	}
	if n := len(l.pollers); n != 79 || l.direct+n > allThreads {
		t.Errorf("%d pollers and %d direct parks for 10,000 waits", n, l.direct)
	}
	for range 50 * fullPoll {
		l.room(1)
		for i := range events {
			if events[i].seq.Load() > 0 && !gone[i] {
				l.leave(i)
				gone[i] = true
			}
		}
	}
	if l.direct < fewDirect {
		t.Errorf("%d direct parks are left, want %d", l.direct, fewDirect)
	}
}

// Pollers take their threads along when they end.
func TestPollersEnd(t *testing.T) {
	if !word.CanWaitAny() {
		t.Skip("no futex_waitv: pollers take no threads")
	}
	before := runtime.NumGoroutine()
	l := newLot(0)
	ctx, cancel := context.WithCancel(context.Background())
	var g group
	for range 1000 {
		g.Go(func() error {
			var e Event
			s := NewSleeper(&e, Park)
			s.lot = l
			defer s.End()
			if err := s.Wait(ctx, false, func() bool { return false }); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		})
	}
	time.Sleep(20 * time.Millisecond)
	cancel()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	l.empty(t)
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// A Group gets everything that its members' wakers publish, directly and at
// pollers, and can be kicked and cancelled.
func TestGroup(t *testing.T) {
	const members = 5
	for _, most := range []int{maxDirect, 0} {
		for _, p := range policies {
			l := newLot(most)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			var events [members]Event
			var data [members]word.U32
			n := uint32(2000)
			g := NewGroup()
			g.lot = l
			var sleepers []*Sleeper
			var publishers sync.WaitGroup
			for i := range members {
				s := NewSleeper(&events[i], p)
				sleepers = append(sleepers, s)
				g.Add(s)
				publishers.Go(func() {
					w := NewWaker(&events[i])
					for k := uint32(1); k <= n; k++ {
						data[i].StoreRelease(k)
						w.Notify()
						if k%64 == 0 {
							time.Sleep(time.Duration(rand.IntN(50)) * time.Microsecond)
						}
					}
				})
			}
			var got [members]uint32
			for left := members; left > 0; {
				if err := g.Wait(ctx, func() bool {
					for i := range data {
						if data[i].Load() > got[i] {
							return true
						}
					}
					return false
				}); err != nil {
					t.Fatalf("%v, %d direct: %v at %v", p, most, err, got)
				}
				left = members
				for i := range data {
					if got[i] = data[i].Load(); got[i] == n {
						left--
					}
				}
			}
			publishers.Wait()
			brief, stop := context.WithTimeout(ctx, time.Millisecond)
			if err := g.Wait(brief, func() bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			stop()
			kicked := make(chan struct{})
			time.AfterFunc(2*time.Millisecond, func() {
				close(kicked)
				sleepers[3].Kick()
			})
			if err := g.Wait(ctx, func() bool {
				select {
				case <-kicked:
					return true
				default:
					return false
				}
			}); err != nil {
				t.Error(err)
			}
			g.End()
			for _, s := range sleepers {
				s.End()
			}
			cancel()
			l.empty(t)
		}
	}
}

// The policy of a Group follows from its members'.
func TestGroupPolicy(t *testing.T) {
	for _, x := range []struct {
		of   []Policy
		want Policy
	}{
		{[]Policy{Spin, Spin}, Spin},
		{[]Policy{Adaptive, Spin}, Adaptive},
		{[]Policy{Spin, Adaptive, Spin}, Adaptive},
		{[]Policy{Adaptive, Park, Spin}, Park},
		{[]Policy{Park, Adaptive}, Park},
	} {
		g := NewGroup()
		for range 2 { // also after a Reset
			g.Reset()
			for _, p := range x.of {
				g.Add(NewSleeper(new(Event), p))
			}
			if g.policy != x.want {
				t.Errorf("%v: %v, want %v", x.of, g.policy, x.want)
			}
		}
	}
}
