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
	r := modelcheck.Explore(modelcheck.Config{Model: modelcheck.TSO, Timeouts: 1}, func(w *modelcheck.World) {
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
	if r.Failure != nil {
		t.Errorf("%v\n%s", r.Failure, r.Failure.Trace)
	}
}
