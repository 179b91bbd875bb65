package shmchan_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// onBufs runs f on each kind of memory.
func onBufs(t *testing.T, f func(t *testing.T, heap []shmchan.Option)) {
	t.Run("heap", func(t *testing.T) { f(t, []shmchan.Option{shmchan.WithHeap()}) })
	if !raceEnabled {
		t.Run("memfd", func(t *testing.T) { f(t, nil) })
	}
}

func bufPair(t testing.TB, kind []shmchan.Option, classes []slabpool.Class, opts ...shmchan.Option) (*shmchan.BufSender, *shmchan.BufReceiver) {
	t.Helper()
	tx, rx, err := shmchan.BufPair(append(append(slices.Clone(kind), shmchan.WithPool(classes...)), opts...)...)
	must(t, err)
	t.Cleanup(func() {
		tx.Close()
		rx.Close()
	})
	return tx, rx
}

func wantIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}

var few = []slabpool.Class{{Size: 100, Count: 3}, {Size: 4096, Count: 2}}

func TestBufsOfEverySize(t *testing.T) {
	onBufs(t, func(t *testing.T, kind []shmchan.Option) {
		tx, rx := bufPair(t, kind, few)
		for n := 1; n <= 4096; n += 1 + n/9 {
			b, err := tx.Loan(bg, n)
			must(t, err)
			if b.Len() != n || b.Cap() < n {
				t.Fatalf("asked for %d, got %d with room for %d", n, b.Len(), b.Cap())
			}
			for i := range b.Bytes() {
				b.Bytes()[i] = byte(i * n)
			}
			must(t, tx.Send(bg, b))
			got, err := rx.Recv(bg)
			must(t, err)
			if got.Len() != n {
				t.Fatalf("%d bytes sent, %d received", n, got.Len())
			}
			for i, c := range got.Bytes() {
				if c != byte(i*n) {
					t.Fatalf("byte %d of %d is %d", i, n, c)
				}
			}
			must(t, got.Release())
		}
		for _, s := range tx.Stats() {
			if s.InUse != 0 || s.Free != s.Count {
				t.Errorf("%v", s)
			}
		}
	})
}

func TestBufBadSizes(t *testing.T) {
	tx, _ := bufPair(t, []shmchan.Option{shmchan.WithHeap()}, few)
	for n, want := range map[int]error{0: fs.ErrInvalid, -1: fs.ErrInvalid, 4097: shmchan.ErrTooLarge, 1 << 60: shmchan.ErrTooLarge} {
		_, err := tx.Loan(bg, n)
		wantIs(t, err, want)
		_, err = tx.TryLoan(n)
		wantIs(t, err, want)
	}
	var none context.Context
	_, err := tx.Loan(none, 1)
	wantIs(t, err, fs.ErrInvalid)
	for _, n := range []int{10, 100} {
		b, err := tx.Loan(bg, n)
		must(t, err)
		wantIs(t, b.SetLen(-1), fs.ErrInvalid)
		wantIs(t, b.SetLen(b.Cap()+1), fs.ErrInvalid)
		must(t, b.SetLen(0))
		must(t, b.SetLen(b.Cap()))
		must(t, b.Release())
	}
	_, _, err = shmchan.BufPair(shmchan.WithPool(slabpool.Class{Size: 0, Count: 1}))
	wantIs(t, err, fs.ErrInvalid)
	_, _, err = shmchan.Pair[int](shmchan.WithPool())
	wantIs(t, err, fs.ErrInvalid)
}

// After Send and Release a Buf is stale for every call; nobody sends what is not
// his.
func TestBufUseAfter(t *testing.T) {
	onBufs(t, func(t *testing.T, kind []shmchan.Option) {
		for _, n := range []int{10, 100} {
			tx, rx := bufPair(t, kind, few)
			other, _ := bufPair(t, kind, few)
			stale := func(b *shmchan.Buf) {
				t.Helper()
				wantIs(t, b.Release(), shmchan.ErrStaleHandle)
				wantIs(t, b.Retain(), shmchan.ErrStaleHandle)
				wantIs(t, b.SetLen(1), shmchan.ErrStaleHandle)
				_, err := b.Write([]byte{1})
				wantIs(t, err, shmchan.ErrStaleHandle)
				_, err = b.ReadFrom(strings.NewReader("x"))
				wantIs(t, err, shmchan.ErrStaleHandle)
				_, err = b.WriteTo(io.Discard)
				wantIs(t, err, shmchan.ErrStaleHandle)
				if b.Bytes() != nil || b.Len() != 0 || b.Cap() != 0 {
					t.Error("a stale Buf has bytes")
				}
			}
			b, err := tx.Loan(bg, n)
			must(t, err)
			wantIs(t, other.Send(bg, b), fs.ErrInvalid)
			wantIs(t, tx.Send(bg, nil), fs.ErrInvalid)
			must(t, b.Retain())
			wantIs(t, tx.Send(bg, b), shmchan.ErrBusy)
			must(t, b.Release())
			must(t, tx.Send(bg, b))
			wantIs(t, tx.Send(bg, b), shmchan.ErrStaleHandle)
			wantIs(t, tx.TrySend(b), shmchan.ErrStaleHandle)
			stale(b)
			got, err := rx.Recv(bg)
			must(t, err)
			wantIs(t, tx.Send(bg, got), fs.ErrInvalid)
			must(t, got.Retain())
			must(t, got.Release())
			must(t, got.Release())
			stale(got)
			b, err = tx.Loan(bg, n)
			must(t, err)
			must(t, b.Release())
			stale(b)
			wantIs(t, tx.TrySend(b), shmchan.ErrStaleHandle)
		}
	})
}

func TestBufPoolIsExhausted(t *testing.T) {
	onBufs(t, func(t *testing.T, kind []shmchan.Option) {
		tx, rx := bufPair(t, kind, []slabpool.Class{{Size: 64, Count: 2}})
		for range 2 {
			b, err := tx.TryLoan(60)
			must(t, err)
			must(t, tx.TrySend(b))
		}
		_, err := tx.TryLoan(60)
		wantIs(t, err, shmchan.ErrFull)
		ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
		defer cancel()
		_, err = tx.Loan(ctx, 60)
		wantIs(t, err, context.DeadlineExceeded)
		if s := tx.Stats()[0]; s.Failed == 0 || s.InUse != 2 || s.HighWater != 2 {
			t.Errorf("%v", s)
		}
		got := make(chan error)
		go func() {
			b, err := tx.Loan(bg, 60)
			if err == nil {
				err = b.Release()
			}
			got <- err
		}()
		time.Sleep(5 * time.Millisecond)
		b, err := rx.Recv(bg)
		must(t, err)
		must(t, b.Release())
		select {
		case err := <-got:
			must(t, err)
		case <-time.After(patience):
			t.Fatal("Release did not wake Loan")
		}
	})
}

func TestBufCloseAndDetach(t *testing.T) {
	onBufs(t, func(t *testing.T, kind []shmchan.Option) {
		tx, rx := bufPair(t, kind, few)
		for _, n := range []int{100, 5} {
			b, err := tx.Loan(bg, n)
			must(t, err)
			b.Bytes()[0] = byte(n)
			must(t, tx.Send(bg, b))
		}
		loan, err := tx.Loan(bg, 100)
		must(t, err)
		wantIs(t, tx.Detach(), shmchan.ErrBusy)
		_, err = tx.File()
		wantIs(t, err, shmchan.ErrBusy)
		must(t, tx.Close())
		must(t, tx.Close())
		loan.Bytes()[99] = 1 // still mapped
		wantIs(t, tx.Send(bg, loan), shmchan.ErrClosed)
		_, err = tx.Loan(bg, 1)
		wantIs(t, err, shmchan.ErrClosed)
		must(t, loan.Release())
		if tx.Stats() != nil || tx.Len() != 0 {
			t.Error("a closed sender counts")
		}

		first, err := rx.Recv(bg)
		must(t, err)
		wantIs(t, rx.Detach(), shmchan.ErrBusy)
		second, err := rx.TryRecv()
		must(t, err)
		_, err = rx.Recv(bg)
		wantIs(t, err, io.EOF)
		_, err = rx.TryRecv()
		wantIs(t, err, io.EOF)
		must(t, rx.Close())
		if first.Bytes()[0] != 100 || second.Bytes()[0] != 5 { // still mapped
			t.Error("bytes of a Buf changed with Close")
		}
		must(t, first.Release())
		must(t, second.Release())
		wantIs(t, first.Release(), shmchan.ErrStaleHandle)
	})
}

func TestBufReceiverCloses(t *testing.T) {
	tx, rx := bufPair(t, []shmchan.Option{shmchan.WithHeap()}, few)
	loan, err := tx.Loan(bg, 100)
	must(t, err)
	must(t, rx.Close())
	wantIs(t, tx.Send(bg, loan), shmchan.ErrClosed)
	wantIs(t, tx.TrySend(loan), shmchan.ErrClosed)
	_, err = tx.Loan(bg, 1)
	wantIs(t, err, shmchan.ErrClosed)
	_, err = tx.TryLoan(100)
	wantIs(t, err, shmchan.ErrClosed)
	must(t, loan.Release())
	must(t, tx.Detach())
}

func TestBufAllAndReady(t *testing.T) {
	onBufs(t, func(t *testing.T, kind []shmchan.Option) {
		tx, rx := bufPair(t, kind, few, shmchan.WithCapacity(4))
		if rx.Cap() != 4 || tx.Cap() != 4 {
			t.Errorf("capacity %d", rx.Cap())
		}
		must(t, tx.WaitPeer(bg))
		must(t, rx.WaitPeer(bg))
		go func() {
			for i := range 50 {
				b, err := tx.Loan(bg, 1+i*10)
				if err != nil {
					t.Error(err)
					return
				}
				if err := tx.Send(bg, b); err != nil {
					t.Error(err)
				}
			}
			tx.Close()
		}()
		<-rx.Ready()
		n := 0
		for b, err := range rx.All(bg) {
			must(t, err)
			if b.Len() != 1+n*10 {
				t.Errorf("message %d has %d bytes", n, b.Len())
			}
			must(t, b.Release())
			n++
		}
		if n != 50 {
			t.Errorf("%d messages", n)
		}
	})
}

func TestBufReaderAndWriter(t *testing.T) {
	tx, rx := bufPair(t, []shmchan.Option{shmchan.WithHeap()}, few)
	for _, size := range []int{40, 100} {
		b, err := tx.Loan(bg, size)
		must(t, err)
		room := b.Cap()
		must(t, b.SetLen(0))
		n, err := b.Write([]byte("ab"))
		if n != 2 || err != nil {
			t.Fatal(n, err)
		}
		k, err := b.ReadFrom(strings.NewReader("cdef"))
		if k != 4 || err != nil {
			t.Fatal(k, err)
		}
		k, err = b.ReadFrom(bytes.NewReader(make([]byte, 1000)))
		if int(k) != room-6 {
			t.Fatal(k)
		}
		wantIs(t, err, io.ErrShortBuffer)
		n, err = b.Write([]byte{1})
		if n != 0 || err != io.ErrShortWrite {
			t.Fatal(n, err)
		}
		must(t, b.SetLen(6))
		must(t, tx.Send(bg, b))
		got, err := rx.Recv(bg)
		must(t, err)
		var out bytes.Buffer
		k, err = got.WriteTo(&out)
		if k != 6 || err != nil || out.String() != "abcdef" {
			t.Fatal(k, err, out.String())
		}
		must(t, got.Release())
	}
}

func TestBufAs(t *testing.T) {
	type point struct{ X, Y float64 }
	tx, rx := bufPair(t, []shmchan.Option{shmchan.WithHeap()}, few)
	for _, n := range []int{16, 60} {
		b, err := tx.Loan(bg, n)
		must(t, err)
		p, err := slabpool.As[point](b.Bytes())
		must(t, err)
		p.Y = 2.5
		must(t, tx.Send(bg, b))
		got, err := rx.Recv(bg)
		must(t, err)
		q, err := slabpool.As[point](got.Bytes())
		must(t, err)
		if q.Y != 2.5 {
			t.Error(q)
		}
		must(t, got.Release())
	}
	b, err := tx.Loan(bg, 8)
	must(t, err)
	_, err = slabpool.As[point](b.Bytes())
	wantIs(t, err, fs.ErrInvalid)
}

// A receiver holds many, and others release them in any order.
func TestBufReleaseElsewhere(t *testing.T) {
	onBufs(t, func(t *testing.T, kind []shmchan.Option) {
		tx, rx := bufPair(t, kind, []slabpool.Class{{Size: 128, Count: 40}})
		hold := make(chan *shmchan.Buf, 30)
		var wg sync.WaitGroup
		for g := range 3 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(g), 1))
				var mine []*shmchan.Buf
				check := func(b *shmchan.Buf) {
					v := b.Bytes()
					if bytes.Count(v, v[:1]) != len(v) {
						t.Errorf("a message of %d is mixed: %d", v[0], bytes.Count(v, v[:1]))
					}
					if err := b.Release(); err != nil {
						t.Error(err)
					}
				}
				for b := range hold {
					if mine = append(mine, b); len(mine) > 5 {
						k := rng.IntN(len(mine))
						check(mine[k])
						mine = slices.Delete(mine, k, k+1)
					}
				}
				for _, b := range mine {
					check(b)
				}
			})
		}
		go func() {
			for i := range 3000 {
				b, err := tx.Loan(bg, 40+i%89)
				if err != nil {
					t.Error(err)
					return
				}
				for k := range b.Bytes() {
					b.Bytes()[k] = byte(i)
				}
				if err := tx.Send(bg, b); err != nil {
					t.Error(err)
					return
				}
			}
			tx.Close()
		}()
		n := 0
		for b, err := range rx.All(bg) {
			must(t, err)
			hold <- b
			n++
		}
		close(hold)
		wg.Wait()
		if n != 3000 {
			t.Errorf("%d messages", n)
		}
		for _, s := range rx.Stats() {
			if s.InUse != 0 {
				t.Errorf("%v", s)
			}
		}
	})
}

func TestBufNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race runtime allocates")
	}
	onBufs(t, func(t *testing.T, kind []shmchan.Option) {
		tx, rx := bufPair(t, kind, few)
		for _, n := range []int{8, 100} {
			noAllocs(t, "Loan, Send, Recv and Release", 1000, func() {
				b, err := tx.Loan(bg, n)
				must(t, err)
				must(t, tx.Send(bg, b))
				b, err = rx.Recv(bg)
				must(t, err)
				must(t, b.Release())
			})
		}
	})
}

func TestBufAlignment(t *testing.T) {
	tx, _ := bufPair(t, nil, []slabpool.Class{{Size: 8192, Count: 2}})
	b, err := tx.Loan(bg, 8000)
	must(t, err)
	if at := uintptr(unsafe.Pointer(unsafe.SliceData(b.Bytes()))); at%4096 != 0 {
		t.Errorf("a block of whole pages at %#x", at)
	}
	must(t, b.Release())
}

// A handle travels through a typed channel, and its block through Give.
func TestHandlesTravel(t *testing.T) {
	tx, rx := pair[slabpool.Handle](t, options{shmchan.WithHeap()})
	here, err := slabpool.Heap(slabpool.Class{Size: 4096, Count: 2})
	must(t, err)
	there, err := here.Attach()
	must(t, err)
	h, err := here.Alloc(bg, 3000)
	must(t, err)
	must(t, here.Give(h, there.Owner()))
	must(t, tx.Send(bg, h))
	got, err := rx.Recv(bg)
	must(t, err)
	b, err := there.Bytes(got)
	must(t, err)
	if len(b) != 3000 {
		t.Errorf("%d bytes", len(b))
	}
	must(t, there.Free(got))
	wantIs(t, there.Free(got), slabpool.ErrStaleHandle)
}

func TestBufChan(t *testing.T) {
	onBufs(t, func(t *testing.T, kind []shmchan.Option) {
		tx, rx := bufPair(t, kind, few)
		for i := range 4 {
			b, err := tx.Loan(bg, 40+20*i)
			must(t, err)
			b.Bytes()[0] = byte(i)
			must(t, tx.Send(bg, b))
		}
		ctx, cancel := context.WithCancel(bg)
		ch := rx.Chan(ctx)
		take := func(b *shmchan.Buf, err error, want byte) {
			t.Helper()
			must(t, err)
			if b.Bytes()[0] != want {
				t.Errorf("message %d, want %d", b.Bytes()[0], want)
			}
			must(t, b.Release())
		}
		take(<-ch, nil, 0)
		cancel()
		for range ch {
			t.Error("delivered after the end")
		}
		wantIs(t, rx.Err(), context.Canceled)
		if n := rx.Len(); n != 3 {
			t.Errorf("%d messages are left, want 3", n)
		}
		until(t, "there is a token", func() bool {
			select {
			case <-rx.Ready():
				return true
			default:
				return false
			}
		})
		b, err := rx.Recv(bg)
		take(b, err, 1)
		b, err = rx.TryRecv()
		take(b, err, 2)
		must(t, tx.Close())
		ch = rx.Chan(bg)
		must(t, rx.Err()) // while it is open
		take(<-ch, nil, 3)
		for range ch {
			t.Error("more than was sent")
		}
		must(t, rx.Err())
	})
}
