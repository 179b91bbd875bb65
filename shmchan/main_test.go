package shmchan_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// patience is for what should take milliseconds.
const patience = 30 * time.Second

// A process of this binary whose environment has childEnv does that instead of
// tests: see child_linux_test.go.
const childEnv = "SHMCHAN_TEST_CHILD"

var children = map[string]func(args []string){}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		children[name](os.Args[1:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var (
	bg         = context.Background()
	errInvalid = fs.ErrInvalid
)

// within is a context that ends long after everything should have.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(bg, patience)
	t.Cleanup(cancel)
	return ctx
}

// cancelled is a context that was ended before.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(bg)
	cancel()
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error, says ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Fatalf("error %q does not say %q", err, s)
		}
	}
}

// until waits for something that has no event.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// result waits for what a goroutine reports.
func result[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("a call did not return")
	}
	return v
}

// goes runs f on a goroutine of its own and returns where its error comes.
func goes(f func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- f() }()
	return c
}

// n is a number of rounds, less for -short and for the race detector.
func n(full int) int {
	if testing.Short() || raceEnabled {
		return max(full/10, 1)
	}
	return full
}

type options []shmchan.Option

// onEach runs a test over each kind of memory that Pair can have. The race
// detector does not see a hand-over through mapped memory, and so takes what
// the two goroutines otherwise share for a race: it gets the heap.
func onEach(t *testing.T, f func(t *testing.T, o options)) {
	if !raceEnabled {
		t.Run("memfd", func(t *testing.T) { f(t, nil) })
	}
	t.Run("heap", func(t *testing.T) { f(t, options{shmchan.WithHeap()}) })
}

var policies = []waiter.Policy{waiter.Adaptive, waiter.Spin, waiter.Park}

// onEachPolicy is onEach times the wait policies.
func onEachPolicy(t *testing.T, f func(t *testing.T, o options)) {
	onEach(t, func(t *testing.T, o options) {
		for _, p := range policies {
			t.Run(p.String(), func(t *testing.T) { f(t, o.with(shmchan.WithWait(p))) })
		}
	})
}

func (o options) with(more ...shmchan.Option) options { return append(o[:len(o):len(o)], more...) }

func (o options) cap(n int) options { return o.with(shmchan.WithCapacity(n)) }

// pair is a channel of T that ends with the test.
func pair[T any](t testing.TB, o options) (*shmchan.Sender[T], *shmchan.Receiver[T]) {
	t.Helper()
	tx, rx, err := shmchan.Pair[T](o...)
	must(t, err)
	t.Cleanup(func() {
		tx.Close()
		rx.Close()
	})
	return tx, rx
}

// needsFiles skips where there are only heap regions, and under the race
// detector, for which one process's use of mapped memory is a race.
func needsFiles(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has channels that leave the heap")
	}
	if raceEnabled {
		t.Skip("the race detector does not see what is ordered by mapped memory")
	}
}
