package shmchan_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// How long the storms of cancellations take together; a soak says more.
var storm = flag.Duration("storm", 3*time.Second, "how `long` the storms of cancellations blow, all together")

// A weather makes contexts that end at random moments around the moments at
// which messages come, and measures how long a call went on after that.
type weather struct {
	r     *rand.Rand
	late  []time.Duration
	calls int
}

func newWeather(seed uint64) *weather { return &weather{r: rand.New(rand.NewPCG(seed, 1))} }

// call makes a call with such a context, and reports whether it was ended by it.
func (w *weather) call(f func(context.Context) error) (ended bool, err error) {
	w.calls++
	d := time.Duration(w.r.IntN(60)) * time.Microsecond
	var over chan time.Time
	var ctx context.Context
	var cancel context.CancelFunc
	switch w.r.IntN(4) {
	case 0:
		ctx, cancel = context.WithTimeout(bg, d)
	case 1:
		ctx, cancel = context.WithCancel(bg)
		cancel()
	case 2:
		ctx, cancel = context.WithCancel(bg)
		over = make(chan time.Time, 1)
		go func() {
			if w := time.Now().Add(d); d > 20*time.Microsecond {
				time.Sleep(time.Until(w))
			}
			over <- time.Now()
			cancel()
		}()
	default:
		ctx, cancel = context.WithTimeout(bg, time.Millisecond)
	}
	err = f(ctx)
	now := time.Now()
	cancelled := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	if cancelled && over != nil {
		w.late = append(w.late, now.Sub(<-over))
	}
	cancel()
	if cancelled {
		return true, nil
	}
	return false, err
}

// sendIn sends 0, 1, 2, ... until the time is over, whatever the weather, and
// returns how many.
func (w *weather) sendIn(tx *shmchan.Sender[int], end time.Time) (sent int, err error) {
	defer tx.Close()
	for i := 0; i%64 != 0 || time.Now().Before(end); i++ {
		ended, err := w.call(func(ctx context.Context) error {
			if i%5 == 0 { // wait by Select, then try
				if _, err := shmchan.Select(ctx, nil, tx); err != nil {
					return err
				}
				if err := tx.TrySend(sent); !errors.Is(err, shmchan.ErrFull) {
					return err
				}
				return context.Canceled
			}
			return tx.Send(ctx, sent)
		})
		if err != nil {
			return sent, err
		}
		if !ended {
			sent++
		}
	}
	return sent, nil
}

// receiveIn receives until the sender has closed.
func (w *weather) receiveIn(rx *shmchan.Receiver[int]) (got int, err error) {
	for i := 0; ; i++ {
		var v int
		ended, err := w.call(func(ctx context.Context) (err error) {
			switch i % 7 {
			case 0:
				if _, err = shmchan.Select(ctx, rx); err == nil {
					v, err = rx.TryRecv()
				}
				if errors.Is(err, shmchan.ErrEmpty) {
					return context.Canceled
				}
			case 1:
				select {
				case <-rx.Ready():
					if v, err = rx.TryRecv(); errors.Is(err, shmchan.ErrEmpty) {
						return context.Canceled
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			default:
				v, err = rx.Recv(ctx)
			}
			return err
		})
		switch {
		case err == io.EOF:
			return got, nil
		case err != nil:
			return got, err
		case ended:
		case v != got:
			return got, fmt.Errorf("got message %d, want %d", v, got)
		default:
			got++
		}
	}
}

// report says how long calls went on after their context.
func (w *weather) report() string {
	if len(w.late) == 0 {
		return "no cancel was measured"
	}
	slices.Sort(w.late)
	at := func(q float64) time.Duration { return w.late[int(q*float64(len(w.late)-1))] }
	return fmt.Sprintf("%d calls; from cancel to return: median %v, 99 %% within %v, at most %v", w.calls, at(0.5), at(0.99), at(1))
}

// crowd takes the places of those who park on a thread of their own, so that
// everybody else shares.
func crowd(t *testing.T) {
	t.Helper()
	for range 40 {
		_, rx := pair[int](t, options{shmchan.WithHeap(), shmchan.WithWait(waiter.Park)})
		go rx.Recv(bg)
	}
	time.Sleep(20 * time.Millisecond) // until most are blocked
}

// Under a storm of contexts that end at random moments, no message is lost,
// doubled, or taken by a call that says that it was cancelled.
func TestStormOfCancellations(t *testing.T) {
	if raceEnabled && testing.Short() {
		t.Skip("long")
	}
	onEach(t, func(t *testing.T, o options) {
		for name, p := range map[string]waiter.Policy{"adaptive": waiter.Adaptive, "park": waiter.Park, "park, shared": waiter.Park} {
			t.Run(name, func(t *testing.T) {
				tx, rx := pair[int](t, o.with(shmchan.WithCapacity(2), shmchan.WithWait(p)))
				if name == "park, shared" {
					crowd(t)
				}
				seed := rand.Uint64()
				t.Log("seed", seed)
				end := time.Now().Add(*storm / 12) // half of it for 6 of them
				type sum struct {
					n   int
					err error
				}
				sends := make(chan sum, 1)
				over, under := newWeather(seed), newWeather(seed+1)
				go func() {
					n, err := over.sendIn(tx, end)
					sends <- sum{n, err}
				}()
				got, err := under.receiveIn(rx)
				must(t, err)
				s := result(t, sends)
				must(t, s.err)
				if got != s.n {
					t.Fatalf("%d sent, %d received", s.n, got)
				}
				t.Logf("%d messages; sender: %s", got, over.report())
				t.Logf("receiver: %s", under.report())
			})
		}
	})
}
