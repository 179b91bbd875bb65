package shmchan_test

import (
	"context"
	"math"
	"testing"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// noAllocs fails the test if f allocates. What others do meanwhile in this process
// counts too, such as what earlier tests have left to the watch: so the least of
// a few measurements is taken.
func noAllocs(t *testing.T, what string, runs int, f func()) {
	t.Helper()
	least := math.Inf(1)
	for range 5 {
		if least = min(least, testing.AllocsPerRun(runs, f)); least == 0 {
			return
		}
	}
	t.Errorf("%s: %v allocations", what, least)
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race runtime allocates")
	}
	onEach(t, func(t *testing.T, o options) {
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		tx, rx := pair[record](t, o.cap(16))
		batch, buf := make([]record, 8), make([]record, 8)
		noAllocs(t, "Send and Recv", 1000, func() {
			must(t, tx.Send(ctx, record{Seq: 1}))
			if _, err := rx.Recv(ctx); err != nil {
				t.Fatal(err)
			}
		})
		noAllocs(t, "TrySend and TryRecv", 1000, func() {
			must(t, tx.TrySend(record{}))
			if _, err := rx.TryRecv(); err != nil {
				t.Fatal(err)
			}
		})
		noAllocs(t, "SendBatch and RecvBatch", 1000, func() {
			if k, err := tx.SendBatch(ctx, batch); k != 8 || err != nil {
				t.Fatal(k, err)
			}
			for got := 0; got < 8; {
				k, err := rx.RecvBatch(ctx, buf)
				must(t, err)
				got += k
			}
		})
		noAllocs(t, "Reserve, Commit, Peek and Release", 1000, func() {
			p, err := tx.Reserve(ctx)
			must(t, err)
			p.Seq = 5
			must(t, tx.Commit())
			q, err := rx.Peek(ctx)
			if err != nil || q.Seq != 5 {
				t.Fatal(err)
			}
			must(t, rx.Release())
		})
		noAllocs(t, "ErrEmpty", 1000, func() { rx.TryRecv() })
		for tx.TrySend(record{}) == nil {
		}
		noAllocs(t, "ErrFull", 1000, func() { tx.TrySend(record{}) })
		noAllocs(t, "Len and Cap", 1000, func() {
			if tx.Len() != 16 || rx.Cap() != 16 {
				t.Fatal(tx.Len(), rx.Cap())
			}
		})
	})
}

// Nor do calls that park, with a context that could be cancelled.
func TestNoAllocationsWhenParked(t *testing.T) {
	if raceEnabled {
		t.Skip("the race runtime allocates")
	}
	onEach(t, func(t *testing.T, o options) {
		for _, p := range []waiter.Policy{waiter.Park, waiter.Adaptive} {
			ctx, cancel := context.WithCancel(bg)
			o := o.with(shmchan.WithWait(p))
			there, a := pair[int](t, o.cap(1))
			back, b := pair[int](t, o.cap(1))
			echo := goes(func() error {
				for {
					v, err := a.Recv(ctx)
					if err != nil {
						return back.Close()
					}
					if err := back.Send(ctx, v); err != nil {
						return err
					}
				}
			})
			trip := func() {
				must(t, there.Send(ctx, 1))
				if _, err := b.Recv(ctx); err != nil {
					t.Fatal(err)
				}
			}
			for range 100 {
				trip()
			}
			noAllocs(t, p.String()+" ping-pong", 1000, trip)
			cancel()
			must(t, result(t, echo))
		}
	})
}
