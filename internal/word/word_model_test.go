//go:build modelcheck

package word

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
)

// TestModel runs every operation as a step of the explorer: a store and a
// look at the other's word on each side (Dekker), fenced as the code that
// uses this package does it.
func TestModel(t *testing.T) {
	for _, m := range []modelcheck.Model{modelcheck.SC, modelcheck.TSO} {
		for name, fence := range map[string]func(){
			"none": func() {},
			"NeedsFence": func() {
				if NeedsFence {
					Fence()
				}
			},
			"Membarrier": func() { Membarrier() },
		} {
			r := modelcheck.Explore(modelcheck.Config{Model: m}, func(w *modelcheck.World) {
				RegisterMembarrier()
				s := modelcheck.Alloc[struct {
					a U32
					b U64
				}](w, "s")
				var sawB uint64
				var sawA uint32
				w.Go("a", func() { s.a.StoreRelease(1); fence(); sawB = s.b.Load() })
				w.Go("b", func() { s.b.StoreRelease(1); fence(); sawA = s.a.Load() })
				w.Outcome(func() string { return fmt.Sprint(sawA, sawB) })
			})
			want := []string{"0 1", "1 0", "1 1"}
			if m == modelcheck.TSO && name == "none" {
				want = []string{"0 0", "0 1", "1 0", "1 1"}
			}
			if got := slices.Sorted(maps.Keys(r.Outcomes)); !slices.Equal(got, want) || r.Failure != nil {
				t.Errorf("%v, fence %s: %v, want %v (%v)", m, name, got, want, r.Failure)
			}
		}
	}
	if NeedsFence {
		t.Error("NeedsFence outside of an exploration")
	}
}

// TestModelParks hands a payload over a word that the taker parks on.
func TestModelParks(t *testing.T) {
	s := suite.New(t)
	for _, m := range suite.Models {
		s.Explore("a word to park on", modelcheck.Config{Model: m, Timeouts: 1}, func(w *modelcheck.World) {
			s := modelcheck.Alloc[struct {
				full U32
				n    U64
				data [24]byte
			}](w, "s")
			w.Go("giver", func() {
				Writes(unsafe.Pointer(&s.data), unsafe.Sizeof(s.data))
				s.full.Store(1)
				s.full.Wake(1)
				s.n.Add(1)
			})
			w.Go("taker", func() {
				for !s.full.CompareAndSwap(1, 2) {
					Pause(1)
					s.full.Wait(0, time.Second)
				}
				Reads(unsafe.Pointer(&s.data), unsafe.Sizeof(s.data))
			})
		})
	}
}

// TestModelWaiters has a taker that parks on two words at once until it has seen
// what two givers give, and one of them may die at any step.
func TestModelWaiters(t *testing.T) {
	world := func(wakes, looks bool) func(*modelcheck.World) {
		return func(w *modelcheck.World) {
			words := modelcheck.Alloc[[2]U32](w, "words")
			give := func(i int) {
				words[i].StoreRelease(1)
				if wakes {
					words[i].Wake(1 << 30)
				}
			}
			for i, name := range []string{"giver", "another"} {
				w.Go(name, func() { give(i) })
			}
			w.Go("watch", func() {
				w.AwaitDeath("giver")
				give(0)
			})
			w.Go("taker", func() {
				list := NewWaiters()
				for seen := [2]uint32{}; seen[0]+seen[1] < 2; {
					list.Reset()
					for i := range words {
						list.Add(&words[i], seen[i])
					}
					woken := list.Wait(-1)
					for i := range words {
						if looks || i == woken {
							seen[i] = words[i].Load()
						}
					}
				}
			})
		}
	}
	s := suite.New(t)
	for _, m := range suite.Models {
		for _, early := range []int{0, 1} {
			cfg := modelcheck.Config{Model: m, Spurious: early}
			s.Explore(fmt.Sprintf("two words to park on, early returns %d", early), cfg, world(true, true))
			s.Sweep(fmt.Sprintf("two words to park on, giver dies, early returns %d", early), cfg, "giver", world(true, true))
		}
	}
	s.Bug("the other word is not woken", modelcheck.Config{}, world(false, true), modelcheck.Deadlock, 2)
	s.Bug("only the word that was woken is looked at", modelcheck.Config{MaxSteps: 300}, world(true, false), modelcheck.Livelock, 1)
}
