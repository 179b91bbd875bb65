package shmchan_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// An account is what a process has.
type account struct{ goroutines, threads, descriptors, mappings int }

func count(t testing.TB, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	return len(entries)
}

func audit(t testing.TB) account {
	return account{runtime.NumGoroutine(), count(t, "/proc/self/task"), count(t, "/proc/self/fd"), mappings(t)}
}

// settled is an audit after what lingers is gone: other tests' goroutines, and
// the inotify descriptor of package region.
func settled(t testing.TB) account {
	t.Helper()
	last := audit(t)
	for same := 0; same < 10; time.Sleep(50 * time.Millisecond) {
		runtime.GC()
		if a := audit(t); a == last {
			same++
		} else {
			last, same = a, 0
		}
	}
	return last
}

// asBefore waits until nothing is left. The runtime keeps threads, of which it
// needs a few at times.
func asBefore(t testing.TB, before account) {
	t.Helper()
	var now account
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		runtime.GC()
		now = audit(t)
		if now.goroutines <= before.goroutines && now.threads <= before.threads+8 &&
			now.descriptors <= before.descriptors && now.mappings <= before.mappings {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("was %+v, is %+v", before, now)
		}
	}
}

// Over all kinds of memory and policies these are more than ten thousand.
func TestTenThousandCancelledWaits(t *testing.T) {
	why := errors.New("the reason")
	contexts := []func() (context.Context, func()){
		func() (context.Context, func()) { return cancelled(), func() {} },
		func() (context.Context, func()) {
			ctx, cancel := context.WithCancel(bg)
			go cancel()
			return ctx, cancel
		},
		func() (context.Context, func()) {
			ctx, cancel := context.WithTimeout(bg, 20*time.Microsecond)
			return ctx, cancel
		},
		func() (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(bg)
			time.AfterFunc(10*time.Microsecond, func() { cancel(why) })
			return ctx, func() { cancel(nil) }
		},
	}
	onEachPolicy(t, func(t *testing.T, o options) {
		before := settled(t)
		tx, rx, err := shmchan.Pair[int](o.cap(1)...)
		must(t, err)
		in, out := 0, 0
		for i := range n(*cycles) {
			ctx, stop := contexts[i%len(contexts)]()
			_, err := rx.Recv(ctx)
			if i%len(contexts) == 3 {
				wantErr(t, err, why)
			} else if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			stop()

			must(t, tx.TrySend(in))
			in++
			ctx, stop = contexts[i/2%len(contexts)]()
			if err := tx.Send(ctx, -1); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			stop()
			if v, err := rx.TryRecv(); v != out || err != nil {
				t.Fatal(v, err, out)
			}
			out++
		}
		during := audit(t)
		if during.threads > before.threads+8 || during.goroutines > before.goroutines+8 {
			t.Errorf("was %+v, is %+v before the Close", before, during)
		}
		must(t, tx.Close())
		must(t, rx.Close())
		asBefore(t, before)
	})
}

var cycles = flag.Int("cycles", 500, "how many channels TestAThousandChannels opens and closes")

func TestAThousandChannels(t *testing.T) {
	needsFiles(t)
	d := dir(t)
	cycle := func(i int) {
		tx, rx, err := shmchan.Pair[int](shmchan.WithCapacity(4))
		must(t, err)
		must(t, tx.TrySend(i))
		switch i % 4 {
		case 0:
			<-rx.Ready()
			<-tx.Ready()
		case 1:
			f, err := tx.File()
			must(t, err)
			tx, err = shmchan.SenderFromFile[int](f)
			must(t, err)
		case 2:
			f, err := rx.File()
			must(t, err)
			must(t, f.Close())
		case 3:
			for v := range rx.Chan(bg) {
				if v != i {
					t.Fatal(v)
				}
				must(t, tx.Close())
			}
		}
		must(t, tx.Close())
		must(t, rx.Close())

		name := fmt.Sprint("name", i%10)
		tx, err = shmchan.OpenSender[int](name)
		must(t, err)
		if _, err := shmchan.OpenSender[int](name); !errors.Is(err, shmchan.ErrBusy) {
			t.Fatal(err)
		}
		if _, err := shmchan.OpenReceiver[price](name); !errors.Is(err, shmchan.ErrMismatch) {
			t.Fatal(err)
		}
		rx, err = shmchan.OpenReceiver[int](name)
		must(t, err)
		must(t, tx.TrySend(i))
		recvs(t, rx, i, i+1)
		if i%2 == 0 {
			must(t, shmchan.Remove(name))
		}
		must(t, tx.Close())
		must(t, rx.Close())
	}
	cycle(0)
	before := settled(t)
	for i := range n(1000) {
		cycle(i)
	}
	asBefore(t, before)
	names(t, d)
}

// An endpoint that the program drops is cleaned up, and its peer finds a death.
func TestDroppedEndIsADeath(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		for _, side := range []string{"sender", "receiver"} {
			before := settled(t)
			// The peer's goroutine gives the garbage collector no way to see the
			// dropped end.
			told := func() <-chan error {
				tx, rx, err := shmchan.Pair[int](o.cap(1)...)
				must(t, err)
				if side == "sender" {
					tx.Ready() // its goroutine does not keep it alive
					return goes(func() error { defer rx.Close(); return recvErr(rx)(bg) })
				}
				rx.Ready()
				must(t, tx.TrySend(0))
				return goes(func() error { defer tx.Close(); return tx.Send(bg, 1) })
			}()
			var err error
			until(t, "the peer is told", func() bool {
				runtime.GC()
				select {
				case err = <-told:
					return true
				default:
					return false
				}
			})
			wantErr(t, err, shmchan.ErrPeerDied)
			asBefore(t, before)
		}
	})
}

// In the middle of a call an endpoint is not dropped, though nothing but the
// call refers to it.
func TestBlockedEndIsNotDropped(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		tx, got := func() (*shmchan.Sender[int], <-chan error) {
			tx, rx, err := shmchan.Pair[int](o...)
			must(t, err)
			return tx, goes(func() error {
				v, err := rx.Recv(bg)
				if err == nil && v != 3 {
					err = fmt.Errorf("got %d", v)
				}
				return err
			})
		}()
		for range 10 {
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
		must(t, tx.TrySend(3))
		must(t, result(t, got))
		must(t, tx.Close())
	})
}
