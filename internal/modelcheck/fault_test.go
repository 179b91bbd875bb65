package modelcheck

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// outcomes explores and returns what [World.Outcome] said.
func outcomes(t *testing.T, cfg Config, setup func(*World)) map[string]int {
	t.Helper()
	var first map[string]int
	for _, cfg.Search = range []Search{DFS, DPOR} {
		r := Explore(cfg, setup)
		if r.Failure != nil {
			t.Fatalf("%v\n%s", r.Failure, r.Failure.Trace)
		}
		if first == nil {
			first = r.Outcomes
		}
		for k := range first {
			if r.Outcomes[k] == 0 {
				t.Errorf("%v does not reach %q", cfg.Search, k)
			}
		}
	}
	return first
}

func TestFutex(t *testing.T) {
	// Two threads park; a third wakes one, then the other.
	got := outcomes(t, Config{}, func(w *World) {
		u := Alloc[[2]U32](w, "u")
		order, n := "", 0
		for _, name := range []string{"a", "b"} {
			w.Go(name, func() {
				u[0].Wait(0, -1)
				if u[1].Add(1) == 1 {
					order = name
				}
			})
		}
		w.Go("c", func() {
			n = u[0].Wake(1)
			u[0].Store(1)
			n += u[0].Wake(1 << 30)
		})
		w.Outcome(func() string { return order + fmt.Sprint(n) })
	})
	for _, want := range []string{"a0", "a1", "a2", "b0", "b1", "b2"} {
		if got[want] == 0 {
			t.Errorf("never %q: %v", want, got)
		}
	}
	if len(got) != 6 {
		t.Errorf("outcomes %v", got)
	}
}

// TestWaitAny: a thread that waits for either of two words.
func TestWaitAny(t *testing.T) {
	type shared struct {
		u    [2]U32
		note U32
	}
	list := func(s *shared) []Expected { return []Expected{{&s.u[0], 0}, {&s.u[1], 0}} }
	either := func(change bool, wakes ...int) func(*World) {
		return func(w *World) {
			s := Alloc[shared](w, "s")
			woken := ""
			w.Go("sleeper", func() { woken = fmt.Sprint(WaitAny(list(s), -1)) })
			for _, i := range wakes {
				w.Go(fmt.Sprint("waker", i), func() {
					if change {
						s.u[i].Store(1)
					}
					s.u[i].Wake(1)
				})
			}
			w.Outcome(func() string { return woken })
		}
	}
	for _, x := range []struct {
		name  string
		setup func(*World)
		want  string
	}{
		{"first changes", either(true, 0), "-1 0"},
		{"second changes", either(true, 1), "-1 1"},
		{"both change", either(true, 0, 1), "-1 0 1"},
	} {
		if got := strings.Join(slices.Sorted(maps.Keys(outcomes(t, Config{}, x.setup))), " "); got != x.want {
			t.Errorf("%s: outcomes %s, want %s", x.name, got, x.want)
		}
	}
	MustFail(t, "WaitAny, wake-up before", Explore(Config{}, either(false, 0)), Deadlock, 0)
	MustFail(t, "WaitAny, a third word changes", Explore(Config{}, func(w *World) {
		s := Alloc[shared](w, "s")
		w.Go("sleeper", func() { WaitAny(list(s), -1) })
		w.Go("waker", func() { s.note.Store(1); s.note.Wake(1) })
	}), Deadlock, 1)
	MustFail(t, "WaitAny, changed but not woken", Explore(Config{}, func(w *World) {
		s := Alloc[shared](w, "s")
		w.Go("sleeper", func() { WaitAny(list(s), -1) })
		w.Go("changer", func() { s.u[0].Store(1) })
	}), Deadlock, 0)

	// A Wake(1) is spent on a thread that another word has woken, and that has
	// not left the queue. All threads must be woken instead.
	spent := func(n int) func(*World) {
		return func(w *World) {
			s := Alloc[shared](w, "s")
			w.Go("any", func() { WaitAny(list(s), -1) })
			w.Go("one", func() {
				for s.u[1].Load() == 0 {
					s.u[1].Wait(0, -1)
				}
			})
			w.Go("waker", func() {
				s.u[0].Store(1)
				s.u[0].Wake(1)
				s.u[1].Store(1)
				s.u[1].Wake(n)
			})
		}
	}
	MustFail(t, "a wake-up is spent", Explore(Config{}, spent(1)), Deadlock, 0)
	Check(t, "all are woken", Explore(Config{}, spent(2)))

	// Limits and returns for no reason.
	for want, cfg := range map[string]Config{"-1": {Timeouts: 1}, "-1 ": {}} {
		got := outcomes(t, cfg, func(w *World) {
			s := Alloc[shared](w, "s")
			woken := ""
			w.Go("sleeper", func() { woken = fmt.Sprint(WaitAny(list(s), time.Second)) })
			w.Outcome(func() string { return woken })
		})
		if len(got) != 1 || got[strings.TrimSpace(want)] == 0 {
			t.Errorf("%+v: outcomes %v", cfg, got)
		}
	}
	got := outcomes(t, Config{Timeouts: 1}, func(w *World) { // woken and out of time at once
		s := Alloc[shared](w, "s")
		woken, n := 0, 0
		w.Go("sleeper", func() { woken = WaitAny(list(s), time.Second) })
		w.Go("waker", func() { n = s.u[0].Wake(1) + s.u[1].Wake(1) })
		w.Outcome(func() string { return fmt.Sprint(woken, n) })
	})
	if s := strings.Join(slices.Sorted(maps.Keys(got)), ", "); s != "-1 0, 0 1, 1 1, 1 2" {
		t.Errorf("woken and out of time: %s", s)
	}

	// It dies before or after, with no place left behind.
	r := Sweep(Config{}, "sleeper", func(w *World) {
		s := Alloc[shared](w, "s")
		w.Go("sleeper", func() { WaitAny(list(s), time.Second); s.note.Store(1) })
		w.Go("rescuer", func() {
			w.AwaitDeath("sleeper")
			if n := s.u[0].Wake(1) + s.u[1].Wake(1); n != 0 {
				panic("a dead thread is woken")
			}
		})
		w.Go("waker", func() { s.u[0].Wake(1) })
	})
	Check(t, "WaitAny, sleeper dies", r)
	if r.Points != 3 { // before WaitAny, before the store, after it
		t.Errorf("%d crash points", r.Points)
	}
}

// TestOldestFirst checks that Wake takes the thread that has waited longest.
func TestOldestFirst(t *testing.T) {
	outcomes(t, Config{}, func(w *World) {
		u := Alloc[[2]U32](w, "u")
		w.Daemon("a", func() { u[0].Wait(0, -1) })
		w.Daemon("b", func() {
			for u[1].Load() == 0 {
				Pause(1)
			}
			u[0].Wait(0, -1)
		})
		w.Go("c", func() {
			if u[0].Wake(1) == 1 { // a parks first
				u[1].Store(1)
				u[1].Store(2)
			} else {
				u[1].Store(1)
			}
		})
		w.Final(func() error {
			if u[1].Load() == 2 && w.threads[0].parked {
				return errors.New("a is still parked")
			}
			return nil
		})
	})
}

// TestLostWakeup: a wake-up that comes before the Wait is lost, unless the
// word has changed with it, or the Wait has a limit or a spare return.
func TestLostWakeup(t *testing.T) {
	setup := func(change bool, d time.Duration) func(*World) {
		return func(w *World) {
			u := Alloc[U32](w, "u")
			w.Go("sleeper", func() { u.Wait(0, d) })
			w.Go("waker", func() {
				if change {
					u.Store(1)
				}
				u.Wake(1)
			})
		}
	}
	MustFail(t, "wake-up before Wait", Explore(Config{}, setup(false, -1)), Deadlock, 2)
	Check(t, "the word changes too", Explore(Config{}, setup(true, -1)))
	Check(t, "Wait with a limit", Explore(Config{}, setup(false, time.Millisecond)))
	MustFail(t, "a spurious return is no remedy", Explore(Config{Spurious: 1}, setup(false, -1)), Deadlock, 3)
}

// TestTimeouts counts how often a loop of Waits with a limit can go round.
func TestTimeouts(t *testing.T) {
	for timeouts, want := range []string{"1", "1 2", "1 2 3"} {
		got := outcomes(t, Config{Timeouts: timeouts}, func(w *World) {
			u := Alloc[U32](w, "u")
			rounds := 0
			w.Go("poller", func() {
				for u.Load() == 0 {
					u.Wait(0, time.Second)
					rounds++
				}
			})
			w.Go("setter", func() { u.Store(1); u.Wake(1) })
			w.Outcome(func() string { return fmt.Sprint(rounds) })
		})
		delete(got, "0")
		var s []string
		for i := range 5 {
			if k := fmt.Sprint(i); got[k] > 0 {
				s = append(s, k)
			}
		}
		if strings.Join(s, " ") != want {
			t.Errorf("%d early ends: %v rounds, want %s", timeouts, s, want)
		}
	}
}

// TestForcedTimeout: a limit ends when nothing else can happen, and then the
// poller can do what the others wait for.
func TestForcedTimeout(t *testing.T) {
	outcomes(t, Config{}, func(w *World) {
		u := Alloc[[2]U32](w, "u")
		w.Go("poller", func() {
			for range 3 {
				u[0].Wait(0, time.Second)
			}
			u[1].Store(1)
			u[1].Wake(1)
		})
		w.Go("sleeper", func() { u[1].Wait(0, -1) })
	})
	MustFail(t, "two threads that poll in vain", Explore(Config{MaxSteps: 500}, func(w *World) {
		u := Alloc[[2]U32](w, "u")
		for i, name := range []string{"a", "b"} {
			w.Go(name, func() {
				for u[i].Load() == 0 {
					u[i].Wait(0, time.Second)
				}
				u[1-i].Store(1)
			})
		}
	}), Livelock, 1)
}

// TestPause: a spinning thread goes on when what it looks at has changed.
func TestPause(t *testing.T) {
	for _, m := range []Model{SC, TSO} {
		r := Explore(Config{Model: m}, func(w *World) {
			u := Alloc[[2]U32](w, "u")
			for i, name := range []string{"a", "b"} {
				w.Go(name, func() {
					u[i].StoreRelease(1)
					for u[1-i].Load() == 0 {
						Pause(1)
					}
				})
			}
		})
		Check(t, "two that wait for each other", r)
	}
	spin := func(change bool) func(*World) {
		return func(w *World) {
			u := Alloc[[2]U32](w, "u")
			w.Go("spinner", func() {
				for u[0].Load() != 2 {
					Pause(1)
				}
			})
			w.Go("setter", func() {
				u[0].Store(1)
				u[1].Store(1)
				if change {
					u[0].Store(2)
				}
			})
		}
	}
	Check(t, "a change comes", Explore(Config{}, spin(true)))
	MustFail(t, "no change comes", Explore(Config{}, spin(false)), Livelock, 1)

	// A thread that reads what it has buffered itself is told when others
	// overwrite that.
	Check(t, "a change of what is forwarded", Explore(Config{Model: TSO}, func(w *World) {
		u := Alloc[[2]U32](w, "u")
		w.Go("spinner", func() {
			u[0].StoreRelease(1)
			for u[0].Load() == 1 && u[1].Load() == 0 {
				Pause(1)
			}
		})
		w.Go("setter", func() {
			for !u[0].CompareAndSwap(1, 2) {
				Pause(1)
			}
		})
	}))
	MustFail(t, "what is forwarded overwrites the change", Explore(Config{Model: TSO}, func(w *World) {
		u := Alloc[U32](w, "u")
		w.Go("spinner", func() {
			u.StoreRelease(1)
			for u.Load() == 1 {
				Pause(1)
			}
		})
		w.Go("setter", func() { u.Store(2) })
	}), Livelock, 0)

	bounded := func(w *World) {
		u := Alloc[U32](w, "u")
		w.Go("spinner", func() {
			for range 3 {
				if u.Load() != 0 {
					return
				}
				Pause(1)
			}
		})
	}
	MustFail(t, "bounded spinning", Explore(Config{}, bounded), Livelock, 1)
	Check(t, "bounded spinning, Pauses: 3", Explore(Config{Pauses: 3}, bounded))
}

// TestCrash: stores that a dead thread has buffered reach memory, in order,
// before its death is known, and others may or may not see them before. A
// thread may die after its last step too.
func TestCrash(t *testing.T) {
	setup := func(w *World) {
		u := Alloc[[3]U32](w, "u")
		seen := ""
		w.Go("victim", func() {
			u[0].StoreRelease(1)
			u[1].StoreRelease(1)
			u[2].Load()
		})
		w.Go("peer", func() { seen += fmt.Sprint("peer ", u[1].Load(), u[0].Load()) })
		told := ""
		w.Go("rescuer", func() {
			w.AwaitDeath("victim")
			told = fmt.Sprint(" rescuer ", u[0].Load(), u[1].Load())
		})
		w.Outcome(func() string { return seen + told })
	}
	for step, want := range []string{"rescuer 0 0", "rescuer 1 0", "rescuer 1 1", "rescuer 1 1", ""} {
		got := outcomes(t, Config{Model: TSO, Crashes: []Crash{{Thread: "victim", Step: step}}}, setup)
		for k := range got {
			if !strings.HasSuffix(k, want) {
				t.Errorf("crash at step %d: %v", step, got)
			}
		}
		if step >= 2 && step <= 3 && len(got) != 3 {
			t.Errorf("crash at step %d: %v", step, got)
		}
	}
	if r := Sweep(Config{Model: TSO}, "victim", setup); r.Points != 4 || r.Failure != nil {
		t.Errorf("sweep: %v", r)
	}
	if r := SweepPair(Config{Model: TSO}, "victim", "rescuer", setup); r.Points != 4+4*4 || r.Failure != nil {
		t.Errorf("sweep of pairs: %v", r)
	}
}

// TestStop: a stopped thread goes on after all others have done what they can.
func TestStop(t *testing.T) {
	setup := func(w *World) {
		u := Alloc[U32](w, "u")
		w.Go("victim", func() {
			u.Store(1)
			u.Store(2)
		})
		seen := uint32(0)
		w.Go("peer", func() {
			w.AwaitStop("victim")
			seen = u.Load()
		})
		w.Go("poller", func() {
			for u.Load() != 2 {
				u.Wait(u.Load(), time.Second)
			}
		})
		w.Outcome(func() string { return fmt.Sprint(seen, u.Load()) })
	}
	for step, want := range []string{"0 2", "1 2", "0 2"} {
		got := outcomes(t, Config{Crashes: []Crash{{Thread: "victim", Step: step, Stop: true}}}, setup)
		if len(got) != 1 || got[want] == 0 {
			t.Errorf("stop at step %d: %v", step, got)
		}
	}
	if r := SweepStop(Config{}, "victim", setup); r.Points != 2 || r.Failure != nil {
		t.Errorf("sweep: %v", r)
	}
}
