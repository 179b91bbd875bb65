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

// A peer that can map the word can move who sleeps on it to another one, where no
// wake-up finds him.
func TestMovedToAnotherWord(t *testing.T) {
	for what, end := range map[string]func(s *Sleeper, cancel func(), ready *word.U32){
		"cancel": func(s *Sleeper, cancel func(), _ *word.U32) { cancel() },
		"rouse": func(s *Sleeper, _ func(), ready *word.U32) {
			ready.Store(1)
			s.Rouse()
		},
	} {
		t.Run(what, func(t *testing.T) {
			l := newLot(maxDirect)
			var e Event
			var elsewhere, ready word.U32
			s := NewSleeper(&e, Park)
			s.lot = l
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			out := make(chan error, 1)
			go func() { out <- s.Wait(ctx, false, func() bool { return ready.Load() != 0 }) }()
			moved := uintptr(0)
			for limit := time.Now().Add(patience); moved == 0; time.Sleep(time.Millisecond) {
				const requeue = 3
				moved, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&e.seq)), requeue, 0, 1, uintptr(unsafe.Pointer(&elsewhere)), 0)
				if time.Now().After(limit) {
					t.Fatal("it never sleeps")
				}
			}
			end(s, cancel, &ready)
			select {
			case <-out:
			case <-time.After(patience):
				t.Fatal("the call hangs")
			}
			s.End()
			l.empty(t)
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
