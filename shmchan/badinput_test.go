package shmchan_test

import (
	"context"
	"errors"
	"math"
	"os"
	"reflect"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

func TestBadOptions(t *testing.T) {
	d := t.TempDir()
	t.Setenv("SHMCHAN_DIR", d)
	type o = shmchan.Option
	for name, c := range map[string]struct {
		opt  o
		says string
	}{
		"capacity 0":        {shmchan.WithCapacity(0), "capacity 0"},
		"negative capacity": {shmchan.WithCapacity(-5), "capacity -5"},
		"absurd capacity":   {shmchan.WithCapacity(math.MaxInt), "capacity 9223372036854775807"},
		"one too many":      {shmchan.WithCapacity(math.MaxInt32 + 1), "capacity 2147483648"},
		"policy":            {shmchan.WithWait(waiter.Policy(99)), "99"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := shmchan.Pair[int](c.opt, nil) // a nil option says nothing
			wantErr(t, err, errInvalid, c.says)
			_, err = shmchan.OpenSender[int]("name", c.opt)
			wantErr(t, err, errInvalid, c.says)
			_, err = shmchan.OpenReceiver[int]("name", c.opt)
			wantErr(t, err, errInvalid, c.says)
			_, err = shmchan.SenderFromFile[int](nil, c.opt)
			wantErr(t, err, errInvalid, c.says)
		})
	}
	// Each is possible alone, both together are not.
	_, _, err := shmchan.Pair[[65000]byte](shmchan.WithCapacity(math.MaxInt32))
	wantErr(t, err, errInvalid)
	_, err = shmchan.OpenSender[[65000]byte]("name", shmchan.WithCapacity(math.MaxInt32))
	wantErr(t, err, errInvalid)

	_, _, err = shmchan.Pair[int](shmchan.WithMode(0o600))
	wantErr(t, err, errInvalid, "WithMode")
	_, err = shmchan.OpenSender[int]("name", shmchan.WithHeap())
	wantErr(t, err, errInvalid, "WithHeap")
	_, err = shmchan.ReceiverFromFile[int](os.Stdin, shmchan.WithHeap())
	wantErr(t, err, errInvalid, "WithHeap")
	left, err := os.ReadDir(d)
	if err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
}

type withLock struct {
	N  int
	Mu struct{ L [2]sync.Mutex }
}

type withName struct {
	ID   int
	User struct{ Names [3]string }
}

func refused[T any](t *testing.T, says ...string) {
	t.Helper()
	_, _, err := shmchan.Pair[T](shmchan.WithHeap())
	wantErr(t, err, shmchan.ErrType, says...)
	_, err = shmchan.OpenSender[T]("name")
	wantErr(t, err, shmchan.ErrType, says...)
	_, err = shmchan.OpenReceiver[T]("name")
	wantErr(t, err, shmchan.ErrType, says...)
	_, err = shmchan.SenderFromFile[T](os.Stdin)
	wantErr(t, err, shmchan.ErrType, says...)
	_, err = shmchan.ReceiverFromFile[T](os.Stdin)
	wantErr(t, err, shmchan.ErrType, says...)
}

func TestTypesThatCannotTravel(t *testing.T) {
	d := t.TempDir()
	t.Setenv("SHMCHAN_DIR", d)
	refused[string](t, "string", "[N]byte")
	refused[withName](t, "User.Names", "string", "[N]byte")
	refused[withLock](t, "Mu.L", "sync.Mutex")
	refused[struct{ At time.Time }](t, "At", "time.Time", "UnixNano")
	refused[struct{ P *int }](t, "P", "pointer")
	refused[struct{ S []byte }](t, "S", "slice")
	refused[struct{ M map[int]int }](t, "M", "map")
	refused[struct{ F func() }](t, "F", "func")
	refused[struct{ E error }](t, "E", "interface")
	refused[struct{ C chan int }](t, "C", "chan")
	refused[struct{ U uintptr }](t, "U", "uint64")
	refused[struct{ U unsafe.Pointer }](t, "U", "unsafe.Pointer")
	refused[struct{ V reflect.Value }](t, "V")
	left, err := os.ReadDir(d)
	if err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
}

func TestNilContext(t *testing.T) {
	var none context.Context
	onEach(t, func(t *testing.T, o options) {
		for name, call := range blocked {
			tx, rx := blockOn(t, name, o)
			left := rx.Len()
			wantErr(t, call(none, tx, rx), errInvalid, "context is nil")
			if rx.Len() != left {
				t.Fatal(name)
			}
			wantErr(t, tx.WaitPeer(none), errInvalid, "context is nil")
			wantErr(t, rx.WaitPeer(none), errInvalid, "context is nil")
		}
		// Also where there would be no need to wait.
		tx, rx := pair[int](t, o)
		wantErr(t, blocked["Send"](none, tx, rx), errInvalid)
		must(t, tx.TrySend(1))
		wantErr(t, blocked["Recv"](none, tx, rx), errInvalid)
		if v, err := rx.TryRecv(); v != 1 || err != nil {
			t.Fatal(v, err)
		}
	})
}

func TestCommitAndReleaseWithoutALease(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		tx, rx := pair[int](t, o)
		for range 2 {
			wantErr(t, tx.Commit(), errInvalid, "Reserve")
			wantErr(t, rx.Release(), errInvalid, "Peek")
			must(t, tx.TrySend(1))
			if _, err := rx.TryRecv(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestUseDuringALease(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		ctx := within(t)
		tx, rx := pair[int](t, o)
		p, err := tx.Reserve(ctx)
		must(t, err)
		*p = 5
		wantErr(t, tx.TrySend(1), shmchan.ErrBusy, "Commit")
		wantErr(t, tx.Send(ctx, 1), shmchan.ErrBusy, "Commit")
		_, err = tx.SendBatch(ctx, []int{1})
		wantErr(t, err, shmchan.ErrBusy, "Commit")
		if again, err := tx.Reserve(ctx); again != p || err != nil {
			t.Fatal(again, p, err)
		}
		if tx.Len() != 0 || rx.Len() != 0 {
			t.Fatal(tx.Len(), rx.Len())
		}
		must(t, tx.Commit())

		q, err := rx.Peek(ctx)
		if err != nil || *q != 5 {
			t.Fatal(err)
		}
		_, err = rx.TryRecv()
		wantErr(t, err, shmchan.ErrBusy, "Release")
		_, err = rx.Recv(ctx)
		wantErr(t, err, shmchan.ErrBusy, "Release")
		_, err = rx.RecvBatch(ctx, make([]int, 1))
		wantErr(t, err, shmchan.ErrBusy, "Release")
		if again, err := rx.Peek(ctx); again != q || err != nil {
			t.Fatal(again, q, err)
		}
		if rx.Len() != 1 {
			t.Fatal(rx.Len())
		}
		must(t, rx.Release())
	})
}

// A second goroutine in a call is told, not let in.
func TestTwoGoroutinesOnOneEnd(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		ctx, cancel := context.WithCancel(bg)
		_, rx := pair[int](t, o)
		first := goes(func() error { _, err := rx.Recv(ctx); return err })
		until(t, "a second TryRecv is told", func() bool {
			_, err := rx.TryRecv()
			if errors.Is(err, shmchan.ErrEmpty) {
				return false
			}
			wantErr(t, err, shmchan.ErrBusy, "goroutines")
			return true
		})
		cancel()
		// The test's own TryRecv may have been in the way of the first call.
		if err := result(t, first); !errors.Is(err, shmchan.ErrBusy) {
			wantErr(t, err, context.Canceled)
		}
	})
}

func TestHeapCannotLeaveTheProcess(t *testing.T) {
	tx, rx := pair[int](t, options{shmchan.WithHeap()})
	_, err := tx.File()
	wantErr(t, err, errors.ErrUnsupported)
	_, err = rx.File()
	wantErr(t, err, errors.ErrUnsupported)
	must(t, tx.TrySend(1)) // nothing has changed
	if v, err := rx.TryRecv(); v != 1 || err != nil {
		t.Fatal(v, err)
	}
}
