package suite

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shmkit/shm/internal/modelcheck"
)

var deep = flag.Bool("deep", false, "explore larger bounds")

// UpTo returns n, or more with the flag -deep.
func UpTo(n, more int) int {
	if *deep {
		return more
	}
	return n
}

// Models are the memory models, the strong one first.
var Models = []modelcheck.Model{modelcheck.SC, modelcheck.TSO}

// A Suite is the explorations of one test.
type Suite struct {
	t    testing.TB
	rows []*row
}

// A row is the explorations of one name and memory model.
type row struct {
	name   string
	cfg    modelcheck.Config
	sum    modelcheck.Result
	runs   int
	bounds []string // how each run ended, in the order of the first of each kind
	times  map[string]int
}

// New returns a Suite that prints its rows when the test is over.
func New(t testing.TB) *Suite {
	s := &Suite{t: t}
	t.Cleanup(func() {
		for _, r := range s.rows {
			fmt.Println(r)
		}
	})
	return s
}

// Explore is [modelcheck.Explore] as a run of the row name. A failure fails the
// test.
func (s *Suite) Explore(name string, cfg modelcheck.Config, setup func(*modelcheck.World)) {
	s.t.Helper()
	s.check(name, cfg, modelcheck.Explore(cfg, setup))
}

// Sweep is the same for [modelcheck.Sweep].
func (s *Suite) Sweep(name string, cfg modelcheck.Config, victim string, setup func(*modelcheck.World)) {
	s.t.Helper()
	s.check(name, cfg, modelcheck.Sweep(cfg, victim, setup))
}

// SweepStop is the same for [modelcheck.SweepStop].
func (s *Suite) SweepStop(name string, cfg modelcheck.Config, victim string, setup func(*modelcheck.World)) {
	s.t.Helper()
	s.check(name, cfg, modelcheck.SweepStop(cfg, victim, setup))
}

// SweepPair is the same for [modelcheck.SweepPair].
func (s *Suite) SweepPair(name string, cfg modelcheck.Config, first, second string, setup func(*modelcheck.World)) {
	s.t.Helper()
	s.check(name, cfg, modelcheck.SweepPair(cfg, first, second, setup))
}

// Bug explores what has a seeded bug. Unless a failure of this kind is found in
// this execution, counted from 1, the test fails.
func (s *Suite) Bug(name string, cfg modelcheck.Config, setup func(*modelcheck.World), kind modelcheck.FailureKind, execution int) {
	s.t.Helper()
	s.mustFail(name, cfg, modelcheck.Explore(cfg, setup), kind, execution)
}

// SweepBug is Bug for one that takes a death to show.
func (s *Suite) SweepBug(name string, cfg modelcheck.Config, victim string, setup func(*modelcheck.World), kind modelcheck.FailureKind, execution int) {
	s.t.Helper()
	s.mustFail(name, cfg, modelcheck.Sweep(cfg, victim, setup), kind, execution)
}

func (s *Suite) check(name string, cfg modelcheck.Config, r modelcheck.Result) {
	s.t.Helper()
	modelcheck.Check(s.t, full(name, cfg), r)
	end := r.Bound
	if r.Failure != nil {
		end = "FAILED: " + r.Failure.Kind.String()
	} else if end == "" {
		end = "exhausted"
	}
	s.row(name, cfg).add(r, end)
}

func (s *Suite) mustFail(name string, cfg modelcheck.Config, r modelcheck.Result, kind modelcheck.FailureKind, execution int) {
	s.t.Helper()
	modelcheck.MustFail(s.t, full(name, cfg), r, kind, execution)
	end := "NOT FOUND"
	if f := r.Failure; f != nil {
		end = fmt.Sprintf("%v in execution %d", f.Kind, f.Execution)
	}
	s.row("seeded: "+name, cfg).add(r, end)
}

// full names one run: the row, the memory model, and which threads cannot have
// which side of membarrier.
func full(name string, cfg modelcheck.Config) string {
	name += ", " + cfg.Model.String()
	if len(cfg.NoMembarrier) > 0 {
		name += ", no membarrier in " + cfg.NoMembarrier[0]
	}
	if len(cfg.NoRegister) > 0 {
		name += ", not registered " + cfg.NoRegister[0]
	}
	return name
}

func (s *Suite) row(name string, cfg modelcheck.Config) *row {
	for _, r := range s.rows {
		if r.name == name && r.cfg.Model == cfg.Model {
			return r
		}
	}
	r := &row{name: name, cfg: cfg, times: map[string]int{}}
	s.rows = append(s.rows, r)
	return r
}

func (r *row) add(x modelcheck.Result, end string) {
	r.sum.Add(x)
	r.runs++
	if r.times[end]++; r.times[end] == 1 {
		r.bounds = append(r.bounds, end)
	}
}

// String is a row of the table whose head .ci/models prints.
func (r *row) String() string {
	points := ""
	if r.sum.Points > 0 {
		points = modelcheck.Thousands(r.sum.Points)
	}
	ends := r.bounds
	if len(ends) > 1 {
		ends = nil
		for _, b := range r.bounds {
			ends = append(ends, fmt.Sprint(r.times[b], " ", b))
		}
	}
	return fmt.Sprintf("| %s | %v | %d | %s | %s | %s | %.2f s | %s |", r.name, r.cfg.Model, r.runs,
		modelcheck.Thousands(r.sum.Executions), points, modelcheck.Thousands(r.sum.Steps),
		r.sum.Time.Round(10*time.Millisecond).Seconds(), strings.Join(ends, ", "))
}
