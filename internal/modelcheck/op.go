package modelcheck

// An op is one step of a thread, or one that the machine takes for it.
//
// Invariants:
//   - A thread stops before each of its ops; what it does between two of them
//     touches no shared word.
//   - What an op does depends only on the shared state and on its own thread.

type kind uint8

const (
	opUnknown kind = iota
	opLoad
	opStore
	opStoreRelease
	opAdd
	opSwap
	opCompareAndSwap
	opFence
	opPause
	opWait
	opWake
	opQueue         // a step of WaitAny: looks at a word and takes a place in its queue
	opUnqueue       // another: gives the place up
	opMembarrier    // begins: notes which stores of other threads are still buffered
	opMembarrierEnd // waits until those have been flushed
	opRegister
	opAwait

	opFlush   // the oldest buffered store of a thread reaches memory
	opTimeout // a parked thread's limit ends, because nothing else can happen
	opResume  // a stopped thread goes on, for the same reason
	opCrash   // the thread stops for ever in place of its step
)

type op struct {
	kind  kind
	timed bool   // Wait has a limit
	last  bool   // opQueue of the last word of the list
	word  int32  // index in World.words; -1 if there is none
	a, b  uint64 // value; old and new; count; thread; value and index in the list
}

// within reports whether o is inside a system call that began with another
// step. A thread that is killed or stopped there leaves the queues first and
// has no effect but the wake-ups spent on it, so it might as well have been
// killed before the call, or after.
func (o *op) within() bool { return o.kind == opQueue && o.b > 0 || o.kind == opUnqueue }

// A proc is what the search schedules: thread t is proc t, and the flusher of
// its store buffer is proc t+maxThreads.
const (
	maxThreads = 6
	maxProcs   = 2 * maxThreads
)

type procSet uint16

func set(p int) procSet             { return 1 << p }
func (s procSet) has(p int) bool    { return s>>p&1 == 1 }
func (s procSet) lowest() procSet   { return s & -s }
func flusher(t int) int             { return t + maxThreads }
func threadOf(p int) int            { return p % maxThreads }
func isFlusher(p int) bool          { return p >= maxThreads }
func (s procSet) flushers() procSet { return s &^ (1<<maxThreads - 1) }
func (o *op) waitsForBuffer() bool  { return o.kind < opMembarrierEnd && !o.ignoresBuffer() }
func (o *op) ignoresBuffer() bool {
	return o.kind == opLoad || o.kind == opStoreRelease || o.kind == opPause
}
func conflict(a, b access) bool       { return a|b == write && a != none && b != none }
func (w *World) thread(p int) *thread { return w.threads[threadOf(p)] }

// An access is what an op does to one of the two parts of its word, the value
// and the queue of parked threads. Two reads commute, nothing else does.
type access uint8

const (
	none  access = 0
	read  access = 1
	write access = 3
)

// effect tells what o as the next step of t would do to its word: a
// CompareAndSwap that would fail is only a read, and so is a Wake that would
// find nobody. A load that its own buffer answers is no access to memory.
func (w *World) effect(t *thread, o *op) (value, queue access, forwarded bool) {
	switch o.kind {
	case opLoad:
		if t.buffered(o.word) != nil {
			return none, none, true
		}
		return read, none, false
	case opStore, opAdd, opSwap, opFlush:
		return write, none, false
	case opStoreRelease:
		if !w.tso {
			return write, none, false
		}
	case opCompareAndSwap:
		if w.words[o.word].get() == o.a {
			return write, none, false
		}
		return read, none, false
	case opWait:
		// Also if the word has changed: who makes it change is no party to a
		// race with a Wake, so the search would not see that without the
		// change the order of Wait and Wake matters.
		return read, write, false
	case opQueue:
		return read, write, false
	case opUnqueue:
		return none, write, false
	case opWake:
		if w.hasWaiter(o.word) {
			return none, write, false
		}
		return none, read, false
	}
	return none, none, false
}

// dependent reports whether it matters, in the present state, in which order
// the next steps a of proc p and b of another proc q happen.
func (w *World) dependent(p int, a *op, q int, b *op) bool {
	t, u := w.thread(p), w.thread(q)
	switch {
	case a.kind == opPause:
		return b.kind != opPause && w.disturbs(t, u, b)
	case b.kind == opPause:
		return w.disturbs(u, t, a)
	case w.tso && a.kind == opMembarrier && !isFlusher(q):
		return b.kind == opStoreRelease || b.kind == opRegister
	case w.tso && b.kind == opMembarrier && !isFlusher(p):
		return a.kind == opStoreRelease || a.kind == opRegister
	case a.kind == opWake && b.kind == opWake && w.hits(a)&w.hits(b) != 0:
		return true // who comes first wakes a thread that waits for either
	case a.word != b.word || a.word < 0:
		return false
	}
	va, qa, fa := w.effect(t, a)
	vb, qb, fb := w.effect(u, b)
	if t == u { // a thread and its flusher: whether a load is forwarded
		return fa || fb || conflict(va, vb)
	}
	return conflict(va, vb) || conflict(qa, qb)
}

// disturbs reports whether b, the next step of u, could end t's Pause.
func (w *World) disturbs(t, u *thread, b *op) bool {
	if b.word < 0 {
		return false
	}
	value, _, _ := w.effect(u, b)
	return t != u && value == write && t.lookedAt(b.word)
}
