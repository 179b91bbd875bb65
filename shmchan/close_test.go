package shmchan_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
)

func TestCloseBySender(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		ctx := within(t)
		for _, left := range []int{0, 1, 3, 4} {
			tx, rx := pair[int](t, o.cap(4))
			for i := range left {
				must(t, tx.TrySend(i))
			}
			must(t, tx.Close())
			must(t, tx.Close())
			must(t, tx.Detach())
			if rx.Len() != left {
				t.Fatal(rx.Len())
			}
			for i := range left {
				if v, err := rx.Recv(ctx); v != i || err != nil {
					t.Fatal(v, err)
				}
			}
			for range 3 {
				if v, err := rx.Recv(ctx); v != 0 || err != io.EOF {
					t.Fatal(v, err)
				}
				if v, err := rx.TryRecv(); v != 0 || err != io.EOF {
					t.Fatal(v, err)
				}
				if k, err := rx.RecvBatch(ctx, make([]int, 2)); k != 0 || err != io.EOF {
					t.Fatal(k, err)
				}
				if p, err := rx.Peek(ctx); p != nil || err != io.EOF {
					t.Fatal(p, err)
				}
			}
			for range rx.All(ctx) {
				t.Fatal("All yields after the end")
			}
			for v := range rx.Chan(ctx) {
				t.Fatal("Chan delivers after the end", v)
			}
			must(t, rx.Err())
			wantErr(t, rx.WaitPeer(ctx), shmchan.ErrClosed)
			must(t, rx.Close())
		}
	})
}

func TestCloseByReceiver(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		ctx := within(t)
		for _, left := range []int{0, 1, 4} {
			tx, rx := pair[int](t, o.cap(4))
			for i := range left {
				must(t, tx.TrySend(i))
			}
			must(t, rx.Close())
			must(t, rx.Close())
			for range 10 { // more than there is room for
				wantErr(t, tx.TrySend(1), shmchan.ErrClosed)
				wantErr(t, tx.Send(ctx, 1), shmchan.ErrClosed)
				if k, err := tx.SendBatch(ctx, []int{1, 2}); k != 0 || !errors.Is(err, shmchan.ErrClosed) {
					t.Fatal(k, err)
				}
				if _, err := tx.Reserve(ctx); err == nil {
					err = tx.Commit()
					wantErr(t, err, shmchan.ErrClosed)
				} else {
					wantErr(t, err, shmchan.ErrClosed)
				}
			}
			wantErr(t, tx.WaitPeer(ctx), shmchan.ErrClosed)
			must(t, tx.Close())
		}
	})
}

// What was in place at the receiver's Close is not sent either.
func TestCommitAfterReceiversClose(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		tx, rx := pair[int](t, o)
		p, err := tx.Reserve(bg)
		must(t, err)
		*p = 1
		must(t, rx.Close())
		wantErr(t, tx.Commit(), shmchan.ErrClosed)
		wantErr(t, tx.Commit(), errInvalid)
	})
}

func TestUseAfterClose(t *testing.T) {
	ends := map[string]func(tx *shmchan.Sender[int], rx *shmchan.Receiver[int]) (error, error){
		"Close": func(tx *shmchan.Sender[int], rx *shmchan.Receiver[int]) (error, error) { return tx.Close(), rx.Close() },
		"Detach": func(tx *shmchan.Sender[int], rx *shmchan.Receiver[int]) (error, error) {
			return tx.Detach(), rx.Detach()
		},
	}
	onEach(t, func(t *testing.T, o options) {
		for name, end := range ends {
			t.Run(name, func(t *testing.T) {
				ctx := within(t)
				tx, rx := pair[int](t, o)
				must(t, tx.TrySend(1))
				e1, e2 := end(tx, rx)
				must(t, e1)
				must(t, e2)

				refused := map[string]error{
					"TrySend":             tx.TrySend(1),
					"Send":                tx.Send(ctx, 1),
					"Commit":              tx.Commit(),
					"Release":             rx.Release(),
					"sender's WaitPeer":   tx.WaitPeer(ctx),
					"receiver's WaitPeer": rx.WaitPeer(ctx),
				}
				_, refused["SendBatch"] = tx.SendBatch(ctx, []int{1})
				_, refused["empty SendBatch"] = tx.SendBatch(ctx, nil)
				_, refused["Reserve"] = tx.Reserve(ctx)
				_, refused["TryRecv"] = rx.TryRecv()
				_, refused["Recv"] = rx.Recv(ctx)
				_, refused["RecvBatch"] = rx.RecvBatch(ctx, make([]int, 1))
				_, refused["Peek"] = rx.Peek(ctx)
				for _, err := range rx.All(ctx) {
					refused["All"] = err
				}
				for range rx.Chan(ctx) {
				}
				refused["Chan"] = rx.Err()
				if len(o) == 0 { // a heap cannot be handed on, open or not
					_, refused["sender's File"] = tx.File()
					_, refused["receiver's File"] = rx.File()
				}
				for what, err := range refused {
					if !errors.Is(err, shmchan.ErrClosed) {
						t.Errorf("%s: %v", what, err)
					}
				}
				if tx.Len() != 0 || rx.Len() != 0 || tx.Cap() != 1024 || rx.Cap() != 1024 {
					t.Error(tx.Len(), rx.Len(), tx.Cap(), rx.Cap())
				}
				must(t, tx.Close())
				must(t, rx.Close())
			})
		}
	})
}

// blocked are the calls that wait, on an empty channel or on a full one.
var blocked = map[string]func(ctx context.Context, tx *shmchan.Sender[int], rx *shmchan.Receiver[int]) error{
	"Send": func(ctx context.Context, tx *shmchan.Sender[int], _ *shmchan.Receiver[int]) error {
		return tx.Send(ctx, 9)
	},
	"SendBatch": func(ctx context.Context, tx *shmchan.Sender[int], _ *shmchan.Receiver[int]) error {
		_, err := tx.SendBatch(ctx, []int{9, 9})
		return err
	},
	"Reserve": func(ctx context.Context, tx *shmchan.Sender[int], _ *shmchan.Receiver[int]) error {
		_, err := tx.Reserve(ctx)
		return err
	},
	"Recv": func(ctx context.Context, _ *shmchan.Sender[int], rx *shmchan.Receiver[int]) error {
		_, err := rx.Recv(ctx)
		return err
	},
	"RecvBatch": func(ctx context.Context, _ *shmchan.Sender[int], rx *shmchan.Receiver[int]) error {
		_, err := rx.RecvBatch(ctx, make([]int, 2))
		return err
	},
	"Peek": func(ctx context.Context, _ *shmchan.Sender[int], rx *shmchan.Receiver[int]) error {
		_, err := rx.Peek(ctx)
		return err
	},
	"All": func(ctx context.Context, _ *shmchan.Sender[int], rx *shmchan.Receiver[int]) (err error) {
		for _, err = range rx.All(ctx) {
		}
		return err
	},
	"Chan": func(ctx context.Context, _ *shmchan.Sender[int], rx *shmchan.Receiver[int]) error {
		for range rx.Chan(ctx) {
		}
		return rx.Err()
	},
}

func isSend(call string) bool { return call == "Send" || call == "SendBatch" || call == "Reserve" }

// blockOn makes the channel full, for those calls that wait on a full one.
func blockOn(t *testing.T, call string, o options) (*shmchan.Sender[int], *shmchan.Receiver[int]) {
	tx, rx := pair[int](t, o.cap(1))
	if isSend(call) {
		must(t, tx.TrySend(1))
	}
	return tx, rx
}

// doze is a moment that differs from round to round, for calls to get to
// different places. Every one is right.
func doze() { time.Sleep(time.Duration(rand.N(400)) * time.Microsecond) }

func TestOwnCloseEndsABlockedCall(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		for name, call := range blocked {
			for round := range n(20) {
				tx, rx := blockOn(t, name, o)
				done := goes(func() error { return call(bg, tx, rx) })
				doze()
				var own interface {
					Close() error
					Detach() error
				} = rx
				if isSend(name) {
					own = tx
				}
				if round%2 == 0 {
					must(t, own.Close())
				} else {
					must(t, own.Detach())
				}
				wantErr(t, result(t, done), shmchan.ErrClosed)
				must(t, tx.Close())
				must(t, rx.Close())
			}
		}
	})
}

func TestPeersCloseEndsABlockedCall(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		for name, call := range blocked {
			for range n(20) {
				tx, rx := blockOn(t, name, o)
				done := goes(func() error { return call(bg, tx, rx) })
				doze()
				if isSend(name) {
					must(t, rx.Close())
					wantErr(t, result(t, done), shmchan.ErrClosed)
				} else {
					must(t, tx.Close())
					err := result(t, done)
					if end := name == "All" || name == "Chan"; end && err != nil || !end && err != io.EOF {
						t.Fatal(name, err)
					}
				}
				must(t, tx.Close())
				must(t, rx.Close())
			}
		}
	})
}

// Of many goroutines that close at the same time, all return nil, and the
// blocked call ends once.
func TestCloseFromManyGoroutines(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		for range n(30) {
			tx, rx := pair[int](t, o.cap(1))
			recv := goes(func() error { _, err := rx.Recv(bg); return err })
			wait := goes(func() error { return rx.WaitPeer(bg) })
			var done []<-chan error
			for range 4 {
				done = append(done, goes(rx.Close), goes(func() error {
					rx.Len()
					rx.Cap()
					rx.Ready()
					return nil
				}))
			}
			for _, d := range done {
				must(t, result(t, d))
			}
			wantErr(t, result(t, recv), shmchan.ErrClosed)
			if err := result(t, wait); err != nil {
				wantErr(t, err, shmchan.ErrClosed)
			}
			must(t, tx.Close())
		}
	})
}

func TestCloseWithinARangeLoop(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		tx, rx := pair[int](t, o)
		must(t, tx.TrySend(1))
		must(t, tx.TrySend(2))
		var got []int
		var last error
		for v, err := range rx.All(within(t)) {
			if err != nil {
				last = err
				break
			}
			got = append(got, v)
			must(t, rx.Close())
		}
		wantErr(t, last, shmchan.ErrClosed)
		if len(got) != 1 || got[0] != 1 {
			t.Fatal(got)
		}
	})
}

func TestCloseEndsABlockedWaitPeer(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		for round := range n(20) {
			tx, rx := pair[int](t, o)
			must(t, rx.Detach()) // so there is nobody
			var done []<-chan error
			for range 3 {
				done = append(done, goes(func() error { return tx.WaitPeer(bg) }))
			}
			doze()
			if round%2 == 0 {
				must(t, tx.Close())
			} else {
				must(t, tx.Detach())
			}
			for _, d := range done {
				wantErr(t, result(t, d), shmchan.ErrClosed)
			}
		}
	})
}
