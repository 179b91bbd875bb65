package shmchan_test

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/shmkit/shm/shmchan"
)

// mappings counts the shared mappings of this process.
func mappings(t testing.TB) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	must(t, err)
	return strings.Count(string(maps), " rw-s ")
}

// What Reserve and Peek returned stays mapped until Commit and Release.
func TestLeaseOutlivesItsEnd(t *testing.T) {
	type end interface {
		Close() error
		Detach() error
		File() (*os.File, error)
	}
	for how, finish := range map[string]func(end) error{
		"Close":  end.Close,
		"Detach": end.Detach,
		"File": func(e end) error {
			f, err := e.File()
			if err != nil {
				return err
			}
			return f.Close()
		},
	} {
		t.Run(how, func(t *testing.T) {
			before := mappings(t)
			tx, rx, err := shmchan.Pair[[4]int](shmchan.WithCapacity(2))
			must(t, err)
			must(t, tx.TrySend([4]int{1, 2, 3, 4}))
			p, err := rx.Peek(bg)
			must(t, err)
			q, err := tx.Reserve(bg)
			must(t, err)
			must(t, finish(rx))
			must(t, finish(tx))
			runtime.GC()
			if *p != [4]int{1, 2, 3, 4} {
				t.Fatal(*p)
			}
			*q = [4]int{5, 6, 7, 8}
			if got := mappings(t); got != before+2 {
				t.Fatalf("%d mappings, want %d", got, before+2)
			}
			wantErr(t, rx.Release(), shmchan.ErrClosed)
			wantErr(t, tx.Commit(), shmchan.ErrClosed)
			if got := mappings(t); got != before {
				t.Fatalf("%d mappings after Release and Commit, want %d", got, before)
			}
			wantErr(t, rx.Release(), shmchan.ErrClosed)
			wantErr(t, tx.Commit(), shmchan.ErrClosed)
		})
	}
}

// The same when Close comes from another goroutine in the middle of the work.
func TestCloseBesideLeases(t *testing.T) {
	needsFiles(t)
	before := mappings(t)
	for range n(200) {
		tx, rx, err := shmchan.Pair[int](shmchan.WithCapacity(2))
		must(t, err)
		send := goes(func() error {
			for i := 0; ; i++ {
				p, err := tx.Reserve(bg)
				if err != nil {
					return err
				}
				*p = i
				if err := tx.Commit(); err != nil {
					return err
				}
			}
		})
		recv := goes(func() error {
			for i := 0; ; i++ {
				p, err := rx.Peek(bg)
				if err != nil {
					return err
				}
				runtime.Gosched()
				if *p != i {
					t.Errorf("got %d, want %d", *p, i)
				}
				if err := rx.Release(); err != nil {
					return err
				}
			}
		})
		doze()
		must(t, rx.Close())
		must(t, tx.Close())
		wantErr(t, result(t, recv), shmchan.ErrClosed)
		wantErr(t, result(t, send), shmchan.ErrClosed)
	}
	if got := mappings(t); got != before {
		t.Fatalf("%d mappings, want %d", got, before)
	}
}

// A pointer outlives an endpoint that the program has dropped.
func TestLeaseOutlivesADroppedEnd(t *testing.T) {
	d := dir(t)
	p := func() *int {
		tx, rx := sender(t, "unrelated"), receiver(t, "unrelated")
		must(t, tx.Close())
		must(t, rx.Close())
		rx, err := shmchan.OpenReceiver[int]("name")
		must(t, err)
		tx, err = shmchan.OpenSender[int]("name")
		must(t, err)
		must(t, tx.TrySend(7))
		p, err := rx.Peek(bg)
		must(t, err)
		return p
	}()
	// Both are cleaned up: the name is free for a successor.
	until(t, "the receiver is collected", func() bool {
		runtime.GC()
		rx, err := shmchan.OpenReceiver[int]("name")
		if err == nil {
			recvs(t, rx, 7, 8)
			must(t, rx.Close())
		}
		return err == nil
	})
	runtime.GC()
	if *p != 7 {
		t.Fatal(*p)
	}
	until(t, "the sender is collected", func() bool {
		runtime.GC()
		return shmchan.Remove("name") == nil || isEmpty(d)
	})
}

func isEmpty(d string) bool {
	entries, err := os.ReadDir(d)
	return err == nil && len(entries) == 0
}
