package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/shmkit/shm/shmchan"
)

// send is one side. If no receiver is there yet, it fills the channel and waits.
func send(ctx context.Context, name string, n int) (err error) {
	tx, err := shmchan.OpenSender[Quote](name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Close()) }() // the receiver's loop ends
	for i := range n {
		if err := tx.Send(ctx, Quote{ID: uint64(i), Cents: int64(i % 1000)}); err != nil {
			return fmt.Errorf("quote %d: %w", i, err)
		}
	}
	fmt.Println("sent", n, "quotes")
	return nil
}
