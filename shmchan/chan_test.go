package shmchan_test

import (
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// The scenarios here are those by which Go tests its own channels.

func TestMessagesComeInOrder(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		for _, c := range []int{1, 2, 8, 64} {
			ctx := within(t)
			tx, rx := pair[int](t, o.cap(c))
			sent := goes(func() error {
				for i := range n(2000) {
					if err := tx.Send(ctx, i); err != nil {
						return err
					}
				}
				return tx.Close()
			})
			for i := range n(2000) {
				if v, err := rx.Recv(ctx); v != i || err != nil {
					t.Fatalf("capacity %d: message %d: %d, %v", c, i, v, err)
				}
			}
			if _, err := rx.Recv(ctx); err != io.EOF {
				t.Fatal(err)
			}
			must(t, result(t, sent))
		}
	})
}

func TestCapacityIsExact(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		for asked, want := range map[int]int{1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 8: 8, 1000: 1024, 1024: 1024, 1025: 2048} {
			tx, rx := pair[int32](t, o.cap(asked))
			if tx.Cap() != want || rx.Cap() != want {
				t.Fatalf("asked for %d: Cap %d and %d, want %d", asked, tx.Cap(), rx.Cap(), want)
			}
			in, out := int32(0), int32(0)
			for range want {
				must(t, tx.TrySend(in))
				in++
			}
			for lap := range 3*want + 1 {
				wantErr(t, tx.TrySend(-1), shmchan.ErrFull)
				if tx.Len() != want || rx.Len() != want {
					t.Fatal(tx.Len(), rx.Len())
				}
				v, err := rx.TryRecv()
				if v != out || err != nil {
					t.Fatalf("lap %d: got %d, %v, want %d", lap, v, err, out)
				}
				out++
				if tx.Len() != want-1 || rx.Len() != want-1 {
					t.Fatal(tx.Len(), rx.Len())
				}
				must(t, tx.TrySend(in)) // at once
				in++
			}
			for range want {
				if v, err := rx.TryRecv(); v != out || err != nil {
					t.Fatal(v, err, out)
				}
				out++
			}
			_, err := rx.TryRecv()
			wantErr(t, err, shmchan.ErrEmpty)
		}
	})
}

func TestDefaultCapacity(t *testing.T) {
	tx, rx := pair[byte](t, options{shmchan.WithHeap()})
	if tx.Cap() != 1024 || rx.Cap() != 1024 {
		t.Fatal(tx.Cap(), rx.Cap())
	}
}

func TestRecvWaitsForSend(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		ctx := within(t)
		tx, rx := pair[int](t, o.cap(1))
		var back atomic.Bool
		got := make(chan int, 1)
		done := goes(func() error {
			v, err := rx.Recv(ctx)
			back.Store(true)
			got <- v
			return err
		})
		time.Sleep(5 * time.Millisecond)
		if back.Load() {
			t.Fatal("Recv of an empty channel came back")
		}
		must(t, tx.Send(ctx, 7))
		must(t, result(t, done))
		if v := <-got; v != 7 {
			t.Fatal(v)
		}
	})
}

func TestSendWaitsForRecv(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		ctx := within(t)
		tx, rx := pair[int](t, o.cap(1))
		must(t, tx.Send(ctx, 1))
		var back atomic.Bool
		done := goes(func() error {
			err := tx.Send(ctx, 2)
			back.Store(true)
			return err
		})
		time.Sleep(5 * time.Millisecond)
		if back.Load() {
			t.Fatal("Send on a full channel came back")
		}
		for want := 1; want <= 2; want++ {
			if v, err := rx.Recv(ctx); v != want || err != nil {
				t.Fatal(v, err)
			}
		}
		must(t, result(t, done))
	})
}

// A message that was there before the close is never hidden by it.
func TestTryRecvBesideClose(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		for range n(300) {
			tx, rx := pair[int](t, o.cap(1))
			must(t, tx.TrySend(1))
			closed := goes(tx.Close)
			if v, err := rx.TryRecv(); v != 1 || err != nil {
				t.Fatal(v, err)
			}
			must(t, result(t, closed))
			if _, err := rx.TryRecv(); err != io.EOF {
				t.Fatal(err)
			}
			must(t, rx.Close())
		}
	})
}

// A receive beside a Send followed by Close sees the message, then the end,
// and nothing else that is final.
func TestTheEndComesLast(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		ctx := within(t)
		for i := range n(300) {
			tx, rx := pair[int](t, o)
			sent := goes(func() error {
				if err := tx.Send(ctx, i); err != nil {
					return err
				}
				return tx.Close()
			})
			if v, err := rx.Recv(ctx); v != i || err != nil {
				t.Fatal(v, err)
			}
			if _, err := rx.Recv(ctx); err != io.EOF {
				t.Fatal(err)
			}
			must(t, result(t, sent))
			must(t, rx.Close())
		}
	})
}

// Many pairs at once do not disturb each other.
func TestManyChannels(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		ctx := within(t)
		const channels = 20
		var done [channels]<-chan error
		for i := range channels {
			tx, rx := pair[int](t, o.cap(4))
			done[i] = goes(func() error {
				for v, err := range rx.All(ctx) {
					if err != nil {
						return err
					}
					if v%channels != i {
						return fmt.Errorf("channel %d got %d", i, v)
					}
				}
				return nil
			})
			go func() {
				defer tx.Close()
				for k := range n(500) {
					if err := tx.Send(ctx, k*channels+i); err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		for _, d := range done {
			must(t, result(t, d))
		}
	})
}
