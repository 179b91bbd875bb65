package shmchan_test

import (
	"context"
	"errors"
	"testing"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// generate sends 2, 3, 4, ... until nobody wants more.
func generate(ctx context.Context, tx *shmchan.Sender[int]) error {
	defer tx.Close()
	for i := 2; ; i++ {
		if err := tx.Send(ctx, i); err != nil {
			return err
		}
	}
}

// filter hands on what prime does not divide.
func filter(ctx context.Context, rx *shmchan.Receiver[int], tx *shmchan.Sender[int], prime int) error {
	defer tx.Close()
	defer rx.Close()
	for v, err := range rx.All(ctx) {
		if err != nil {
			return err
		}
		if v%prime != 0 {
			if err := tx.Send(ctx, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// The concurrent prime sieve of Go's test/chan. It ends by the last channel
// being closed, from which the end travels backwards through all filters.
func TestPrimeSieve(t *testing.T) {
	primes := func(yield func(int)) {
		for i, found := 2, []int{}; len(found) < n(60)+10; i++ {
			prime := true
			for _, p := range found {
				prime = prime && i%p != 0
			}
			if prime {
				found = append(found, i)
				yield(i)
			}
		}
	}
	onEach(t, func(t *testing.T, o options) {
		for _, p := range []waiter.Policy{waiter.Adaptive, waiter.Park} {
			t.Run(p.String(), func(t *testing.T) {
				ctx := within(t)
				o := o.with(shmchan.WithWait(p)).cap(16)
				var filters []<-chan error
				tx, rx := pair[int](t, o)
				filters = append(filters, goes(func() error { return generate(ctx, tx) }))
				primes(func(want int) {
					prime, err := rx.Recv(ctx)
					if err != nil || prime != want {
						t.Fatal(prime, err, want)
					}
					in := rx
					out, next := pair[int](t, o)
					filters = append(filters, goes(func() error { return filter(ctx, in, out, prime) }))
					rx = next
				})
				must(t, rx.Close())
				for _, f := range filters {
					if err := result(t, f); !errors.Is(err, shmchan.ErrClosed) {
						t.Fatal(err)
					}
				}
			})
		}
	})
}
