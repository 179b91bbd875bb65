package modelcheck

import (
	"errors"
	"fmt"
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
			if u[1].Load() == 2 && w.threads[0].parked != 0 {
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
// before its death is known, and others may or may not see them before.
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
	for step, want := range []string{"rescuer 0 0", "rescuer 1 0", "rescuer 1 1", ""} {
		got := outcomes(t, Config{Model: TSO, Crashes: []Crash{{Thread: "victim", Step: step}}}, setup)
		for k := range got {
			if !strings.HasSuffix(k, want) {
				t.Errorf("crash at step %d: %v", step, got)
			}
		}
		if step >= 2 && len(got) != 3 {
			t.Errorf("crash at step %d: %v", step, got)
		}
	}
	if r := Sweep(Config{Model: TSO}, "victim", setup); r.Points != 3 || r.Failure != nil {
		t.Errorf("sweep: %v", r)
	}
	if r := SweepPair(Config{Model: TSO}, "victim", "rescuer", setup); r.Points != 3+3*3+0 || r.Failure != nil {
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
