//go:build modelcheck

package shmchan

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/slabpool"
	"github.com/shmkit/shm/waiter"
)

// stoppedReceiver: the receiver stops for ever as it gives a block back, say
// between lowering the sender's flag and the wake. It is not dead, and nobody
// sweeps. Another goroutine of the sender releases a loan, which the one in Loan
// must get. limit is how long that one parks at a time.
func stoppedReceiver(limit time.Duration) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		x := newBufWorld(w, 1, 2)
		ev := modelcheck.Alloc[waiter.Event](w, "sender sleeps")
		seat := func(role int) *slabpool.Raw {
			p, err := slabpool.Attach(unsafe.Pointer(&x.mem[0]), uintptr(len(x.mem)), x.pool, slabpool.Seat{Owner: role, Event: ev})
			check(err)
			return p
		}
		tx, rx := seat(roleSender), seat(roleReceiver)
		sleep := waiter.NewSleeper(ev, waiter.Park)
		a, err := rx.TryAlloc(modelSize)
		check(err)
		b, err := tx.TryAlloc(modelSize)
		check(err)
		w.Go("receiver", func() { rx.Free(a) })
		w.Go("other", func() { check(tx.Free(b)) })
		w.Go("sender", func() {
			_, err := tx.TryAlloc(modelSize)
			for err != nil {
				check(sleep.WaitWith(context.Background(), limit, false, func() bool {
					_, err = tx.Retry(modelSize)
					return err == nil
				}))
			}
		})
	}
}

func TestModelStoppedReceiver(t *testing.T) {
	s := suite.New(t)
	for _, m := range suite.Models {
		cfg := modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(2_000, 50_000)} // for each step
		s.Sweep("a Loan beside a stopped receiver", cfg, "receiver", stoppedReceiver(waiter.LongestPark))
	}
	s.SweepBug("a Loan that parks without a limit", modelcheck.Config{MaxExecutions: 20_000}, "receiver", stoppedReceiver(-1), modelcheck.Deadlock, 426)
}
