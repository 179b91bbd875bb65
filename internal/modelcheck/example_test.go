package modelcheck_test

import (
	"fmt"

	"github.com/shmkit/shm/internal/modelcheck"
)

// Two threads add one to a counter by Load and Store. Exhaustive search finds
// the execution in which one of the additions gets lost.
func Example() {
	counter := func(w *modelcheck.World) {
		n := modelcheck.Alloc[modelcheck.U32](w, "n")
		for _, name := range []string{"ann", "bob"} {
			w.Go(name, func() { n.Store(n.Load() + 1) })
		}
		w.Final(func() error {
			if v := n.Load(); v != 2 {
				return fmt.Errorf("the sum is %d", v)
			}
			return nil
		})
	}
	r := modelcheck.Explore(modelcheck.Config{}, counter)
	fmt.Println(r.Failure)
	fmt.Print(r.Failure.Trace)
	// Output:
	// wrong last state: the sum is 1 (seed "a2ba")
	//    1  ann          n.Load                                    = 0
	//    2  bob          n.Load                                    = 0
	//    3  bob          n.Store(1)
	//    4  ann          n.Store(1)
	//                    . wrong last state: the sum is 1
}

// A lock whose holder is dead stays taken, unless somebody is told.
func ExampleSweep() {
	rescue := false
	setup := func(w *modelcheck.World) {
		lock := modelcheck.Alloc[modelcheck.U32](w, "lock")
		for i, name := range []string{"holder", "peer"} {
			w.Go(name, func() {
				for !lock.CompareAndSwap(0, 1+uint32(i)) {
					modelcheck.Pause(1)
				}
				lock.Store(0)
			})
		}
		if rescue {
			w.Go("rescuer", func() {
				w.AwaitDeath("holder")
				lock.CompareAndSwap(1, 0)
			})
		}
	}
	r := modelcheck.Sweep(modelcheck.Config{}, "holder", setup)
	fmt.Println(r.Failure.Reason)
	fmt.Println(r.Failure.Crashes)

	rescue = true
	r = modelcheck.Sweep(modelcheck.Config{}, "holder", setup)
	fmt.Println(r.Failure, r.Points, "crash points")
	// Output:
	// peer spins for ever: nobody is left to change lock (if its spinning is bounded, raise Config.Pauses)
	// [holder dies at step 1]
	// <nil> 5 crash points
}
