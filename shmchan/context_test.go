package shmchan_test

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A busy channel does not look at the context.
func TestSendAndRecvLookAtTheContextOnlyWhenTheyWait(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		ctx := cancelled()
		tx, rx := pair[int](t, o.cap(2))
		must(t, tx.Send(ctx, 1))
		p, err := tx.Reserve(ctx)
		must(t, err)
		*p = 2
		must(t, tx.Commit())
		wantErr(t, tx.Send(ctx, 3), context.Canceled)
		_, err = tx.Reserve(ctx)
		wantErr(t, err, context.Canceled)

		if v, err := rx.Recv(ctx); v != 1 || err != nil {
			t.Fatal(v, err)
		}
		q, err := rx.Peek(ctx)
		if err != nil || *q != 2 {
			t.Fatal(err)
		}
		must(t, rx.Release())
		_, err = rx.Recv(ctx)
		wantErr(t, err, context.Canceled)
		_, err = rx.Peek(ctx)
		wantErr(t, err, context.Canceled)
	})
}

func TestBatchesLookAtTheContextEachTime(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		tx, rx := pair[int](t, o.cap(2))
		if k, err := tx.SendBatch(cancelled(), []int{1}); k != 0 || !errors.Is(err, context.Canceled) {
			t.Fatal(k, err)
		}
		must(t, tx.TrySend(1))
		buf := []int{9}
		if k, err := rx.RecvBatch(cancelled(), buf); k != 0 || !errors.Is(err, context.Canceled) || buf[0] != 9 {
			t.Fatal(k, err, buf)
		}
		if rx.Len() != 1 {
			t.Fatal(rx.Len())
		}
	})
}

// A cancelled batch says how much of it went.
func TestCancelledBatchSaysHowMany(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		ctx, cancel := context.WithTimeout(bg, time.Millisecond)
		defer cancel()
		tx, rx := pair[int](t, o.cap(4))
		k, err := tx.SendBatch(ctx, []int{0, 1, 2, 3, 4, 5, 6})
		if k > 0 && k != 4 || !errors.Is(err, context.DeadlineExceeded) { // 0 on a machine that was busy for so long
			t.Fatal(k, err)
		}
		for i := range k {
			if v, err := rx.TryRecv(); v != i || err != nil {
				t.Fatal(v, err)
			}
		}
		if rx.Len() != 0 {
			t.Fatal(rx.Len())
		}
	})
}

// Every blocking call tells the error of the context and its cause, and has
// sent and taken nothing.
func TestCancelledCalls(t *testing.T) {
	why := errors.New("the reason")
	onEachPolicy(t, func(t *testing.T, o options) {
		for name, call := range blocked {
			for round := range n(10) {
				tx, rx := blockOn(t, name, o)
				ctx, cancel := context.WithCancelCause(bg)
				done := goes(func() error { return call(ctx, tx, rx) })
				if round > 0 {
					doze()
				}
				cancel(why)
				err := result(t, done)
				wantErr(t, err, context.Canceled)
				wantErr(t, err, why)
				want := 0
				if isSend(name) {
					want = 1
				}
				if rx.Len() != want {
					t.Fatal(name, rx.Len())
				}

				ctx, stop := context.WithTimeout(bg, time.Duration(round)*100*time.Microsecond)
				wantErr(t, call(ctx, tx, rx), context.DeadlineExceeded)
				stop()
				must(t, tx.Close())
				must(t, rx.Close())
			}
		}
	})
}

func TestWaitPeerIsCancelled(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		tx, rx := pair[int](t, o)
		must(t, tx.WaitPeer(within(t)))
		must(t, rx.WaitPeer(within(t)))
		must(t, rx.Detach())
		why := errors.New("the reason")
		ctx, cancel := context.WithCancelCause(bg)
		done := goes(func() error { return tx.WaitPeer(ctx) })
		doze()
		cancel(why)
		err := result(t, done)
		wantErr(t, err, context.Canceled)
		wantErr(t, err, why)
	})
}
