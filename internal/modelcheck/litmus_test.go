package modelcheck

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// A litmus test is a few threads of a few steps on the words x, y and its
// observations, whose outcomes are known for each memory model.
type litmus struct {
	name    string
	threads []string // steps: x=1 (StoreRelease), x:=1 (Store), x (Load), fence, membarrier
	sc, tso string   // outcomes: what the loads see in order of threads, or the last x and y
	final   bool
}

var litmusTests = []litmus{
	{"SB", []string{"x=1 y", "y=1 x"}, "01 10 11", "00 01 10 11", false},
	{"SB with fences", []string{"x=1 fence y", "y=1 fence x"}, "01 10 11", "01 10 11", false},
	{"SB with one fence", []string{"x=1 fence y", "y=1 x"}, "01 10 11", "00 01 10 11", false},
	{"SB with Store", []string{"x:=1 y", "y:=1 x"}, "01 10 11", "01 10 11", false},
	{"SB with Membarrier on one side", []string{"x=1 membarrier y", "y=1 x"}, "01 10 11", "01 10 11", false},
	{"SB with its own store forwarded", []string{"x=1 x y", "y=1 y x"}, "1011 1110 1111", "1010 1011 1110 1111", false},
	{"MP", []string{"x=1 y=1", "y x"}, "00 01 11", "00 01 11", false},
	{"LB", []string{"x y=1", "y x=1"}, "00 01 10", "00 01 10", false},
	{"CoRR", []string{"x=1 x=2", "x x"}, "00 01 02 11 12 22", "00 01 02 11 12 22", false},
	{"2+2W", []string{"x=1 y=2", "y=1 x=2"}, "12 21 22", "12 21 22", true},
	{"R", []string{"x=1 y=1", "y=2 x"}, "0/11 1/11 1/12", "0/11 0/12 1/11 1/12", true},
	{"S", []string{"x=2 y=1", "y x=1"}, "0/11 0/21 1/11", "0/11 0/21 1/11", true},
	{"WRC", []string{"x=1", "x y=1", "y x"}, "000 001 010 011 100 101 111", "000 001 010 011 100 101 111", false},
	{"IRIW", []string{"x=1", "y=1", "x y", "y x"},
		"0000 0001 0010 0011 0100 0101 0110 0111 1000 1001 1011 1100 1101 1110 1111",
		"0000 0001 0010 0011 0100 0101 0110 0111 1000 1001 1011 1100 1101 1110 1111", false},
	{"IRIW with forwarding", []string{"x=1 x y", "y=1 y x"}, "1011 1110 1111", "1010 1011 1110 1111", false},
}

// setup makes the litmus test's threads and its outcome.
func (l *litmus) setup(w *World) {
	v := Alloc[struct{ x, y U32 }](w, "")
	RegisterMembarrier()
	words := map[string]*U32{"x": &v.x, "y": &v.y}
	seen := make([]string, len(l.threads))
	for i, steps := range l.threads {
		w.Go(string(rune('P'+i)), func() {
			for _, s := range strings.Fields(steps) {
				name, val, store := strings.Cut(s, "=")
				switch {
				case s == "fence":
					Fence()
				case s == "membarrier":
					Membarrier()
				case store && strings.HasSuffix(name, ":"):
					words[name[:1]].Store(uint32(val[0] - '0'))
				case store:
					words[name].StoreRelease(uint32(val[0] - '0'))
				default:
					seen[i] += fmt.Sprint(words[s].Load())
				}
			}
		})
	}
	w.Outcome(func() string {
		s := strings.Join(seen, "")
		if l.final {
			if s != "" {
				s += "/"
			}
			s += fmt.Sprint(v.x.Load(), v.y.Load())
		}
		return strings.ReplaceAll(s, " ", "")
	})
}

func TestLitmus(t *testing.T) {
	for _, l := range litmusTests {
		for m, want := range map[Model]string{SC: l.sc, TSO: l.tso} {
			for _, search := range []Search{DFS, DPOR} {
				r := Explore(Config{Model: m, Search: search}, l.setup)
				if r.Failure != nil {
					t.Fatal(r.Failure, r.Failure.Trace)
				}
				if got := strings.Join(slices.Sorted(maps.Keys(r.Outcomes)), " "); got != want {
					t.Errorf("%s under %v, search %v: outcomes %s, want %s", l.name, m, search, got, want)
				}
				if search == DPOR && r.Executions < len(r.Outcomes) {
					t.Errorf("%s: %d executions for %d outcomes", l.name, r.Executions, len(r.Outcomes))
				}
			}
		}
	}
}
