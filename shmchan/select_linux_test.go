package shmchan_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// The death of a peer in another process ends a Select, is told by the next
// call, and after that the case waits.
func TestSelectTellsOfADeath(t *testing.T) {
	needsFiles(t)
	dir(t)
	_, quiet := pair[int](t, options{shmchan.WithHeap()})
	for _, side := range []string{"s", "r"} {
		peer := open(t, side, "name"+side)
		var c shmchan.Case
		var call func() error
		if side == "s" {
			rx, err := shmchan.OpenReceiver[int]("name" + side)
			must(t, err)
			t.Cleanup(func() { rx.Close() })
			c, call = rx, func() error { _, err := rx.TryRecv(); return err }
		} else {
			tx, err := shmchan.OpenSender[int]("name" + side)
			must(t, err)
			t.Cleanup(func() { tx.Close() })
			for tx.TrySend(1) == nil {
			}
			c, call = tx, func() error { return tx.TrySend(1) }
		}
		blocks(t, quiet, c)
		got := make(chan int)
		go func() {
			i, _ := shmchan.Select(within(t), quiet, c)
			got <- i
		}()
		time.Sleep(2 * time.Millisecond)
		peer.kill()
		if i := result(t, got); i != 1 {
			t.Fatal(i)
		}
		wantErr(t, call(), shmchan.ErrPeerDied)
		blocks(t, quiet, c)
	}
}

// Selects that were cancelled leave no goroutine, thread or mapping behind.
func TestSelectLeavesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		before := settled(t)
		var list []shmchan.Case
		var ends []io.Closer
		for range 50 {
			tx, rx, err := shmchan.Pair[int](o...)
			must(t, err)
			list, ends = append(list, rx), append(ends, tx, rx)
		}
		for range n(300) {
			ctx, cancel := context.WithTimeout(bg, time.Duration(rand.IntN(200))*time.Microsecond)
			if _, err := shmchan.Select(ctx, list...); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			cancel()
		}
		for _, e := range ends {
			must(t, e.Close())
		}
		asBefore(t, before)
	})
}

// A Select that parks counts at each of its ends, and is no wait of theirs.
func TestSelectCountsParks(t *testing.T) {
	txA, rxA, oA := watched[int](t, shmchan.WithWait(waiter.Park))
	_, rxB, oB := watched[int](t, shmchan.WithWait(waiter.Park))
	done := goes(func() error {
		i, err := shmchan.Select(within(t), rxA, rxB)
		if err == nil && i != 0 {
			err = fmt.Errorf("case %d", i)
		}
		return err
	})
	until(t, "parked", func() bool { return stats(t, oA).Receiver.Parks > 0 && stats(t, oB).Receiver.Parks > 0 })
	must(t, txA.Send(bg, 1))
	must(t, result(t, done))
	for _, o := range []*shmchan.Observer{oA, oB} {
		if s := stats(t, o).Receiver; s.Waits != 0 || s.Slept != 0 {
			t.Errorf("%+v", s.Tally)
		}
	}
}
