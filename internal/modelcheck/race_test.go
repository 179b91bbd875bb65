package modelcheck

import (
	"testing"
	"unsafe"
)

// TestRaces hands payload over in many ways. Each is a race or not, under both
// memory models.
func TestRaces(t *testing.T) {
	type shared struct {
		flag, other U32
		data        [16]byte
	}
	whole := func(s *shared) unsafe.Pointer { return unsafe.Pointer(&s.data) }
	for _, x := range []struct {
		name string
		a, b func(s *shared)
		race bool
	}{
		{"no order", func(s *shared) { Writes(whole(s), 8) }, func(s *shared) { Reads(whole(s), 8) }, true},
		{"two reads", func(s *shared) { Reads(whole(s), 8) }, func(s *shared) { Reads(whole(s), 8) }, false},
		{"two writes", func(s *shared) { Writes(whole(s), 8) }, func(s *shared) { Writes(whole(s), 8) }, true},
		{"disjoint halves of a granule",
			func(s *shared) { Writes(whole(s), 4) },
			func(s *shared) { Writes(unsafe.Add(whole(s), 4), 4) }, false},
		{"overlap by one byte",
			func(s *shared) { Writes(whole(s), 5) },
			func(s *shared) { Writes(unsafe.Add(whole(s), 4), 8) }, true},
		{"part of what was accessed whole",
			func(s *shared) { Writes(whole(s), 16) },
			func(s *shared) { Reads(unsafe.Add(whole(s), 11), 1) }, true},
		{"release and acquire",
			func(s *shared) { Writes(whole(s), 16); s.flag.StoreRelease(1) },
			func(s *shared) {
				if s.flag.Load() == 1 {
					Reads(whole(s), 16)
				}
			}, false},
		{"write after release",
			func(s *shared) { s.flag.StoreRelease(1); Writes(whole(s), 16) },
			func(s *shared) {
				if s.flag.Load() == 1 {
					Reads(whole(s), 16)
				}
			}, true},
		{"the clock is that of the store, not of the flush",
			func(s *shared) { s.flag.StoreRelease(1); s.other.Load(); Writes(whole(s), 8); s.other.Load() },
			func(s *shared) {
				if s.flag.Load() == 1 {
					Writes(whole(s), 8)
				}
			}, true},
		{"another word",
			func(s *shared) { Writes(whole(s), 8); s.other.Store(1) },
			func(s *shared) {
				if s.flag.Load() == 0 {
					Reads(whole(s), 8)
				}
			}, true},
		{"a chain through a read-modify-write",
			func(s *shared) { Writes(whole(s), 8); s.flag.Add(1) },
			func(s *shared) {
				if s.flag.Add(1) == 2 {
					Writes(whole(s), 8)
				}
			}, false},
		{"a CompareAndSwap that fails acquires",
			func(s *shared) { Writes(whole(s), 8); s.flag.Store(1) },
			func(s *shared) {
				if !s.flag.CompareAndSwap(0, 2) {
					Writes(whole(s), 8)
				}
			}, false},
		{"a wake-up orders nothing",
			func(s *shared) { Writes(whole(s), 8); s.flag.Wake(1) },
			func(s *shared) { s.flag.Wait(0, 0); Reads(whole(s), 8) }, true},
		{"Membarrier orders nothing",
			func(s *shared) { Writes(whole(s), 8); s.flag.Load() },
			func(s *shared) { Membarrier(); Reads(whole(s), 8) }, true},
		{"a store that hides the release",
			func(s *shared) { Writes(whole(s), 8); s.flag.Store(1) },
			func(s *shared) {
				s.flag.Store(1)
				if s.flag.Load() == 1 {
					Reads(whole(s), 8)
				}
			}, true},
	} {
		for _, m := range []Model{SC, TSO} {
			for _, search := range []Search{DPOR, DFS} {
				r := Explore(Config{Model: m, Search: search, Timeouts: 1}, func(w *World) {
					RegisterMembarrier()
					s := Alloc[shared](w, "s")
					w.Go("a", func() { x.a(s) })
					w.Go("b", func() { x.b(s) })
				})
				if got := r.Failure != nil && r.Failure.Kind == Race; got != x.race || r.Failure != nil && !got {
					t.Errorf("%s, %v, %v: %v, want a race: %v", x.name, m, search, r.Failure, x.race)
				}
			}
		}
	}
}

// TestDeathOrders checks that what a dead thread wrote is ordered before the
// notice of its death.
func TestDeathOrders(t *testing.T) {
	for _, told := range []bool{true, false} {
		r := Sweep(Config{Model: TSO}, "victim", func(w *World) {
			s := Alloc[struct {
				flag U32
				data uint64
			}](w, "s")
			w.Go("victim", func() {
				Writes(unsafe.Pointer(&s.data), 8)
				s.flag.StoreRelease(1)
				s.flag.Load()
			})
			w.Go("rescuer", func() {
				if told {
					w.AwaitDeath("victim")
				} else {
					s.flag.CompareAndSwap(2, 3)
				}
				Reads(unsafe.Pointer(&s.data), 8)
			})
		})
		if (r.Failure == nil) != told {
			t.Errorf("told of the death: %v, found %v", told, r.Failure)
		}
	}
}
