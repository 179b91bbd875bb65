package waiter

import (
	"context"
	"runtime"
	"time"

	"github.com/shmkit/shm/internal/word"
)

const (
	maxSpin    = 50 * time.Microsecond  // more than a parked round trip
	firstSpin  = 20 * time.Microsecond  // before anything was learned
	minSpin    = time.Microsecond       // what a Sleeper that has learned to park still tries
	yieldAt    = 10 * time.Microsecond  // of spinning: from here on other goroutines may run
	osYield    = 100 * time.Microsecond // of spinning: from here on other processes may run
	maxEvery   = 4096                   // see hope
	hopeless   = 64                     // every from which on only the tries are left
	absent     = 5 * time.Microsecond   // between two glances at the clock: something else ran
	looks      = 16                     // between two glances at the clock
	firstLooks = 64                     // a microsecond or so
	parkLooks  = 128                    // at most, and about as long as a slip
)

// hope is what a Sleeper has learned of spinning: it doubles the time that it
// spends when that pays, and halves it when it does not. How long a park lasted
// says nothing: two processes that share one CPU park for a few microseconds
// and never meet by spinning. So at the minimum it tries the maximum again,
// once in a while, and ever less often.
type hope struct {
	budget time.Duration
	every  int // misses at the minimum until the next try
	misses int
}

// none tells whether spinning has been in vain for so long that not even the
// minimum is worth it, but for the tries.
func (h *hope) none() bool { return h.budget == minSpin && h.every >= hopeless }

func (h *hope) spin(ready func() bool) bool {
	d := h.budget
	switch {
	case d == minSpin && h.misses >= h.every:
		d = maxSpin
	case h.none():
		h.misses++
		return false
	}
	ok, fair := spin(d, ready)
	if ok && fair {
		h.budget = min(2*d, maxSpin)
		h.every, h.misses = 1, 0
		return true
	}
	h.misses++
	if d != h.budget { // that try was in vain
		h.every, h.misses = min(2*h.every, maxEvery), 0
	}
	h.budget = max(h.budget/2, minSpin)
	return ok
}

// spin looks for about d and reports whether ready was true; and whether that is
// to the credit of spinning. It is not if this thread did not run in between: on
// a CPU that both sides share, the answer comes because we stopped.
func spin(d time.Duration, ready func() bool) (ok, fair bool) {
	var start time.Time
	var spent time.Duration // at the last look at the clock
	fair = true
	for first := true; ; first = false {
		for range looks {
			if ready() {
				return true, fair && (first || time.Since(start)-spent < absent)
			}
			word.Pause(1)
		}
		if first {
			start = time.Now()
			continue
		}
		now := time.Since(start)
		fair = fair && now-spent < absent
		if spent = now; spent >= d {
			return false, fair
		}
		if spent >= yieldAt {
			runtime.Gosched()
		}
	}
}

// spinFor looks until ready or the end of ctx.
func spinFor(ctx context.Context, ready func() bool) error {
	for {
		if ok, _ := spin(osYield, ready); ok {
			return nil
		}
		if err := ContextError(ctx); err != nil {
			return err
		}
		runtime.Gosched()
		osyield()
	}
}
