package shmchan

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shmkit/shm/waiter"
)

// counted is what both sides of a channel have counted.
func counted(tx *Sender[int], rx *Receiver[int]) (s, r waiter.Tally) {
	return tx.e.count.waiting.Read(), rx.e.count.waiting.Read()
}

func TestCountersOfAChannelThatFlows(t *testing.T) {
	tx, rx, err := Pair[int](WithHeap(), WithCapacity(4))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	defer rx.Close()
	ctx := context.Background()
	for i := range 100 {
		if err := tx.Send(ctx, i); err != nil {
			t.Fatal(err)
		}
		if _, err := rx.Recv(ctx); err != nil {
			t.Fatal(err)
		}
	}
	s, r := counted(tx, rx)
	if s != (waiter.Tally{}) || r != (waiter.Tally{}) {
		t.Errorf("%+v, %+v: something was counted where nobody waited", s, r)
	}
}

func TestCountersOfRefusals(t *testing.T) {
	tx, rx, err := Pair[int](WithHeap(), WithCapacity(4))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	defer rx.Close()
	for range 3 {
		if _, err := rx.TryRecv(); !errors.Is(err, ErrEmpty) {
			t.Fatal(err)
		}
	}
	for range 4 {
		if err := tx.TrySend(1); err != nil {
			t.Fatal(err)
		}
	}
	if n := tx.e.count.high.Load(); n != 0 {
		t.Errorf("high water %d before anybody looked", n)
	}
	for range 2 {
		if err := tx.TrySend(1); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	if s, r, high := tx.e.count.refused.Load(), rx.e.count.refused.Load(), tx.e.count.high.Load(); s != 2 || r != 3 || high != 4 {
		t.Errorf("refused %d and %d, high water %d; want 2, 3, 4", s, r, high)
	}
}

// A receiver parks, is woken, and both sides say so; a successor counts on.
func TestCountersOfParking(t *testing.T) {
	tx, rx, err := Pair[int](WithHeap(), WithCapacity(4), WithWait(waiter.Park))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	defer rx.Close()
	ctx := context.Background()
	const n = 20
	got := make(chan error)
	go func() {
		for range n {
			_, err := rx.Recv(ctx)
			got <- err
		}
	}()
	for i := range n {
		for end := time.Now().Add(30 * time.Second); !event(tx.e.reg, roleReceiver).Sleeping(); time.Sleep(10 * time.Microsecond) {
			if time.Now().After(end) {
				t.Fatal("the receiver does not park")
			}
		}
		if err := tx.Send(ctx, i); err != nil {
			t.Fatal(err)
		}
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	}
	s, r := counted(tx, rx)
	if r.Waits != n || r.Slept != n || r.Wakes != 0 || s.Waits != 0 || s.Parks != 0 || s.Wakes < n-1 || s.Wakes > n {
		t.Errorf("sender %+v, receiver %+v", s, r)
	}
	if r.Parks > 2*n { // raised and not parked yet counts as woken; woken for nothing is rare
		t.Errorf("%d parks in %d waits", r.Parks, n)
	}
	if rx.e.count.high.Load() == 0 {
		t.Error("no high water")
	}
	if err := tx.Detach(); err != nil {
		t.Fatal(err)
	}
	again, err := rx.e.reg.Attach(roleSender)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Unmap()
	if c := countersOf(again, roleSender); c.waiting.Read() != s {
		t.Errorf("a successor begins with %+v, want %+v", c.waiting.Read(), s)
	}
}
