package modelcheck

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"
)

// TestManyWords has a thread that spins on more words than anybody counted on.
func TestManyWords(t *testing.T) {
	for _, m := range []Model{SC, TSO} {
		Check(t, "a hundred words", Explore(Config{Model: m}, func(w *World) {
			u := Alloc[[100]U32](w, "u")
			w.Go("setter", func() { u[3].StoreRelease(1); u[99].StoreRelease(1) })
			w.Go("spinner", func() {
				for sum := uint32(0); sum < 2; {
					Pause(1)
					sum = 0
					for i := range u {
						sum += u[i].Load()
					}
				}
			})
		}))
	}
}

// TestPlaces runs one program on words in an Alloc, in Bytes and on the Go
// heap: the search must not depend on where they are.
func TestPlaces(t *testing.T) {
	type shared struct {
		head, tail U64
		pad        [3]uint32
		flag       [2]U32
	}
	var results []Result
	for _, place := range []func(w *World) *shared{
		func(w *World) *shared { return Alloc[shared](w, "s") },
		func(w *World) *shared { return (*shared)(unsafe.Pointer(unsafe.SliceData(w.Bytes(5000, "raw")))) },
		func(w *World) *shared { s := new(shared); w.Name(s, "s"); return s },
		func(w *World) *shared { return new(shared) },
	} {
		setup := func(w *World) {
			s := place(w)
			w.Go("a", func() { s.head.StoreRelease(1); s.flag[1].Swap(2); s.tail.Add(^uint64(0)); s.flag[0].Add(^uint32(0)) })
			w.Go("b", func() {
				s.tail.Store(1 << 40)
				s.flag[1].StoreRelease(1)
				s.head.CompareAndSwap(0, 2)
				s.flag[0].Load()
			})
			w.Go("c", func() { w.AwaitEnd("a"); s.flag[1].Load() })
			w.Outcome(func() string {
				return fmt.Sprint(s.head.Load(), s.tail.Load(), s.flag[0].Load(), s.flag[1].Load())
			})
			w.Final(func() error {
				if s.tail.Load() == 1<<40-1 && s.flag[1].Load() == 2 && s.head.Load() == 1 {
					return fmt.Errorf("the case whose trace is compared")
				}
				return nil
			})
		}
		r := Explore(Config{Model: TSO, KeepGoing: true}, setup)
		results = append(results, r)
		if first := results[0]; r.Executions != first.Executions || fmt.Sprint(r.Outcomes) != fmt.Sprint(first.Outcomes) ||
			r.Failure.Seed != first.Failure.Seed {
			t.Errorf("%v and %v", r, first)
		}
	}
	for i, name := range []string{"s.flag[1].Swap(2)", "raw[32:36].Swap(2)", "s.flag[1].Swap(2)", ".Swap(2)"} {
		if trace := results[i].Failure.Trace; !strings.Contains(trace, name) {
			t.Errorf("no %s in\n%s", name, trace)
		}
	}
}
