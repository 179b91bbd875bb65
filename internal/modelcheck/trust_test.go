package modelcheck

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// A program is a random small one: steps on two 32-bit words and one 64-bit
// word, for two or three threads.
type program struct {
	cfg     Config
	threads [][]step
}

type step struct {
	kind kind
	word int
	a, b uint32
}

func (s step) String() string {
	switch s.kind {
	case payloadRead, payloadWrite:
		return fmt.Sprintf("payload%d(%d,%d)", s.kind-payloadRead, s.b, 1+s.a)
	}
	return fmt.Sprintf("%v(w%d,%d,%d)", s.kind, s.word, s.a, s.b)
}

var stepKinds = []kind{opLoad, opLoad, opLoad, opStore, opStoreRelease, opStoreRelease, opStoreRelease, opAdd, opCompareAndSwap,
	opCompareAndSwap, opFence, opWait, opWait, opWake, opWake, opQueue, opPause, opMembarrier, opRegister, payloadRead, payloadWrite}

// Announced payload, for random programs that say so.
const (
	payloadRead kind = 100 + iota
	payloadWrite
)

func randomProgram(seed uint64) (p program) {
	r := rand.New(rand.NewPCG(seed, 1))
	p.cfg = Config{Model: Model(seed % 2), States: true, KeepGoing: true,
		Timeouts: r.IntN(2), Spurious: r.IntN(4) / 3, Pauses: r.IntN(2)}
	n := 2 + r.IntN(2)
	kinds := stepKinds[:len(stepKinds)-2]
	if r.IntN(4) == 0 {
		kinds = stepKinds
	}
	switch r.IntN(6) { // only some kinds, so that they meet more often
	case 0:
		kinds = []kind{opQueue, opQueue, opWake, opWake, opWait, opStore}
	case 1, 2:
		some := make([]kind, 2+r.IntN(4))
		for i := range some {
			some[i] = kinds[r.IntN(len(kinds))]
		}
		kinds = some
	}
	for range n {
		var steps []step
		for range 1 + r.IntN(6-n) {
			k := kinds[r.IntN(len(kinds))]
			steps = append(steps, step{k, r.IntN(3), uint32(r.IntN(2)), uint32(r.IntN(3))})
		}
		p.threads = append(p.threads, steps)
	}
	if r.IntN(4) == 0 {
		p.cfg.Crashes = []Crash{{Thread: "a", Step: r.IntN(3), Stop: r.IntN(2) == 0}}
		if r.IntN(2) == 0 && n == 2 {
			p.threads = append(p.threads, []step{{kind: opAwait, b: uint32(r.IntN(3))}, {opLoad, 0, 0, 0}, {opStore, r.IntN(2), 1, 0}})
		}
	}
	return p
}

// randomWaits returns a program of three or four threads of which one waits for
// any of the words and the others change, wake and wait.
func randomWaits(seed uint64) (p program) {
	r := rand.New(rand.NewPCG(seed, 2))
	p.cfg = Config{Model: Model(seed % 2), States: true, KeepGoing: true, Timeouts: r.IntN(3) / 2, Spurious: r.IntN(6) / 5}
	kinds := []kind{opWake, opWake, opWake, opStore, opStoreRelease, opAdd, opLoad, opWait, opQueue}
	any := func(k kind) step { return step{k, r.IntN(3), uint32(r.IntN(4) / 3), uint32(r.IntN(3))} }
	p.threads = [][]step{{any(opQueue)}}
	if r.IntN(2) == 0 {
		p.threads[0] = append(p.threads[0], any(kinds[r.IntN(len(kinds))]))
	}
	for range 2 + r.IntN(2) {
		var steps []step
		for range 1 + r.IntN(5-len(p.threads))%2 {
			steps = append(steps, any(kinds[r.IntN(len(kinds))]))
		}
		p.threads = append(p.threads, steps)
	}
	if r.IntN(4) == 0 {
		p.cfg.Crashes = []Crash{{Thread: "a", Step: r.IntN(3), Stop: r.IntN(2) == 0}}
	}
	return p
}

func (p *program) setup(w *World) {
	v := Alloc[struct {
		w       [2]U32
		q       U64
		payload [8]byte
	}](w, "v")
	if p.cfg.Crashes == nil {
		RegisterMembarrier()
	}
	for i, steps := range p.threads {
		w.Go("abcd"[i:i+1], func() {
			for _, s := range steps {
				s.do(w, &v.w, &v.q, &v.payload)
			}
		})
	}
}

func (s step) do(w *World, words *[2]U32, q *U64, payload *[8]byte) {
	u := &words[s.word%2]
	wide := s.word == 2
	switch s.kind {
	case opLoad:
		if wide {
			q.Load()
		} else {
			u.Load()
		}
	case opStore:
		if wide {
			q.Store(uint64(s.b))
		} else {
			u.Store(s.b)
		}
	case opStoreRelease:
		if wide {
			q.StoreRelease(uint64(s.b))
		} else {
			u.StoreRelease(s.b)
		}
	case opAdd:
		if wide {
			q.Add(uint64(s.b))
		} else {
			u.Add(s.b)
		}
	case opCompareAndSwap:
		if wide {
			q.CompareAndSwap(uint64(s.a), uint64(s.b))
		} else {
			u.CompareAndSwap(s.a, s.b)
		}
	case opFence:
		Fence()
	case opWait:
		u.Wait(s.a, time.Duration(s.b)-1)
	case opWake:
		u.Wake(int(s.b) + 1)
	case opQueue: // of one of the words, of both, or of one twice
		list := []Expected{{u, s.a}, {&words[s.b%2], s.a}}
		WaitAny(list[:1+(s.word+int(s.b))%2], time.Duration(s.b)-1)
	case opPause:
		Pause(1)
	case opMembarrier:
		Membarrier()
	case opRegister:
		RegisterMembarrier()
	case payloadRead:
		Reads(unsafe.Pointer(&payload[s.b]), uintptr(1+s.a))
	case payloadWrite:
		Writes(unsafe.Pointer(&payload[s.b]), uintptr(1+s.a))
	case opAwait:
		w.await("a", fate(s.b))
	}
}

// finals returns the hashes of the last states under one search.
func (p *program) finals(s Search) ([]uint64, Result) {
	cfg := p.cfg
	cfg.Search = s
	seen, r := explore(cfg, p.setup)
	return slices.Sorted(maps.Keys(seen)), r
}

// first and count are the random programs that TestReduction takes; more are
// a matter of
//
//	go test -run Reduction ./internal/modelcheck -programs 1000000 -first 100000
var (
	first = flag.Uint64("first", 0, "first random program")
	count = flag.Uint64("programs", 24000, "random programs to compare DPOR and the full search on")
)

// TestReduction checks on random programs that DPOR reaches exactly the last
// states, with all that each thread has seen, that the full search reaches,
// and finds a data race exactly if that does.
func TestReduction(t *testing.T) {
	for _, x := range []struct {
		name   string
		random func(seed uint64) program
		count  uint64
		most   int // executions: what has more is too big to compare
		least  int // programs to compare, by default
	}{
		{"all steps", randomProgram, *count, 6000, 20000},
		{"WaitAny", randomWaits, *count / 4, 1500, 4000},
	} {
		t.Run(x.name, func(t *testing.T) {
			n := x.count
			if testing.Short() || underRace {
				n = min(n, 2000)
			}
			var programs, racy, all, some, cut, states int
			start := time.Now()
			for seed := *first; seed < *first+n; seed++ {
				p := x.random(seed)
				p.cfg.MaxExecutions = x.most
				full, a := p.finals(DFS)
				if a.Bound != "" {
					continue
				}
				reduced, b := p.finals(DPOR)
				programs++
				all, some, cut, states = all+a.Executions, some+b.Executions, cut+b.Blocked, states+len(full)
				if a.races > 0 && b.races > 0 {
					racy++ // the search ends at a race, so the last states may differ
				} else if (a.races > 0) != (b.races > 0) || !slices.Equal(full, reduced) {
					var text strings.Builder
					for i, steps := range p.threads {
						fmt.Fprintf(&text, "%c: %v\n", 'a'+i, steps)
					}
					t.Fatalf("program %d: %d last states and %d races in the full search, %d and %d under DPOR\n%+v\n%s",
						seed, len(full), a.races, len(reduced), b.races, p.cfg, text.String())
				}
			}
			t.Logf("%d programs, %d racy, %d last states: %d executions in the full search, %d under DPOR and %d cut short, %v",
				programs, racy, states, all, some, cut, time.Since(start).Round(time.Millisecond))
			if n >= 6000 && programs < x.least {
				t.Errorf("only %d programs were small enough to compare", programs)
			}
		})
	}
}

// TestBounded checks that the preemption-bounded search finds no state that
// the full one does not, and all of them when the bound is high.
func TestBounded(t *testing.T) {
	for seed := range uint64(1000) {
		p := randomProgram(seed)
		p.cfg.MaxExecutions = 2000
		full, a := p.finals(DFS)
		if a.Bound != "" {
			continue
		}
		before := 0
		for _, p.cfg.Preemptions = range []int{0, 1, 2, 99} {
			some, _ := p.finals(Bounded)
			for _, h := range some {
				if _, ok := slices.BinarySearch(full, h); !ok {
					t.Fatalf("program %d: a state that the full search does not reach", seed)
				}
			}
			if len(some) < before {
				t.Fatalf("program %d: fewer states with %d preemptions", seed, p.cfg.Preemptions)
			}
			before = len(some)
		}
		if before != len(full) {
			t.Fatalf("program %d: %d of %d states", seed, before, len(full))
		}
	}
}
