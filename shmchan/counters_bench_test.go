package shmchan

import (
	"context"
	"testing"
	"time"
)

// BenchmarkCounters sends one at a time and reports what part of the time went
// into counting: as many counts as there were, at the price of one.
func BenchmarkCounters(b *testing.B) {
	tx, rx, err := Pair[int]()
	if err != nil {
		b.Fatal(err)
	}
	defer rx.Close()
	defer tx.Close()
	ctx := context.Background()
	done := make(chan error)
	b.ResetTimer()
	start := time.Now()
	go func() {
		for i := range b.N {
			if err := tx.Send(ctx, i); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range b.N {
		if _, err := rx.Recv(ctx); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	b.StopTimer()

	s, r := counted(tx, rx)
	counts := s.Waits + s.Slept + s.Parks + s.Wakes + r.Waits + r.Slept + r.Parks + r.Wakes
	var c counters
	const n = 1_000_000
	start = time.Now()
	for range n {
		c.waiting.Waited()
	}
	each := float64(time.Since(start)) / n
	b.ReportMetric(100*float64(counts)*each/float64(took), "%counting")
	b.ReportMetric(float64(s.Waits+r.Waits)/float64(b.N), "waits/op")
	b.ReportMetric(each, "ns/count")
}
