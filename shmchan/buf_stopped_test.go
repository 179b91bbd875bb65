package shmchan

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/slabpool"
	"github.com/shmkit/shm/waiter"
)

// The receiver is stopped in the middle of waking the sender: it has lowered the
// flag, and wakes nobody. What another goroutine of the sender's process gives back
// meanwhile ends a Loan all the same.
func TestBufLoanBesideStoppedReceiver(t *testing.T) {
	tx, rx, err := BufPair(WithHeap(), WithWait(waiter.Park), WithPool(slabpool.Class{Size: 100, Count: 1}))
	if err != nil {
		t.Fatal(err)
	}
	defer rx.Close()
	defer tx.Close()
	for range 3 {
		b, err := tx.TryLoan(100)
		if err != nil {
			t.Fatal(err)
		}
		loaned := make(chan error)
		go func() {
			next, err := tx.Loan(context.Background(), 100)
			if err == nil {
				err = next.Release()
			}
			loaned <- err
		}()
		const raised = 1
		flag := (*word.U32)(unsafe.Add(unsafe.Pointer(event(tx.e.reg, roleSender)), 4))
		for {
			if f := flag.Load(); f&raised != 0 && flag.CompareAndSwap(f, f&^raised) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err := b.Release(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-loaned:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("Loan sleeps beside a free block")
		}
	}
}
