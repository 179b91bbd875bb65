package modelcheck

import "fmt"

// TB is the part of testing.TB that Check and MustFail use.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Check logs what an exploration found and fails the test if that is a
// failure.
func Check(t TB, name string, r Result) {
	t.Helper()
	t.Logf("%-40s %v", name, r)
	if f := r.Failure; f != nil {
		t.Errorf("%s: %v\n%s", name, f, f.Trace)
	}
}

// MustFail is for seeded bugs: it fails the test unless the exploration found
// a failure of this kind in this execution, counted from 1. With execution 0
// any will do.
func MustFail(t TB, name string, r Result, kind FailureKind, execution int) {
	t.Helper()
	t.Logf("%-40s %v", name, r)
	f := r.Failure
	switch {
	case f == nil:
		t.Errorf("%s: no %v found", name, kind)
	case f.Kind != kind:
		t.Errorf("%s: found %v, want a %v\n%s", name, f, kind, f.Trace)
	case execution > 0 && f.Execution != execution:
		t.Errorf("%s: found in execution %d, the test says %d", name, f.Execution, execution)
	}
}

// String is for test names.
func (m Model) String() string { return [...]string{"SC", "TSO"}[m] }

func (s Search) String() string { return [...]string{"DPOR", "DFS", "Bounded"}[s] }

// String says what the crash does, and where.
func (c Crash) String() string {
	verb := "dies"
	if c.Stop {
		verb = "stops"
	}
	return fmt.Sprintf("%s %s at step %d", c.Thread, verb, c.Step)
}
