package waiter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/internal/word"
)

// A lateContext ends directly after a call has looked at it for the first time, in
// the few instructions before the park, and a peer has undone the kick by then.
type lateContext struct {
	context.Context
	ev    *Event
	done  chan struct{}
	looks word.U32
}

func (c *lateContext) Done() <-chan struct{} { return c.done }

func (c *lateContext) Err() error {
	if c.looks.Add(1) > 1 {
		return context.Canceled
	}
	before := c.ev.seq.Load()
	close(c.done)
	for c.ev.seq.Load() == before { // the kick is on its way
		time.Sleep(10 * time.Microsecond)
	}
	c.ev.seq.Store(before)
	return nil
}

// The end of a context ends a call though a peer undoes the first kick exactly
// between the call's look at the context and its park; and leaves nothing behind.
func TestCancelIsNotUndone(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, most := range []int{maxDirect, 0} {
		for _, await := range []bool{false, true} {
			t.Run(fmt.Sprintf("direct %d, await %v", most, await), func(t *testing.T) {
				l := newLot(most)
				for range 10 {
					var e Event
					s := NewSleeper(&e, Park)
					s.lot = l
					ctx := &lateContext{Context: context.Background(), ev: &e, done: make(chan struct{})}
					cancelled(t, s, ctx, await, context.Canceled)
					s.End()
				}
				l.empty(t)
			})
		}
	}
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// The same beside a peer that puts the sequence back all the time.
func TestCancelBesideAPeerThatHidesIt(t *testing.T) {
	for _, most := range []int{maxDirect, 0} {
		t.Run(fmt.Sprint("direct ", most), func(t *testing.T) {
			l := newLot(most)
			var e Event
			s := NewSleeper(&e, Park)
			s.lot = l
			stop := make(chan struct{})
			var hostile sync.WaitGroup
			hostile.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						e.seq.Store(0)
					}
				}
			})
			defer hostile.Wait()
			defer close(stop)
			for i := range 200 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(300))*time.Microsecond)
				cancelled(t, s, ctx, i%2 == 1, context.DeadlineExceeded)
				cancel()
			}
			s.End()
			l.empty(t)
		})
	}
}

// requeue moves one who sleeps on from to another word, and reports whether it did.
func requeue(t *testing.T, from, to *word.U32) bool {
	const op = 3 // FUTEX_REQUEUE
	n, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(from)), op, 0, 1, uintptr(unsafe.Pointer(to)), 0)
	if errno != 0 {
		t.Fatal("FUTEX_REQUEUE: ", errno)
	}
	return n == 1
}

// A peer that can map the word can move who sleeps on it to another one, where no
// wake-up finds him.
func TestMovedToAnotherWord(t *testing.T) {
	type call struct {
		ctx    context.Context
		s      *Sleeper
		other  *Sleeper // another member of the Group
		ready  func() bool
		happen func() // makes it ready
		cancel func()
	}
	alone := func(c call) error { return c.s.Wait(c.ctx, false, c.ready) }
	group := func(c call) error {
		g := NewGroup()
		g.lot = c.s.lot
		g.Add(c.other)
		g.Add(c.s)
		defer g.End()
		return g.Wait(c.ctx, c.ready)
	}
	cancel := func(c call) { c.cancel() }
	for what, x := range map[string]struct {
		wait func(c call) error
		end  func(c call)
		once bool // or all the time, and the sequence is put back too
	}{
		"cancel":            {alone, cancel, true},
		"cancel, again":     {alone, cancel, false},
		"rouse":             {alone, func(c call) { c.happen(); c.s.Rouse() }, true},
		"group, cancel":     {group, cancel, true},
		"group, rouse":      {group, func(c call) { c.happen(); c.s.Rouse() }, true},
		"group, other dies": {group, func(c call) { c.happen(); c.other.Rouse() }, true},
	} {
		t.Run(what, func(t *testing.T) {
			l := newLot(maxDirect)
			var e, e2 Event
			var elsewhere, ready word.U32
			c := call{s: NewSleeper(&e, Park), other: NewSleeper(&e2, Park)}
			c.s.lot, c.other.lot = l, l
			c.ctx, c.cancel = context.WithCancel(context.Background())
			defer c.cancel()
			c.ready = func() bool { return ready.Load() != 0 }
			c.happen = func() { ready.Store(1) }
			out := make(chan error, 1)
			go func() { out <- x.wait(c) }()
			for limit := time.Now().Add(patience); !requeue(t, &e.seq, &elsewhere); time.Sleep(time.Millisecond) {
				if time.Now().After(limit) {
					t.Fatal("it never sleeps")
				}
			}
			x.end(c)
			for limit := time.Now().Add(patience); ; {
				select {
				case <-out:
					c.s.End()
					c.other.End()
					l.empty(t)
					return
				default:
				}
				if time.Now().After(limit) {
					t.Fatal("the call hangs")
				}
				if x.once {
					time.Sleep(time.Millisecond)
				} else {
					e.seq.Store(0)
					requeue(t, &e.seq, &elsewhere)
				}
			}
		})
	}
}

// A call whose context has not ended sleeps on beside one of the same Event whose
// context has, and is not kicked for it any more once that one is out.
func TestCancelEndsWithItsCall(t *testing.T) {
	l := newLot(maxDirect)
	var e Event
	s := NewSleeper(&e, Park)
	s.lot = l
	stay, leave := context.WithCancel(context.Background())
	other := make(chan error, 1)
	go func() { other <- s.Await(stay, func() bool { return false }) }()
	for limit := time.Now().Add(patience); !l.has(&e, stay.Done()); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("it never parks")
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(time.Millisecond, cancel)
	cancelled(t, s, ctx, false, context.Canceled)
	time.Sleep(10 * time.Millisecond)
	kicks := e.seq.Load()
	time.Sleep(200 * time.Millisecond)
	if more := e.seq.Load() - kicks; more > 1 { // one may have been under way
		t.Errorf("%d kicks though the call is out", more)
	}
	leave()
	if err := <-other; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.End()
	l.empty(t)
}

// cancelled waits for what never comes, until ctx ends that.
func cancelled(t *testing.T, s *Sleeper, ctx context.Context, await bool, want error) {
	t.Helper()
	never := func() bool { return false }
	done := make(chan error, 1)
	go func() {
		if await {
			done <- s.Await(ctx, never)
		} else {
			done <- s.Wait(ctx, false, never)
		}
	}()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the call hangs")
	}
}
