package shmchan_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// Not one allocation for many messages, in this process, which has both sides.
// The first time that an endpoint parks with a context is not for free, and what
// others do meanwhile, such as what earlier tests have left to the watch, counts
// too: so one turn of a few has to be clean.
func TestBufIntoAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race runtime allocates")
	}
	const messages = 100_000
	for _, size := range []int{8, 64, 4 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			onBufs(t, func(t *testing.T, kind []shmchan.Option) {
				tx, rx := bufPair(t, kind, []slabpool.Class{{Size: size, Count: 8}})
				defer debug.SetGCPercent(debug.SetGCPercent(-1))
				ctx, cancel := context.WithCancel(bg)
				defer cancel()
				var got uint64
				for range 10 {
					if got = mallocs(ctx, t, tx, rx, size, messages); got == 0 {
						return
					}
				}
				t.Errorf("%d allocations for %d messages", got, messages)
			})
		})
	}
}

// mallocs returns how many allocations n messages take, from a goroutine to
// another.
func mallocs(ctx context.Context, t *testing.T, tx *shmchan.BufSender, rx *shmchan.BufReceiver, size, n int) uint64 {
	out, in := new(shmchan.Buf), new(shmchan.Buf)
	send := func(n int) error {
		for i := range n {
			if err := tx.LoanInto(ctx, size, out); err != nil {
				return err
			}
			out.Bytes()[0] = byte(i)
			if err := tx.Send(ctx, out); err != nil {
				return err
			}
		}
		return nil
	}
	recv := func(n int) error {
		for i := range n {
			if err := rx.RecvInto(ctx, in); err != nil {
				return err
			}
			if b := in.Bytes(); len(b) != size || b[0] != byte(i) {
				return fmt.Errorf("message %d: %d bytes, the first is %d", i, len(b), b[0])
			}
			if err := in.Release(); err != nil {
				return err
			}
		}
		return nil
	}
	begin, sent := make(chan int), make(chan error)
	defer close(begin)
	go func() {
		for n := range begin {
			sent <- send(n)
		}
	}()
	var before, after runtime.MemStats
	for _, turn := range []int{1000, n} { // the goroutine has begun after the first
		runtime.ReadMemStats(&before)
		begin <- turn
		must(t, recv(turn))
		must(t, <-sent)
		runtime.ReadMemStats(&after)
	}
	return after.Mallocs - before.Mallocs
}

func TestBufIntoZeroBuf(t *testing.T) {
	var b shmchan.Buf
	if b.Bytes() != nil || b.Len() != 0 || b.Cap() != 0 {
		t.Error("the zero Buf has bytes")
	}
	wantIs(t, b.Release(), shmchan.ErrStaleHandle)
	wantIs(t, b.Retain(), shmchan.ErrStaleHandle)
	wantIs(t, b.SetLen(0), shmchan.ErrStaleHandle)
	_, err := b.Write(nil)
	wantIs(t, err, shmchan.ErrStaleHandle)
	tx, rx := bufPair(t, []shmchan.Option{shmchan.WithHeap()}, few)
	wantIs(t, tx.Send(bg, &b), shmchan.ErrStaleHandle)
	wantIs(t, tx.TrySend(&b), shmchan.ErrStaleHandle)
	for _, err := range []error{tx.LoanInto(bg, 8, nil), tx.TryLoanInto(8, nil), rx.RecvInto(bg, nil), rx.TryRecvInto(nil)} {
		wantIs(t, err, fs.ErrInvalid)
	}
}

// A Buf of the caller's goes from endpoint to endpoint, and keeps what it holds.
func TestBufInto(t *testing.T) {
	onBufs(t, func(t *testing.T, kind []shmchan.Option) {
		for _, n := range []int{10, 100} {
			tx, rx := bufPair(t, kind, few, shmchan.WithCapacity(1))
			other, elsewhere := bufPair(t, kind, few)
			busy := func(b *shmchan.Buf, want byte) {
				t.Helper()
				wantIs(t, tx.LoanInto(bg, n, b), shmchan.ErrBusy)
				wantIs(t, other.TryLoanInto(n, b), shmchan.ErrBusy)
				wantIs(t, rx.RecvInto(bg, b), shmchan.ErrBusy)
				wantIs(t, elsewhere.TryRecvInto(b), shmchan.ErrBusy)
				if b.Len() != n || b.Bytes()[n-1] != want {
					t.Fatalf("%d bytes, %d", b.Len(), b.Bytes()[n-1])
				}
			}
			b := new(shmchan.Buf)
			for turn := range byte(4) {
				must(t, tx.LoanInto(bg, n, b))
				b.Bytes()[n-1] = turn
				busy(b, turn)
				wantIs(t, other.Send(bg, b), fs.ErrInvalid)
				must(t, b.Retain())
				wantIs(t, tx.TrySend(b), shmchan.ErrBusy)
				must(t, b.Release())
				must(t, tx.Send(bg, b))
				wantIs(t, b.Release(), shmchan.ErrStaleHandle)
				must(t, rx.RecvInto(bg, b))
				busy(b, turn)
				must(t, b.Retain())
				must(t, b.Release())
				busy(b, turn)
				must(t, b.Release())
				wantIs(t, b.Release(), shmchan.ErrStaleHandle)

				must(t, other.TryLoanInto(n, b))
				b.Bytes()[n-1] = turn
				must(t, other.TrySend(b))
				must(t, elsewhere.TryRecvInto(b))
				must(t, b.Release())
			}
			// An error leaves it stale, and good for the next message.
			wantIs(t, rx.TryRecvInto(b), shmchan.ErrEmpty)
			wantIs(t, rx.RecvInto(cancelled(), b), context.Canceled)
			wantIs(t, tx.LoanInto(bg, 5000, b), shmchan.ErrTooLarge)
			wantIs(t, b.Release(), shmchan.ErrStaleHandle)
			// One from Loan will do too, and one that is held outlives its endpoint.
			b, err := tx.Loan(bg, n)
			must(t, err)
			must(t, tx.Send(bg, b))
			must(t, rx.RecvInto(bg, b))
			must(t, rx.Close())
			wantIs(t, tx.LoanInto(bg, n, b), shmchan.ErrBusy)
			must(t, b.Release())
			wantIs(t, tx.LoanInto(bg, n, b), shmchan.ErrClosed)
			must(t, other.LoanInto(bg, n, b))
			must(t, b.Release())
		}
	})
}

// A copy of a Buf that holds a message is stale, and what it was made of is as it
// was.
func TestBufCopy(t *testing.T) {
	tx, _ := bufPair(t, []shmchan.Option{shmchan.WithHeap()}, few)
	for _, n := range []int{10, 100} {
		all := make([]shmchan.Buf, 1)
		must(t, tx.LoanInto(bg, n, &all[0]))
		b := &all[0]
		c := &append(all, shmchan.Buf{})[0]
		if c == b || c.Bytes() != nil {
			t.Fatal("a copy has bytes")
		}
		wantIs(t, c.Release(), shmchan.ErrStaleHandle)
		wantIs(t, tx.Send(bg, c), shmchan.ErrStaleHandle)
		wantIs(t, tx.LoanInto(bg, n, c), shmchan.ErrBusy)
		must(t, b.Release())
	}
	for _, s := range tx.Stats() {
		if s.InUse != 0 {
			t.Errorf("%v", s)
		}
	}
}

// Others end their holds of a message while the owner of the Buf wants the next
// one in it: he is told ErrBusy until the last has ended.
func TestBufIntoBesideRelease(t *testing.T) {
	onBufs(t, func(t *testing.T, kind []shmchan.Option) {
		tx, rx := bufPair(t, kind, []slabpool.Class{{Size: 100, Count: 3}})
		const others = 2
		work, done := make(chan *shmchan.Buf), make(chan error)
		for range others {
			go func() {
				for b := range work {
					v := b.Bytes()
					first, last := v[0], v[len(v)-1]
					err := b.Release()
					if err == nil && first != last {
						err = fmt.Errorf("a message begins with %d and ends with %d", first, last)
					}
					done <- err
				}
			}()
		}
		defer close(work)
		in, out := new(shmchan.Buf), new(shmchan.Buf)
		for i := range n(30_000) {
			size := 100 - i%2*60
			must(t, tx.LoanInto(bg, size, out))
			for k := range out.Bytes() {
				out.Bytes()[k] = byte(i)
			}
			must(t, tx.Send(bg, out))
			err := rx.TryRecvInto(in)
			for ; errors.Is(err, shmchan.ErrBusy); err = rx.TryRecvInto(in) {
				runtime.Gosched()
			}
			must(t, err)
			if i > 0 {
				for range others {
					must(t, <-done)
				}
			}
			if v := in.Bytes(); len(v) != size || v[0] != byte(i) || v[size-1] != byte(i) {
				t.Fatalf("message %d: %d bytes, %d to %d", i, len(v), v[0], v[len(v)-1])
			}
			for range others {
				must(t, in.Retain())
			}
			for range others {
				work <- in
			}
			must(t, in.Release())
		}
		for range others {
			must(t, <-done)
		}
		if s := tx.Stats()[0]; s.InUse != 0 {
			t.Errorf("%v", s)
		}
	})
}

// A Buf of the program's that is stale keeps no endpoint that was dropped: its
// peer is told.
func TestBufStaleKeepsNoEndpoint(t *testing.T) {
	var b shmchan.Buf
	tx, rx, err := shmchan.BufPair(shmchan.WithHeap(), shmchan.WithPool(few...))
	must(t, err)
	defer tx.Close()
	must(t, tx.LoanInto(bg, 100, &b))
	must(t, tx.Send(bg, &b))
	must(t, rx.RecvInto(bg, &b))
	must(t, b.Release())
	rx = nil
	until(t, "the sender is told of the receiver that was dropped", func() bool {
		runtime.GC()
		ctx, cancel := context.WithTimeout(bg, 0)
		defer cancel()
		var full shmchan.Buf
		err := tx.LoanInto(ctx, 8, &full)
		for err == nil {
			if err = tx.Send(ctx, &full); err == nil {
				err = tx.LoanInto(ctx, 8, &full)
			}
		}
		full.Release()
		return errors.Is(err, shmchan.ErrPeerDied)
	})
	runtime.KeepAlive(&b)
}
