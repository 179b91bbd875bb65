package modelcheck

import (
	"fmt"
	"math/bits"
	"sync"
	"time"
	"unsafe"
)

// The search: a depth-first walk over schedules, one execution after another.
//
// Invariants:
//   - stack holds one frame for each step of the present execution. The next
//     execution repeats all of them but the last, which takes another proc.
//   - Every frame's todo has been or will be tried; done has been.
type search struct {
	World
	stack  []frame
	res    *Result
	finals map[uint64]struct{}
	script []choice // what Replay follows
}

// A frame is a state of the present execution and what was and is to be tried
// there.
type frame struct {
	enabled, todo, done, sleep procSet
	forced                     bool // nothing was enabled: a limit ends, a stopped thread goes on
	choice
	alts uint8 // ways in which the step can turn out

	// The step, to find tests that are not deterministic.
	kind kind
	at   int32
	a    uint64
}

// A choice is a proc and the way in which its step turns out.
type choice struct{ proc, alt uint8 }

var exploring sync.Mutex // one exploration at a time: current is global

// enter takes the explorer and returns what leaves it.
func enter(cfg Config) (leave func()) {
	exploring.Lock()
	tell(cfg.Model)
	return func() {
		current, starting = nil, nil
		tell(SC)
		exploring.Unlock()
	}
}

// Explore runs the threads that setup makes under every schedule that cfg
// asks for, up to the first failure. It calls setup anew for each execution.
func Explore(cfg Config, setup func(*World)) Result {
	_, r := explore(cfg, setup)
	return r
}

// explore also returns the hashes of the last states, if asked for.
func explore(cfg Config, setup func(*World)) (map[uint64]struct{}, Result) {
	defer enter(cfg)()
	s := newSearch(cfg)
	defer s.close()
	start := time.Now()
	for more := true; more && s.res.Bound == ""; {
		s.execute(setup)
		r := s.res
		if r.Failure == nil && s.failure != nil {
			r.Failure = s.failure
			r.Failure.Execution = r.Executions
			r.Failure.Seed, r.Failure.Crashes = s.seed(), cfg.Crashes
		}
		if s.failure != nil {
			r.Failures++
			if s.failure.Kind == Race {
				r.races++
			}
			if !cfg.KeepGoing {
				break
			}
		}
		more = s.backtrack()
		switch {
		case !more:
		case cfg.MaxExecutions > 0 && r.Executions+r.Blocked >= cfg.MaxExecutions:
			r.Bound = fmt.Sprintf("stopped after %s executions", Thousands(cfg.MaxExecutions))
		case cfg.MaxTime > 0 && (r.Executions+r.Blocked)%64 == 0 && time.Since(start) > cfg.MaxTime:
			r.Bound = fmt.Sprintf("stopped after %v", cfg.MaxTime)
		}
	}
	if f := s.res.Failure; f != nil {
		f.Trace = s.retrace(f.Seed, setup).Trace
	} else if s.res.Bound == "" && cfg.Search == Bounded {
		s.res.Bound = fmt.Sprintf("exhausted up to %d preemptions", cfg.Preemptions)
	}
	s.res.States = len(s.finals)
	s.res.Time = time.Since(start)
	return s.finals, *s.res
}

func newSearch(cfg Config) *search {
	if cfg.MaxSteps == 0 {
		cfg.MaxSteps = 5000
	}
	s := &search{res: &Result{}, finals: map[uint64]struct{}{}}
	s.cfg, s.tso = cfg, cfg.Model == TSO
	s.shadow = map[unsafe.Pointer]*granule{}
	return s
}

// close ends the coroutines.
func (s *search) close() {
	for _, t := range s.threads {
		if t != nil {
			t.unwind()
			t.stop()
		}
	}
}

// execute runs one execution: the stack's steps again, then new ones.
func (s *search) execute(setup func(*World)) {
	s.begin(setup)
	blocked := s.run()
	for _, t := range s.threads[:s.n] {
		t.unwind()
	}
	if blocked {
		s.res.Blocked++
		return
	}
	s.res.Executions++
	if s.reached != 0 {
		s.res.Crashed++
		s.res.reached |= s.reached
	}
	if s.cfg.States && s.complete {
		s.finals[s.hash()] = struct{}{}
	}
	if s.outcome != nil && s.failure == nil {
		if s.res.Outcomes == nil {
			s.res.Outcomes = map[string]int{}
		}
		s.res.Outcomes[s.outcome()]++
	}
}

// run takes steps until nothing can happen any more, or until everything that
// can is asleep.
func (s *search) run() (blocked bool) {
	w := &s.World
	var sleep procSet
	last, used := -1, 0 // thread that ran last, preemptions
	for d := 0; w.failure == nil; d++ {
		if d == w.cfg.MaxSteps {
			w.fail(&Failure{Kind: Livelock, Reason: fmt.Sprintf("%d steps and no end (Config.MaxSteps)", d)})
			return false
		}
		var enabled procSet
		for _, t := range w.threads[:w.n] {
			if w.enabled(t) {
				enabled |= set(t.id)
			}
			if len(t.buffer) > 0 {
				enabled |= set(flusher(t.id))
			}
		}
		if d == len(s.stack) {
			switch s.push(enabled, sleep, last, used) {
			case allDone:
				w.finish()
				return false
			case allAsleep:
				return true
			}
		}
		f := &s.stack[d]
		p := int(f.proc)
		t := w.thread(p)
		if f.forced != (enabled == 0) || !f.forced && f.enabled != enabled || f.forced && f.enabled != w.forcible() {
			w.fail(&Failure{Kind: Nondeterminism, Reason: fmt.Sprintf("before step %d other threads can go on than in the same schedule before: %s", d+1, mustRepeat)})
			return false
		}
		o := w.next(p, f.forced)
		if f.kind == opUnknown {
			f.kind, f.at, f.a, f.alts = o.kind, w.key(o.word), o.a, uint8(w.alternatives(t, &o))
		}
		if f.kind != o.kind || f.at != w.key(o.word) || f.a != o.a {
			w.fail(&Failure{Kind: Nondeterminism, Reason: fmt.Sprintf("step %d of the same schedule was %v(%s) and is now %v(%s), on another word perhaps: %s",
				d+1, f.kind, value(f.a), o.kind, value(o.a), mustRepeat)})
			return false
		}
		if w.cfg.Search == DPOR {
			if sleep = 0; !f.forced {
				sleep = s.asleep(f.sleep, p, &o)
			}
			s.record(p, &o, int(f.alt), d == len(s.stack)-1)
		}
		if !isFlusher(p) {
			if last >= 0 && p != last && enabled.has(last) {
				used++
			}
			last = p
		}
		s.res.Steps++
		w.step(p, &o, int(f.alt))
	}
	return false
}

const mustRepeat = "setup and threads must not depend on time, chance, map order, other goroutines or what earlier executions left"

type pushed uint8

const (
	goesOn    pushed = iota
	allDone          // nothing can happen any more
	allAsleep        // all that can happen was tried elsewhere
)

// push adds a frame for a state that is new and chooses the first proc.
func (s *search) push(enabled, sleep procSet, last, used int) pushed {
	f := frame{enabled: enabled, sleep: sleep, kind: opUnknown}
	if enabled == 0 {
		if f.enabled = s.forcible(); f.enabled == 0 {
			return allDone
		}
		f.forced, f.todo = true, f.enabled
	} else if f.todo = s.pick(enabled&^sleep, last, used); f.todo == 0 {
		return allAsleep
	}
	d := len(s.stack)
	switch {
	case d < len(s.script) && f.enabled.has(int(s.script[d].proc)):
		f.choice = s.script[d]
	case s.script == nil && last >= 0 && f.todo.has(last): // few switches make traces readable
		f.proc = uint8(last)
	default:
		f.proc = uint8(bits.TrailingZeros16(uint16(f.todo)))
	}
	if s.cfg.Search == DPOR && !f.forced {
		f.todo = set(int(f.proc))
	}
	s.stack = append(s.stack, f)
	return goesOn
}

// pick cuts todo to what the bound on preemptions allows.
func (s *search) pick(todo procSet, last, used int) procSet {
	if s.cfg.Search == Bounded && used >= s.cfg.Preemptions && last >= 0 && todo.has(last) {
		return todo.flushers() | set(last)
	}
	return todo
}

// asleep returns who of sleep is independent of step o of proc p.
func (s *search) asleep(sleep procSet, p int, o *op) procSet {
	rest := sleep
	for ; rest != 0; rest &= rest - 1 {
		q := bits.TrailingZeros16(uint16(rest))
		if x := s.next(q, false); q == p || s.dependent(q, &x, p, o) {
			sleep &^= set(q)
		}
	}
	return sleep
}

// backtrack makes the stack the beginning of the next execution.
func (s *search) backtrack() bool {
	for len(s.stack) > 0 {
		f := &s.stack[len(s.stack)-1]
		if f.alt++; f.alt < f.alts {
			return true
		}
		f.done |= set(int(f.proc))
		if s.cfg.Search == DPOR && !f.forced {
			f.sleep |= f.done
		}
		if c := f.todo &^ (f.done | f.sleep); c != 0 {
			f.choice = choice{proc: uint8(bits.TrailingZeros16(uint16(c)))}
			f.kind = opUnknown
			return true
		}
		s.stack = s.stack[:len(s.stack)-1]
	}
	return false
}
