package modelcheck

import (
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"slices"
)

// A thread is a coroutine that stops before each of its ops.
//
// Invariants:
//   - current is the thread that runs, nil while the scheduler does.
//   - A thread that is not done waits in [thread.do] with pend as its next op.
//
// The coroutine outlives the execution: at the end a thread that is still in
// the middle of its body is unwound by a panic, and the next execution gives
// the coroutine another body.
type thread struct {
	id     int
	name   string
	body   func()
	daemon bool
	next   func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	w      *World

	pend op
	res  uint64 // of the op just done
	ops  int    // done so far
	hist uint64 // hash of all results: stands for the thread's own variables

	done, crashed, stopped, dying bool
	parked                        bool
	timed                         bool   // parked with a limit
	hit                           bool   // woken since its WaitAny began
	byHit                         bool   // its WaitAny goes on because of that
	firstHit, lastHit             int32  // events, for the search
	forced                        int    // limits in a row that ended while nobody else moved
	early                         [2]int // Waits without and with a limit that returned early
	pauses                        int

	buffer     []store // x86-TSO's store buffer, oldest first
	stores     uint32  // ever buffered
	registered bool
	noBarrier  bool
	noRegister bool
	owed       procSet // flushers that its Membarrier waits for...
	owedStore  [maxThreads]uint32

	looked []look // words read since the last Pause
	clock  happens
}

// A look is a word that a thread read, and how often it had changed by then.
type look struct {
	word    int32
	changes uint32 // or ownStore: it read what it had buffered, and nothing is news until that is flushed
}

const ownStore = ^uint32(0)

var (
	current *thread
	errKill = errors.New("end of the execution")
)

// do performs o as the thread's next step.
func (t *thread) do(o op) uint64 {
	if t.dying {
		panic(errKill)
	}
	t.pend = o
	t.yield(struct{}{})
	if t.dying {
		panic(errKill)
	}
	return t.res
}

// loop is the coroutine: one body an execution.
func (t *thread) loop(yield func(struct{}) bool) {
	t.yield = yield
	for {
		t.run()
		t.done = true
		if !yield(struct{}{}) {
			return
		}
	}
}

func (t *thread) run() {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *Failure:
			t.w.fail(e)
		default:
			if e != errKill {
				t.w.fail(&Failure{Kind: Panic, Reason: fmt.Sprintf("%s panics: %v", t.name, e), stack: debug.Stack()})
			}
		}
	}()
	t.body()
	if t.w.crashIn(t) >= 0 { // a process that has done its work may die too
		t.do(op{kind: opFence, word: -1})
	}
}

func newThread(w *World, id int) *thread {
	t := &thread{id: id, w: w}
	t.next, t.stop = iter.Pull(t.loop)
	return t
}

// reset makes the thread new, with another body.
func (t *thread) reset(name string, body func()) {
	*t = thread{id: t.id, w: t.w, next: t.next, stop: t.stop, yield: t.yield,
		buffer: t.buffer[:0], looked: t.looked[:0], name: name, body: body}
	t.clock[t.id] = 1
}

// advance runs t up to its next op, or its end.
func (w *World) advance(t *thread) {
	current = t
	t.next()
	current = nil
	if t.done {
		return
	}
	if t.pend.within() {
		return
	}
	if i := w.crashIn(t); i >= 0 {
		t.pend = op{kind: opCrash, word: -1, a: uint64(i)}
	}
	for i, c := range w.cfg.Crashes {
		if c.Stop && c.Step == t.ops && c.Thread == t.name {
			t.stopped = true
			w.reached |= 1 << i
		}
	}
}

// crashIn returns which crash happens in place of t's next step, or -1.
func (w *World) crashIn(t *thread) int {
	return slices.IndexFunc(w.cfg.Crashes, func(c Crash) bool { return !c.Stop && c.Step == t.ops && c.Thread == t.name })
}

// unwind ends a thread's body in the middle.
func (t *thread) unwind() {
	if !t.done {
		t.dying = true
		current = t
		t.next()
		current = nil
	}
}

// enabled reports whether t's next op can happen now.
func (w *World) enabled(t *thread) bool {
	if t.done || t.crashed || t.stopped || t.parked {
		return false
	}
	switch t.pend.kind {
	case opLoad, opStoreRelease, opRegister, opCrash:
		return true
	case opPause:
		return w.pauseEnds(t)
	case opAwait:
		return w.threads[t.pend.a].is(fate(t.pend.b))
	case opMembarrierEnd:
		return t.owed == 0
	}
	return len(t.buffer) == 0
}

// A fate is what a thread can wait for another to meet. Once met, it stays so
// until the waiting thread has gone on.
type fate uint8

const (
	dead fate = iota
	ended
	stopped
)

func (t *thread) is(f fate) bool {
	switch f {
	case dead:
		return t.crashed && len(t.buffer) == 0
	case ended:
		return (t.crashed || t.done) && len(t.buffer) == 0
	}
	return t.stopped
}

// looks notes that t has seen word i as it is now.
func (t *thread) looks(i int32, changes uint32) {
	for _, l := range t.looked {
		if l.word == i {
			return
		}
	}
	t.looked = append(t.looked, look{i, changes})
}

func (t *thread) lookedAt(i int32) bool {
	for _, l := range t.looked {
		if l.word == i {
			return true
		}
	}
	return false
}

// pauseEnds reports whether a spinning thread has anything new to see.
// It never becomes false again: the search relies on that.
func (w *World) pauseEnds(t *thread) bool {
	if t.pauses < w.cfg.Pauses || len(t.looked) == 0 {
		return true
	}
	for _, l := range t.looked {
		if l.changes != ownStore && w.words[l.word].changes != l.changes {
			return true
		}
	}
	return false
}
