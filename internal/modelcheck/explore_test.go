package modelcheck

import (
	"errors"
	"strings"
	"testing"
	"unsafe"
)

// TestReplay checks that the seed of a failure runs just that execution.
func TestReplay(t *testing.T) {
	setup := mailboxBugs{bumpFirst: true, items: 2}.setup(false)
	for _, m := range []Model{SC, TSO} {
		cfg := Config{Model: m, Spurious: 1}
		r := Explore(cfg, setup)
		again := Replay(cfg, r.Failure.Seed, setup)
		if again.Failure == nil || again.Failure.Seed != r.Failure.Seed || again.Trace != r.Failure.Trace || again.Executions != 1 {
			t.Errorf("%v gives %v", r.Failure, again.Failure)
		}
		if first := Explore(cfg, setup); first.Failure.Seed != r.Failure.Seed || first.Steps != r.Steps {
			t.Errorf("a second exploration differs: %v, %v", first, r)
		}
	}
	if r := Replay(Config{}, "2x", setup); r.Failure == nil {
		t.Error("a bad seed passes")
	}
	if r := Replay(Config{}, "", func(w *World) { w.Go("a", func() { Fence() }) }); r.Failure != nil || !strings.Contains(r.Trace, "Fence") {
		t.Errorf("an empty seed: %v\n%s", r.Failure, r.Trace)
	}
}

// TestSeeds takes a seed apart and puts it together again.
func TestSeeds(t *testing.T) {
	for _, seed := range []string{"", "a", "12a!bC3F", "a!2bf"} {
		script, err := parseSeed(seed)
		if err != nil {
			t.Fatal(err)
		}
		s := search{}
		for _, c := range script {
			s.stack = append(s.stack, frame{choice: c})
		}
		if got := s.seed(); got != seed {
			t.Errorf("%q becomes %q", seed, got)
		}
	}
}

func TestFailures(t *testing.T) {
	calls := 0
	wrong := errors.New("wrong")
	for _, x := range []struct {
		name   string
		kind   FailureKind
		reason string
		setup  func(w *World)
	}{
		{"panic", Panic, "a panics: oh", func(w *World) {
			w.Go("a", func() { panic("oh") })
		}},
		{"panic with a deferred step", Panic, "b panics: oh", func(w *World) {
			u := Alloc[U32](w, "u")
			w.Go("a", func() { defer u.Store(1); u.Wait(0, -1) })
			w.Go("b", func() { defer u.Load(); u.Load(); panic("oh") })
		}},
		{"final", Final, "wrong", func(w *World) {
			w.Final(func() error { return wrong })
		}},
		{"two sizes", Panic, "bytes at s.b are also used as a word of", func(w *World) {
			s := Alloc[struct {
				a uint64
				b U64
			}](w, "s")
			w.Go("a", func() { s.b.Load() })
			w.Go("b", func() { half(&s.b).Load(); s.b.Load() })
		}},
		{"nondeterminism", Nondeterminism, "must not depend on", func(w *World) {
			u := Alloc[[3]U32](w, "u")
			calls++
			w.Go("a", func() { u[calls%2].Store(1); u[2].Store(1) })
			w.Go("b", func() { u[2].Store(2) })
		}},
		{"endless loop", Livelock, "5000 steps and no end", func(w *World) {
			u := Alloc[U32](w, "u")
			w.Go("a", func() {
				for u.Load() == 0 {
				}
			})
		}},
	} {
		r := Explore(Config{}, x.setup)
		switch f := r.Failure; {
		case f == nil:
			t.Errorf("%s: no failure", x.name)
		case f.Kind != x.kind || !strings.Contains(f.Reason, x.reason):
			t.Errorf("%s: %v\n%s", x.name, f, f.Trace)
		case f.Kind == Final && !errors.Is(r.Err(), wrong):
			t.Errorf("%s: error %v", x.name, r.Err())
		}
	}
}

// TestBounds checks what the bounds on a search say.
func TestBounds(t *testing.T) {
	setup := mailboxBugs{items: 2}.setup(false)
	for want, cfg := range map[string]Config{
		"exhausted: ":                     {},
		"stopped after 100 executions":    {MaxExecutions: 100},
		"stopped after 1ns":               {MaxTime: 1},
		"exhausted up to 1 preemptions: ": {Search: Bounded, Preemptions: 1},
	} {
		if r := Explore(cfg, setup); !strings.HasPrefix(r.String(), want) {
			t.Errorf("%v, want %s", r, want)
		}
	}
	MustFail(t, "three preemptions", Explore(Config{Search: Bounded, Preemptions: 3}, mailboxBugs{bumpFirst: true, items: 2}.setup(false)), Deadlock, 0)
}

// TestSixThreads checks the largest number, and that one more is refused.
func TestSixThreads(t *testing.T) {
	r := Explore(Config{Model: TSO}, func(w *World) {
		u := Alloc[[maxThreads]U64](w, "u")
		sum := Alloc[U64](w, "sum")
		for i := range maxThreads {
			w.Go(string(rune('a'+i)), func() {
				u[i].StoreRelease(1)
				if i < 4 {
					sum.Add(1)
				}
			})
		}
		w.Final(func() error {
			if sum.Load() != 4 {
				return errors.New("lost")
			}
			return nil
		})
	})
	Check(t, "six threads", r)
	if r.Executions != 24 {
		t.Errorf("%d executions for the 4! orders of four additions", r.Executions)
	}
	defer func() {
		if recover() == nil {
			t.Error("a seventh thread is accepted")
		}
		if Explore(Config{}, func(w *World) { w.Go("a", func() {}) }).Failure != nil {
			t.Error("the explorer is unusable after a panic in setup")
		}
	}()
	Explore(Config{}, func(w *World) {
		for range maxThreads + 1 {
			w.Go("a", func() {})
		}
	})
}

// TestOutside checks that words work at once outside of explorations.
func TestOutside(t *testing.T) {
	var u U32
	done := make(chan bool)
	go func() {
		for u.Load() == 0 {
			u.Wait(0, -1)
		}
		done <- true
	}()
	u.Wait(0, 1)
	u.Add(1)
	u.Wake(1)
	<-done
	if !Membarrier() || !RegisterMembarrier() || u.Swap(3) != 1 || !u.CompareAndSwap(3, 4) {
		t.Error("wrong")
	}
}

// half is the first half of a 64-bit word.
func half(u *U64) *U32 { return (*U32)(unsafe.Pointer(u)) }
