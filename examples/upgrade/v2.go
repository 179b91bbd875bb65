package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/shmkit/shm/shmchan"
)

// A Tick2 is the message of version 2: it has grown. Its layout is another one, so
// it needs a channel of its own.
type Tick2 struct {
	ID    uint64
	Sent  uint32
	Venue uint32
}

// name2 is the channel of version 2. Put the version of the type into the name:
// old and new programs then never meet in one channel, and can run side by side.
func name2(name string) string { return name + "-v2" }

// send2 is the sender of the new type.
func send2(ctx context.Context, name string, from uint64) error {
	tx, err := shmchan.OpenSender[Tick2](name2(name))
	if err != nil {
		return err
	}
	for i := from; i < from+*each; i++ {
		if err := tx.Send(ctx, Tick2{ID: i, Sent: 4, Venue: 7}); err != nil {
			return errors.Join(err, tx.Close())
		}
	}
	return tx.Close()
}

// switched is the story of a change of type: drain and switch. A receiver of both
// versions drains the old channel to its end (io.EOF), and then takes the new one.
func switched(ctx context.Context, name string, next uint64) error {
	old, err := start(ctx, name, 1, "send", fmt.Sprint(next), "close")
	if err != nil {
		return err
	}
	// The new sender need not wait for the old one: its channel holds what it sends.
	fresh, err := start(ctx, name, 4, "send2", fmt.Sprint(next+*each))
	if err != nil {
		return err
	}
	rx, err := shmchan.OpenReceiver[Tick](name)
	if err != nil {
		return err
	}
	// A program of version 2 that opens the old name by mistake is told, with both
	// layouts, and disturbs nobody.
	if _, err := shmchan.OpenSender[Tick2](name); !errors.Is(err, shmchan.ErrMismatch) && !errors.Is(err, shmchan.ErrClosed) {
		return fmt.Errorf("the old channel took the new type: %v", err)
	}
	for t, err := range rx.All(ctx) {
		if err == nil && t.ID != next {
			err = fmt.Errorf("got tick %d, want %d", t.ID, next)
		}
		if err != nil {
			return errors.Join(err, rx.Close())
		}
		next++
	}
	if err := errors.Join(rx.Close(), old.Wait()); err != nil {
		return err
	}
	drained := next
	rx2, err := shmchan.OpenReceiver[Tick2](name2(name))
	if err != nil {
		return err
	}
	for t, err := range rx2.All(ctx) {
		if err == nil && t.ID != next {
			err = fmt.Errorf("got tick %d of version 2, want %d", t.ID, next)
		}
		if err != nil {
			return errors.Join(err, rx2.Close())
		}
		next++
	}
	if err := errors.Join(rx2.Close(), fresh.Wait()); err != nil {
		return err
	}
	fmt.Printf("drained version 1 up to tick %d and switched: version 2 went on to tick %d\n", drained-1, next-1)
	return nil
}
