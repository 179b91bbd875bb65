package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var every = flag.Bool("every", false, "with -soak: kill at every instruction, however long the operation is")

// long is the length from which on an operation is killed before and after each
// instruction that others can see, at each instruction of the library that it
// executes, and at random; and everywhere in the part of it that is to be swept whole.
const long = 20_000

// routes tells how to come to each instruction of the trace, soonest: by steps from
// the beginning, or from a breakpoint that is met for the nth time. Both take as long.
// A turn of a string instruction but the first meets no breakpoint.
func routes(trace []instruction) []point {
	const setup = 3 // what a breakpoint costs, in steps
	to := make([]point, len(trace)+1)
	count := map[instruction]int{}
	best, cost := point{}, 0
	for k, pc := range trace {
		if k == 0 || trace[k-1] != pc {
			count[pc]++
			if n := count[pc] + setup; n < cost && pc.known() {
				best, cost = point{pc: pc, nth: count[pc]}, n
			}
		}
		to[k] = best
		if pc.known() { // else it lies elsewhere in each process
			to[k].is = pc
		}
		best.steps++
		cost++
	}
	to[len(trace)] = best
	return to
}

// choose chooses where to kill. Behind the last point the operation, or the stretch of
// it that is swept, has ended. n is how many instructions that has.
func choose(trace []instruction, public []bool, st *stretch) (at []point, n int, how string) {
	to := routes(trace)
	switch {
	case st != nil:
		from, behind := st.in(trace)
		if from >= behind {
			return nil, 0, ""
		}
		at, how = to[from:behind+1], "every one"
	case len(trace) <= long || *every:
		at, how = to, "every one"
	default:
		how = "all that others can see, the library, random"
		once := map[instruction]bool{}
		for k, pc := range trace {
			first := pc.ours() && !once[pc]
			once[pc] = true
			if public[k] || k > 0 && public[k-1] || first || rand.N(len(trace)) < 300 {
				at = append(at, to[k])
			}
		}
		at = append(at, to[len(trace)])
	}
	if n = len(trace); st != nil {
		n = len(at) - 1
	}
	if limit := much(len(at), 10, 2); limit < len(at) {
		at = slices.Clone(at)
		rand.Shuffle(len(at), func(i, j int) { at[i], at[j] = at[j], at[i] })
		at, how = at[:limit], "a sample"
	}
	return at, n, how
}

// in finds the stretch in a trace.
func (st *stretch) in(trace []instruction) (from, behind int) {
	from = len(trace)
	for k, pc := range trace {
		if name := pc.function(); k < from && strings.HasSuffix(name, st.from) {
			from = k
		} else if strings.HasSuffix(name, st.to) {
			behind = k + 1
		}
	}
	return from, behind
}

// record runs the operation to its end, and returns its instructions, and which of
// them others can see: of one run of the most frequent length, since now and then the
// runtime has work of its own, and the first runs find a new channel. An attach takes
// seconds, and is run once.
func (st *stage) record() (trace []instruction, public []bool) {
	runs := much(9, 3, 3)
	lengths := map[int]int{}
	for i := range runs {
		st.op.scene(st, whole)
		n := len(st.trace)
		lengths[n]++
		if more := lengths[n] - lengths[len(trace)]; trace == nil || more > 0 || more == 0 && n < len(trace) {
			trace, public, st.before = slices.Clone(st.trace), slices.Clone(st.public), i
		}
		if st.op.opens || lengths[n] > runs/2 {
			break
		}
	}
	return trace, public
}

// reach kills at a point. The operation does not go the same way each time, so one
// that did not come there is run again: every second time on a new channel, after as
// many as were before the one that was recorded.
func (st *stage) reach(at, end point) {
	const tries = 20
	missed := st.missed
	for i := range tries {
		if i%2 != 0 && !st.op.opens {
			st.afresh()
			for range st.before {
				st.op.scene(st, end)
			}
		}
		st.missed = missed
		if st.op.scene(st, at); st.missed == missed {
			return
		}
	}
}

func count(public []bool) (n int) {
	for _, p := range public {
		if p {
			n++
		}
	}
	return n
}

// TestSweep kills a victim after every instruction of every operation, on every
// kind of channel, or, without -soak, after a sample of them. Most of the time of a
// kill is waiting for the kernel, so it is best run with -parallel 32.
func TestSweep(t *testing.T) {
	needsTracing(t)
	var table report
	table.head("kind", "operation", "instructions", "others see", "kills", "after", "not reached")
	t.Cleanup(func() { table.print(t, "sweep") })
	var kills, points atomic.Int64
	if *soak {
		t.Cleanup(everyMinute(func() {
			fmt.Printf("%d kills; %d points to go of the operations under way\n", kills.Load(), points.Load())
		}))
	}
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
				case op.stretch != nil && !*soak && (k.name != "named" || op.sends):
					t.Skip("a part of an attach that is sampled as a whole")
				case k.name != "named" && k.name != "block named" && !*soak && !*ci:
					t.Skip("see -ci")
				}
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				defer everywhere(0)
				begin := time.Now()
				st := newStage(t, k, op)
				trace, public := st.record()
				at, n, how := choose(trace, public, op.stretch)
				if n <= 0 {
					t.Fatalf("%v is not in the %d instructions", op.stretch, len(trace))
				}
				end := routes(trace)[len(trace)]
				points.Add(int64(len(at)))
				for _, p := range at {
					before := st.kills
					st.reach(p, end)
					kills.Add(int64(st.kills - before))
					points.Add(-1)
				}
				table.add(time.Since(begin), k.name, op.name, n, count(public), st.kills, how, st.missed)
				if len(at) > 100 && st.missed > len(at)/4 {
					t.Errorf("%d of %d points were not reached", st.missed, len(at))
				}
			})
		}
	}
}
