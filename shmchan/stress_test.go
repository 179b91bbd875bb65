package shmchan_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/shmkit/shm/shmchan"
)

// A record tells whether it arrived whole.
type record struct {
	Seq   uint64
	Body  [4]uint64
	Check uint64
}

func recordOf(seq uint64) record {
	r := record{Seq: seq}
	x := seq
	for i := range r.Body {
		x = x*6364136223846793005 + 1442695040888963407
		r.Body[i] = x
		r.Check ^= x
	}
	r.Check += seq
	return r
}

func (r *record) check(want uint64) error {
	if *r != recordOf(want) {
		return fmt.Errorf("got record %+v, want number %d", *r, want)
	}
	return nil
}

// sendRecords sends [from, to) by every way there is to send.
func sendRecords(ctx context.Context, tx *shmchan.Sender[record], rnd *rand.Rand, from, to uint64) error {
	for i := from; i < to; {
		switch rnd.IntN(5) {
		case 0:
			if err := tx.Send(ctx, recordOf(i)); err != nil {
				return err
			}
			i++
		case 1:
			err := tx.TrySend(recordOf(i))
			if errors.Is(err, shmchan.ErrFull) {
				continue
			}
			if err != nil {
				return err
			}
			i++
		case 2:
			vs := make([]record, rnd.IntN(20))
			vs = vs[:min(uint64(len(vs)), to-i)]
			for k := range vs {
				vs[k] = recordOf(i + uint64(k))
			}
			k, err := tx.SendBatch(ctx, vs)
			if err != nil {
				return err
			}
			if k != len(vs) {
				return fmt.Errorf("SendBatch sent %d of %d", k, len(vs))
			}
			i += uint64(k)
		case 3:
			p, err := tx.Reserve(ctx)
			if err != nil {
				return err
			}
			*p = recordOf(i)
			if err := tx.Commit(); err != nil {
				return err
			}
			i++
		case 4:
			select {
			case <-tx.Ready():
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// recvRecords takes [from, to) by every way there is to receive.
func recvRecords(ctx context.Context, rx *shmchan.Receiver[record], rnd *rand.Rand, from, to uint64) error {
	for i := from; i < to; {
		switch rnd.IntN(6) {
		case 0:
			r, err := rx.Recv(ctx)
			if err == nil {
				err = r.check(i)
			}
			if err != nil {
				return err
			}
			i++
		case 1:
			r, err := rx.TryRecv()
			if errors.Is(err, shmchan.ErrEmpty) {
				continue
			}
			if err == nil {
				err = r.check(i)
			}
			if err != nil {
				return err
			}
			i++
		case 2:
			buf := make([]record, min(uint64(1+rnd.IntN(20)), to-i))
			k, err := rx.RecvBatch(ctx, buf)
			if err != nil {
				return err
			}
			if k == 0 {
				return errors.New("RecvBatch gave nothing")
			}
			for _, r := range buf[:k] {
				if err := r.check(i); err != nil {
					return err
				}
				i++
			}
		case 3:
			r, err := rx.Peek(ctx)
			if err == nil {
				err = r.check(i)
			}
			if err == nil {
				err = rx.Release()
			}
			if err != nil {
				return err
			}
			i++
		case 4:
			select {
			case <-rx.Ready():
			case <-ctx.Done():
				return ctx.Err()
			}
		case 5:
			left := min(to-i, rnd.Uint64N(8))
			if left == 0 {
				continue
			}
			for r, err := range rx.All(ctx) {
				if err == nil {
					err = r.check(i)
				}
				if err != nil {
					return err
				}
				i++
				if left--; left == 0 {
					break
				}
			}
		}
	}
	return nil
}

func TestProducerConsumerStress(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		for _, c := range []int{1, 4, 256} {
			seed := rand.Uint64()
			t.Logf("capacity %d: seed %d", c, seed)
			ctx := within(t)
			tx, rx := pair[record](t, o.cap(c))
			last := uint64(n(10000))
			sent := goes(func() error {
				if err := sendRecords(ctx, tx, rand.New(rand.NewPCG(seed, 1)), 0, last); err != nil {
					return err
				}
				return tx.Close()
			})
			must(t, recvRecords(ctx, rx, rand.New(rand.NewPCG(seed, 2)), 0, last))
			if _, err := rx.Recv(ctx); err != io.EOF {
				t.Fatal(err)
			}
			must(t, result(t, sent))
		}
	})
}

// A token goes back and forth through a ring of channels: every hand-over
// parks or spins.
func TestPingPong(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		ctx := within(t)
		there, a := pair[int](t, o.cap(1))
		back, b := pair[int](t, o.cap(1))
		echo := goes(func() error {
			defer back.Close()
			for v, err := range a.All(ctx) {
				if err != nil {
					return err
				}
				if err := back.Send(ctx, v+1); err != nil {
					return err
				}
			}
			return nil
		})
		for i := range n(2000) {
			must(t, there.Send(ctx, i))
			if v, err := b.Recv(ctx); v != i+1 || err != nil {
				t.Fatal(v, err)
			}
		}
		must(t, there.Close())
		must(t, result(t, echo))
	})
}
