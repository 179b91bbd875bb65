package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/shmkit/shm/shmchan"
)

// recv is the other side. It ends when the sender has closed.
func recv(ctx context.Context, name string) (err error) {
	rx, err := shmchan.OpenReceiver[Quote](name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rx.Close()) }()
	var n uint64
	var cents int64
	for q, err := range rx.All(ctx) {
		if err != nil {
			return fmt.Errorf("after %d quotes: %w", n, err)
		}
		if q.ID != n {
			return fmt.Errorf("got quote %d, want %d", q.ID, n)
		}
		n++
		cents += q.Cents
	}
	fmt.Printf("received %d quotes, %d cents in all\n", n, cents)
	return nil
}
