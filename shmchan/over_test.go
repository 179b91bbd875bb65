package shmchan_test

import (
	"context"
	"errors"
	"testing"

	"github.com/shmkit/shm/shmchan"
)

// An error of Send means that the message was not sent, and a receiver that
// takes a message and closes at once is no error for the one who sent it.
func TestSendErrorMeansNotSent(t *testing.T) {
	ctx := context.Background()
	for range 2000 {
		tx, rx, err := shmchan.Pair[int64](shmchan.WithHeap(), shmchan.WithCapacity(4))
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error)
		go func() {
			_, err := rx.Recv(ctx)
			rx.Close()
			got <- err
		}()
		sent := tx.Send(ctx, 1)
		if err := <-got; err != nil || sent != nil {
			t.Fatalf("sent: %v, received: %v", sent, err)
		}
		n := tx.Len()
		if err := tx.Send(ctx, 2); !errors.Is(err, shmchan.ErrClosed) {
			t.Fatalf("Send to a closed receiver: %v", err)
		}
		if tx.Len() != n {
			t.Fatalf("a Send that failed left something behind: %d, then %d", n, tx.Len())
		}
		tx.Close()
	}
}
