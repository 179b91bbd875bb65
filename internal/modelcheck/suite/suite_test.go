package suite

import (
	"errors"
	"regexp"
	"testing"

	"github.com/shmkit/shm/internal/modelcheck"
)

// A witness is a test that counts its failures.
type witness struct {
	testing.TB
	failures int
	ends     int
}

func (w *witness) Helper()               {}
func (w *witness) Logf(string, ...any)   {}
func (w *witness) Errorf(string, ...any) { w.failures++ }
func (w *witness) Cleanup(func())        { w.ends++ }

// TestRows explores a counter that is right and one that loses an addition, and
// checks the rows and which of them fail a test.
func TestRows(t *testing.T) {
	counter := func(add func(*modelcheck.U32)) func(*modelcheck.World) {
		return func(w *modelcheck.World) {
			n := modelcheck.Alloc[modelcheck.U32](w, "n")
			for _, name := range []string{"ann", "bob"} {
				w.Go(name, func() { add(n) })
			}
			w.Final(func() error {
				if n.Load() != 2 && !w.Crashed("ann") {
					return errors.New("lost")
				}
				return nil
			})
		}
	}
	right := counter(func(n *modelcheck.U32) { n.Add(1) })
	wrong := counter(func(n *modelcheck.U32) { n.Store(n.Load() + 1) })
	sc, tso := modelcheck.Config{}, modelcheck.Config{Model: modelcheck.TSO}
	for _, x := range []struct {
		name     string
		run      func(s *Suite)
		failures int
		row      string
	}{
		{"right", func(s *Suite) { s.Explore("a", sc, right) }, 0, `^\| a \| SC \| 1 \| 2 \|  \| 4 \| 0\.\d\d s \| exhausted \|$`},
		{"wrong", func(s *Suite) { s.Explore("a", tso, wrong) }, 1, `^\| a \| TSO \| 1 \| .*\| FAILED: wrong last state \|$`},
		{"dies", func(s *Suite) { s.Sweep("a", sc, "ann", right) }, 0, `^\| a \| SC \| 1 \| \d+ \| 2 \| \d+ \| .*exhausted \|$`},
		{"stops", func(s *Suite) { s.SweepStop("a", sc, "ann", right) }, 0, `\| 1 \| \d+ \| .*exhausted \|$`},
		{"both die", func(s *Suite) { s.SweepPair("a", sc, "ann", "bob", right) }, 0, `\| 6 \| \d+ \| .*exhausted \|$`},
		{"runs", func(s *Suite) {
			s.Explore("a", sc, right)
			s.Explore("a", modelcheck.Config{MaxExecutions: 1}, right)
			s.Explore("a", sc, right)
		}, 0, `^\| a \| SC \| 3 \| 5 \| .*\| 2 exhausted, 1 stopped after 1 executions \|$`},
		{"bug", func(s *Suite) { s.Bug("a", sc, wrong, modelcheck.Final, 0) }, 0, `^\| seeded: a \| .*\| wrong last state in execution \d+ \|$`},
		{"bug of another kind", func(s *Suite) { s.Bug("a", sc, wrong, modelcheck.Deadlock, 0) }, 1, `wrong last state in execution`},
		{"bug elsewhere", func(s *Suite) { s.Bug("a", sc, wrong, modelcheck.Final, 1e6) }, 1, `wrong last state in execution`},
		{"no bug", func(s *Suite) { s.Bug("a", sc, right, modelcheck.Final, 0) }, 1, `NOT FOUND \|$`},
		{"bug in a sweep", func(s *Suite) { s.SweepBug("a", sc, "bob", wrong, modelcheck.Final, 1) }, 0, `in execution 1 \|$`},
	} {
		w := &witness{TB: t}
		s := New(w)
		x.run(s)
		if w.failures != x.failures || w.ends != 1 || len(s.rows) != 1 {
			t.Errorf("%s: %d failures, %d rows", x.name, w.failures, len(s.rows))
		} else if row := s.rows[0].String(); !regexp.MustCompile(x.row).MatchString(row) {
			t.Errorf("%s: %s, want %s", x.name, row, x.row)
		}
	}
}
