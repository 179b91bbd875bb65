package shmchan

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"
)

// pairOf is Pair with or without counters.
func pairOf(b *testing.B, counted bool) (*Sender[int], *Receiver[int]) {
	b.Helper()
	p, err := newPlan[int](nil)
	if err != nil {
		b.Fatal(err)
	}
	p.uncounted = !counted
	sr, rr, err := pairEnds(p)
	if err != nil {
		b.Fatal(err)
	}
	se, err := newSendEnd(sr, p)
	if err != nil {
		b.Fatal(err)
	}
	re, err := newRecvEnd(rr, p)
	if err != nil {
		b.Fatal(err)
	}
	tx, rx := newSender[int](se), newReceiver[int](re)
	if has := tx.e.count != nil && rx.e.count != nil; has != counted {
		b.Fatalf("counters: %v, want %v", has, counted)
	}
	b.Cleanup(func() {
		tx.Close()
		rx.Close()
	})
	return tx, rx
}

// BenchmarkCounters compares channels with and without counters in one run, in
// turns, and reports the medians and by how much the one with counters is
// slower. One operation is a round with each: n messages one way, or n round
// trips, between two goroutines on threads of their own.
func BenchmarkCounters(b *testing.B) {
	type ends struct {
		tx, back     *Sender[int]
		rx, backward *Receiver[int]
	}
	stream := func(e *ends, n int) error {
		for i := range n {
			if err := e.tx.Send(context.Background(), i); err != nil {
				return err
			}
		}
		return nil
	}
	drain := func(e *ends, n int) error {
		for range n {
			if _, err := e.rx.Recv(context.Background()); err != nil {
				return err
			}
		}
		return nil
	}
	ping := func(e *ends, n int) error {
		for i := range n {
			if err := e.tx.Send(context.Background(), i); err != nil {
				return err
			}
			if _, err := e.backward.Recv(context.Background()); err != nil {
				return err
			}
		}
		return nil
	}
	pong := func(e *ends, n int) error {
		for range n {
			v, err := e.rx.Recv(context.Background())
			if err != nil {
				return err
			}
			if err := e.back.Send(context.Background(), v); err != nil {
				return err
			}
		}
		return nil
	}
	for _, bm := range []struct {
		name     string
		n        int
		near, by func(*ends, int) error
	}{
		{"stream", 4_000_000, drain, stream},
		{"roundtrip", 100_000, ping, pong},
	} {
		b.Run(bm.name, func(b *testing.B) {
			var sides [2]*ends
			for i := range sides {
				sides[i] = &ends{}
				sides[i].tx, sides[i].rx = pairOf(b, i == 1)
				sides[i].back, sides[i].backward = pairOf(b, i == 1)
			}
			orders, done := make(chan *ends), make(chan error)
			go func() {
				runtime.LockOSThread()
				for e := range orders {
					done <- bm.by(e, bm.n)
				}
			}()
			defer close(orders)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var took [2][]float64
			for round := range b.N {
				for k := range sides {
					i := (round + k) % 2 // each is first as often as second
					start := time.Now()
					orders <- sides[i]
					if err := bm.near(sides[i], bm.n); err != nil {
						b.Fatal(err)
					}
					if err := <-done; err != nil {
						b.Fatal(err)
					}
					took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/float64(bm.n))
				}
			}
			var medians [2]float64
			for i, t := range took {
				slices.Sort(t)
				medians[i] = t[len(t)/2]
			}
			s, r := counted(sides[1].tx, sides[1].rx)
			b.ReportMetric(medians[0], "ns-without")
			b.ReportMetric(medians[1], "ns-with")
			b.ReportMetric(100*(medians[1]/medians[0]-1), "%slower")
			b.ReportMetric(float64(s.Waits+r.Waits)/float64(b.N*bm.n), "waits/msg")
		})
	}
}
