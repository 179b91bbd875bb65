package modelcheck

import (
	"fmt"
	"strconv"
	"time"
)

// A Model is a memory model.
type Model uint8

const (
	SC  Model = iota // sequential consistency; with race-free payload also arm64, see the package comment
	TSO              // x86-TSO: StoreRelease goes through a store buffer
)

// A Search is a way through the schedules.
type Search uint8

const (
	DPOR    Search = iota // one schedule, or little more, for each class of equivalent ones
	DFS                   // all schedules
	Bounded               // all with at most Config.Preemptions preemptions
)

// A Config says what to explore. Its zero value explores everything that
// sequential consistency allows, without faults.
type Config struct {
	Model       Model
	Search      Search
	Preemptions int // for Bounded: switches away from a thread that could go on

	MaxExecutions int           // 0 for no bound
	MaxTime       time.Duration // 0 for no bound
	MaxSteps      int           // of one execution: more is a Livelock; 0 for 5000

	Timeouts int // Waits of each thread whose limit may end early; when nothing else can happen it ends anyway
	Spurious int // Waits of each thread without a limit that may return for no reason
	Pauses   int // Pauses of each thread that just return; later ones wait until a word that it has read since the last one is changed by another

	Crashes      []Crash
	NoMembarrier []string // threads whose Membarrier fails
	NoRegister   []string // threads whose RegisterMembarrier fails

	States    bool // count distinct last states
	KeepGoing bool // after a failure
}

// A Crash ends a thread in place of its step number Step, counted from 0, or
// after its last one, for a process that has returned from its calls may die
// too. Its buffered stores still reach memory, sooner or later. With Stop it is
// only stopped, and goes on when nothing else can happen.
type Crash struct {
	Thread string
	Step   int
	Stop   bool
}

// A Result says what an exploration has found.
type Result struct {
	Executions int            // complete ones
	Blocked    int            // given up as equivalent to others
	Steps      int            // of all executions, with those repeated
	Crashed    int            // executions in which a crash or stop happened
	Points     int            // crash points, of a sweep
	States     int            // distinct last states, if asked for
	Outcomes   map[string]int // see [World.Outcome]
	Failures   int            // with KeepGoing
	Failure    *Failure       // the first
	Bound      string         // that stopped the search; "" if it was exhaustive
	Time       time.Duration
	Trace      string // of a Replay

	races   int  // failures that are races
	reached uint // which of Config.Crashes have happened
}

// Err returns the failure, or nil.
func (r *Result) Err() error {
	if r.Failure == nil {
		return nil
	}
	return r.Failure
}

// String returns a line for a log.
func (r Result) String() string {
	s := r.Bound
	switch {
	case r.Failure != nil:
		s = fmt.Sprintf("%v in execution %s", r.Failure.Kind, thousands(r.Failure.Execution))
	case s == "":
		s = "exhausted"
	}
	s += fmt.Sprintf(": %s executions", thousands(r.Executions))
	if r.Blocked > 0 {
		s += fmt.Sprintf(" (%s cut short)", thousands(r.Blocked))
	}
	if r.Points > 0 {
		s += fmt.Sprintf(", %d crash points", r.Points)
	}
	if r.States > 0 {
		s += fmt.Sprintf(", %s last states", thousands(r.States))
	}
	return s + fmt.Sprintf(", %s steps, %v", thousands(r.Steps), r.Time.Round(time.Millisecond))
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// A FailureKind is a class of failures.
type FailureKind uint8

const (
	Deadlock       FailureKind = iota + 1 // a thread is parked for ever: a lost wake-up
	Livelock                              // a thread spins for ever
	Race                                  // on payload
	Panic                                 // in a thread
	Final                                 // the last state is wrong
	Nondeterminism                        // the test does not repeat
)

var failureKinds = [...]string{"", "deadlock", "livelock", "race", "panic", "wrong last state", "nondeterminism"}

func (k FailureKind) String() string { return failureKinds[k] }

// A Failure is what is wrong with one execution.
type Failure struct {
	Kind      FailureKind
	Reason    string
	Err       error   // what Final returned
	Execution int     // in which it was found
	Seed      string  // for Replay...
	Crashes   []Crash // ...with these in its Config
	Trace     string

	stack []byte
}

func (f *Failure) Error() string {
	if len(f.Crashes) > 0 {
		return fmt.Sprintf("%v: %s (%v, seed %q)", f.Kind, f.Reason, f.Crashes, f.Seed)
	}
	return fmt.Sprintf("%v: %s (seed %q)", f.Kind, f.Reason, f.Seed)
}

func (f *Failure) Unwrap() error { return f.Err }
