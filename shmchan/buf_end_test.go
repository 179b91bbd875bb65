package shmchan

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/shmkit/shm/slabpool"
)

// bufEnds has a Buf channel on the heap with one message of a block in it.
func bufEnds(t *testing.T) (*BufSender, *BufReceiver) {
	t.Helper()
	tx, rx, err := BufPair(WithHeap(), WithPool(slabpool.Class{Size: 100, Count: 4}))
	if err != nil {
		t.Fatal(err)
	}
	b, err := tx.Loan(context.Background(), 100)
	if err == nil {
		err = tx.Send(context.Background(), b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tx, rx
}

// Close and the end of ctx at once: whichever Chan sees first, its hold of the
// message ends.
func TestBufChanCloseAndCancel(t *testing.T) {
	for i := range 200 {
		tx, rx := bufEnds(t)
		ctx, cancel := context.WithCancel(context.Background())
		ch := rx.Chan(ctx)
		for rx.e.use.Load() != leased {
			runtime.Gosched()
		}
		if i%2 == 0 {
			go cancel()
		}
		if err := rx.Close(); err != nil {
			t.Fatal(err)
		}
		for b := range ch { // it may offer the message for a moment yet
			if err := b.Release(); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		if n := rx.e.holds.Load(); n != 0 {
			t.Fatalf("turn %d: %d holds after Close, and nobody has a Buf", i, n)
		}
		tx.Close()
	}
}

// A Buf that Chan has delivered may be released before the slot is given back;
// then the block is free after that, and not before.
func TestBufChanReleasedAtOnce(t *testing.T) {
	tx, rx := bufEnds(t)
	defer tx.Close()
	defer rx.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch := rx.Chan(ctx)
	for i := range 2000 {
		b, err := tx.Loan(ctx, 100)
		if err == nil {
			err = tx.Send(ctx, b)
		}
		if err == nil {
			err = (<-ch).Release()
		}
		if err != nil {
			t.Fatalf("turn %d: %v", i, err)
		}
	}
	if err := (<-ch).Release(); err != nil {
		t.Fatal(err)
	}
	cancel()
	for range ch {
		t.Error("a message too many")
	}
	if s := tx.Stats()[0]; s.InUse != 0 {
		t.Errorf("%v", s)
	}
}

// The last Release of an end that the program has dropped, beside collections:
// the peer is told in any case.
func TestBufLastReleaseOfDroppedEnd(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	for range 20 {
		tx, rx := bufEnds(t)
		b, err := rx.Recv(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		rx = nil
		runtime.Gosched()
		if err := b.Release(); err != nil {
			t.Fatal(err)
		}
		b = nil
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		for err == nil {
			var full *Buf
			if full, err = tx.Loan(ctx, 100); err == nil {
				err = tx.Send(ctx, full)
			}
		}
		cancel()
		if !errors.Is(err, ErrPeerDied) {
			t.Fatalf("the sender is told %v", err)
		}
		tx.Close()
	}
}
