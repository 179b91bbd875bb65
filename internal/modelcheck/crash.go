package modelcheck

// Crash sweeps: the same exploration for every step at which a thread can die.

// Sweep explores setup once for each step of the named thread, with the thread
// killed in place of that step, until it has no such step in any execution.
// Bounds on executions and time are for each step.
func Sweep(cfg Config, victim string, setup func(*World)) Result {
	return sweep(cfg, setup, []Crash{{Thread: victim}})
}

// SweepStop is like Sweep with a victim that is only stopped: it goes on when
// the others have finished or wait for it.
func SweepStop(cfg Config, victim string, setup func(*World)) Result {
	return sweep(cfg, setup, []Crash{{Thread: victim, Stop: true}})
}

// SweepPair explores setup for each pair of a step of the first and a step of
// the second thread: say, one that dies and one that dies while it recovers
// what the first has left.
func SweepPair(cfg Config, first, second string, setup func(*World)) Result {
	return sweep(cfg, setup, []Crash{{Thread: first}, {Thread: second}})
}

func sweep(cfg Config, setup func(*World), victims []Crash) (sum Result) {
	base := cfg.Crashes
	for step := 0; ; step++ {
		victims[0].Step = step
		cfg.Crashes = append(base[:len(base):len(base)], victims[0])
		r := Explore(cfg, setup)
		reached := r.reached>>len(base)&1 == 1
		if reached {
			r.Points = 1
		}
		if reached && r.Failure == nil && len(victims) > 1 {
			r.Add(sweep(cfg, setup, victims[1:]))
		}
		sum.Add(r)
		if sum.Failure != nil || !reached {
			return sum
		}
	}
}

// Add puts r, found by another exploration, to the sum. A failure in it counts
// its executions after those of the sum.
func (sum *Result) Add(r Result) {
	if sum.Failure == nil && r.Failure != nil {
		f := *r.Failure
		f.Execution += sum.Executions
		sum.Failure = &f
	}
	sum.Executions += r.Executions
	sum.Blocked += r.Blocked
	sum.Steps += r.Steps
	sum.Crashed += r.Crashed
	sum.Points += r.Points
	sum.States += r.States
	sum.Failures += r.Failures
	sum.Time += r.Time
	if sum.Bound == "" {
		sum.Bound = r.Bound
	}
	for k, n := range r.Outcomes {
		if sum.Outcomes == nil {
			sum.Outcomes = map[string]int{}
		}
		sum.Outcomes[k] += n
	}
}
