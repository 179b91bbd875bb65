package word

import (
	"testing"
	"time"
)

// A waiter is Wait of a list, or what it does where there is no futex_waitv.
type waiter struct {
	name  string
	wait  func(*Waiters, time.Duration) int
	times uint32 // how often to wait: polling takes up to 1 ms
}

// TestWaitAny: a Wait does not park on a word that is not as expected, tells
// which word has woken it, and returns when its limit ends.
func TestWaitAny(t *testing.T) {
	t.Logf("CanWaitAny: %v", CanWaitAny())
	for _, v := range waiters() {
		t.Run(v.name, func(t *testing.T) {
			words := make([]U32, MaxWaiters)
			w := NewWaiters()
			fill := func() {
				w.Reset()
				for i := range words {
					words[i].Store(uint32(i))
					if !w.Add(&words[i], uint32(i)) || w.Len() != i+1 {
						t.Fatalf("no room for word %d", i)
					}
				}
			}
			fill()
			if w.Add(&words[0], 0) || w.Len() != MaxWaiters {
				t.Error("a full list takes another word")
			}
			for _, i := range []int{0, 77, MaxWaiters - 1} {
				fill()
				words[i].Add(1)
				if got := v.wait(w, -1); got != i && got != -1 {
					t.Errorf("word %d differs, Wait returns %d", i, got)
				}
				fill()
				start := time.Now()
				go func() {
					time.Sleep(20 * time.Millisecond)
					words[i].Add(1)
					words[i].Wake(1)
				}()
				got := -1
				for got < 0 && words[i].Load() == uint32(i) { // it may return for no reason
					got = v.wait(w, time.Minute)
				}
				if got != i && got != -1 || time.Since(start) > 30*time.Second {
					t.Errorf("word %d changes, Wait returns %d after %v", i, got, time.Since(start))
				}
			}
			fill()
			start := time.Now()
			for time.Since(start) < 50*time.Millisecond {
				if got := v.wait(w, 50*time.Millisecond); got != -1 {
					t.Fatalf("no word changes, Wait returns %d", got)
				}
			}
			if got := v.wait(w, 0); got != -1 {
				t.Errorf("no word changes, a look returns %d", got)
			}
		})
	}
}

// TestWaitAnyLosesNoWakeup has two givers, each of which gives when what it
// gave before was taken, and a taker that waits for either.
func TestWaitAnyLosesNoWakeup(t *testing.T) {
	for _, v := range waiters() {
		t.Run(v.name, func(t *testing.T) {
			var words [2]U32
			var seen [2]uint32
			var taken [2]chan bool
			for i := range words {
				taken[i] = make(chan bool, 1)
				taken[i] <- true
				go func() {
					for range taken[i] {
						words[i].Add(1)
						words[i].Wake(1)
					}
				}()
				defer close(taken[i])
			}
			w := NewWaiters()
			for seen[0] < v.times || seen[1] < v.times {
				w.Reset()
				for i := range words {
					w.Add(&words[i], seen[i])
				}
				start := time.Now()
				if v.wait(w, 30*time.Second) < 0 && time.Since(start) > 29*time.Second {
					t.Fatalf("no wake-up after %v", seen)
				}
				for i := range words {
					if now := words[i].Load(); now != seen[i] {
						seen[i] = now
						taken[i] <- true
					}
				}
			}
		})
	}
}

// TestWaitAnyAllocates nothing.
func TestWaitAnyAllocates(t *testing.T) {
	var words [8]U32
	w := NewWaiters()
	if n := testing.AllocsPerRun(100, func() {
		w.Reset()
		for i := range words {
			w.Add(&words[i], 0)
		}
		w.Wait(0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
