package shmchan_test

import (
	"context"
	"errors"
	"testing"

	"github.com/shmkit/shm/shmchan"
)

func TestAll(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		ctx := within(t)
		tx, rx := pair[int](t, o.cap(4))
		go func() {
			defer tx.Close()
			for i := range 100 {
				if tx.Send(ctx, i) != nil {
					return
				}
			}
		}()
		next := 0
		for round := range 2 { // a loop that was left can be taken up again
			for v, err := range rx.All(ctx) {
				if v != next || err != nil {
					t.Fatal(v, err, next)
				}
				if next++; round == 0 && next == 40 {
					break
				}
			}
		}
		if next != 100 {
			t.Fatal(next)
		}
	})
}

func TestAllLooksAtTheContextEachTime(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		tx, rx := pair[int](t, o)
		for i := range 3 {
			must(t, tx.TrySend(i))
		}
		seen := 0
		for v, err := range rx.All(ctx) {
			if seen++; seen == 1 {
				cancel()
				continue
			}
			if v != 0 || !errors.Is(err, context.Canceled) {
				t.Fatal(v, err)
			}
		}
		if seen != 2 || rx.Len() != 2 {
			t.Fatal(seen, rx.Len())
		}
	})
}

func TestChan(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		ctx := within(t)
		tx, rx := pair[int](t, o.cap(4))
		go func() {
			defer tx.Close()
			for i := range 100 {
				if tx.Send(ctx, i) != nil {
					return
				}
			}
		}()
		next := 0
		for v := range rx.Chan(ctx) {
			if v != next {
				t.Fatal(v, next)
			}
			next++
		}
		if next != 100 || rx.Err() != nil {
			t.Fatal(next, rx.Err())
		}
	})
}

// Whatever moment the context ends at, each message either was delivered or
// still is in the channel.
func TestCancelledChanLosesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		tx, rx := pair[int](t, o.cap(64))
		in, out := 0, 0
		for range n(300) {
			for tx.TrySend(in) == nil {
				in++
			}
			ctx, cancel := context.WithCancelCause(bg)
			why := errors.New("why")
			ch := rx.Chan(ctx)
			go func() {
				doze()
				cancel(why)
			}()
			for v := range ch {
				if v != out {
					t.Fatalf("got %d, want %d", v, out)
				}
				out++
			}
			if out < in { // else it may have ended while it was waiting
				wantErr(t, rx.Err(), context.Canceled)
			}
			wantErr(t, rx.Err(), why)
			if rx.Len() != in-out {
				t.Fatal(rx.Len(), in-out)
			}
		}
		for ; out < in; out++ {
			if v, err := rx.TryRecv(); v != out || err != nil {
				t.Fatal(v, err, out)
			}
		}
	})
}

func TestChanOfACancelledContextDeliversNothing(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		tx, rx := pair[int](t, o)
		must(t, tx.TrySend(1))
		for range 20 {
			for v := range rx.Chan(cancelled()) {
				t.Fatal("delivered", v)
			}
			wantErr(t, rx.Err(), context.Canceled)
		}
		if v, err := rx.TryRecv(); v != 1 || err != nil {
			t.Fatal(v, err)
		}
	})
}

// Nobody takes from the Go channel; Close still ends it.
func TestCloseEndsChan(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		tx, rx := pair[int](t, o)
		must(t, tx.TrySend(1))
		ch := rx.Chan(bg)
		doze()
		must(t, rx.Close())
		for range ch {
		}
		wantErr(t, rx.Err(), shmchan.ErrClosed)
	})
}
