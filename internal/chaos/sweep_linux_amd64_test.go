package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

var every = flag.Bool("every", false, "with -soak: kill at every instruction, however long the operation is")

const (
	// stepped is the length of operations that are swept by single steps, 20 µs
	// each; a point in a longer one is reached by a breakpoint.
	stepped = 2000
	// long is the length from which on an operation is killed around each of its
	// system calls, at each instruction of the library that it executes, and at
	// random.
	long = 20_000
)

// points chooses where to kill. Behind the last one the operation has ended.
func points(trace []instruction) (at []point, how string) {
	how = "every instruction"
	if len(trace) > long && !*every {
		how = "system calls, the library, random"
	}
	count := map[instruction]int{}
	called := false
	for k, pc := range trace {
		count[pc]++
		switch {
		case len(trace) <= stepped:
			at = append(at, point{steps: k})
		case !pc.known(): // only reads the clock, and lies elsewhere in each process
		case len(trace) <= long || *every || called || pc.call() || pc.ours() && count[pc] == 1 || rand.N(len(trace)) < 300:
			at = append(at, point{pc: pc, nth: count[pc]})
		}
		called = pc.call()
	}
	at = append(at, point{steps: len(trace)})
	if limit := much(len(at), 10, 2); limit < len(at) {
		rand.Shuffle(len(at), func(i, j int) { at[i], at[j] = at[j], at[i] })
		at = at[:limit]
		how = "a sample"
	}
	return at, how
}

// record runs the operation to its end, and returns its instructions: the fewest of
// three runs, since now and then the runtime has work of its own. That takes seconds
// for an attach, which is run once.
func (st *stage) record() (trace []instruction) {
	for range 3 {
		st.op.scene(st, whole)
		if trace == nil || len(st.trace) < len(trace) {
			trace = slices.Clone(st.trace)
		}
		if st.op.opens {
			break
		}
	}
	return trace
}

// TestSweep kills a victim after every instruction of every operation, on every
// kind of channel, or, without -soak, after a sample of them.
func TestSweep(t *testing.T) {
	needsTracing(t)
	var table report
	table.head("kind", "operation", "instructions", "kills", "after", "not reached")
	t.Cleanup(func() { table.print(t, "sweep") })
	for i := range sweepKinds {
		for j := range operations {
			k, op := &sweepKinds[i], &operations[j]
			if !op.on(k) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", k.name, op.name), func(t *testing.T) {
				t.Parallel()
				switch {
				case op.opens && !*soak && (!*ci || k.name == "disk"):
					t.Skip("recording an attach takes seconds")
				case k.name != "named" && k.name != "block named" && !*soak && !*ci:
					t.Skip("see -ci")
				}
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				defer everywhere(0)
				begin := time.Now()
				st := newStage(t, k, op)
				trace := st.record()
				at, how := points(trace)
				for _, p := range at {
					op.scene(st, p)
				}
				table.add(time.Since(begin), k.name, op.name, len(trace), st.kills, how, st.missed)
				if len(at) > 100 && st.missed > len(at)/4 {
					t.Errorf("%d of %d points were not reached", st.missed, len(at))
				}
			})
		}
	}
}
