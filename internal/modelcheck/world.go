package modelcheck

import (
	"fmt"
	"slices"
	"unsafe"
)

// A World is one execution. The setup function that is given to [Explore]
// makes its shared memory and its threads in it.
//
// Setup runs before the threads: its operations on shared words are performed
// at once, and everything in it is ordered before the threads.
type World struct {
	cfg     Config
	tso     bool
	threads [maxThreads]*thread
	n       int // threads in this execution
	arena   arena
	words   []word
	queue   []place   // of parked threads, oldest first
	woken   []*thread // by the present step

	shadow   map[unsafe.Pointer]*granule
	pool     []*granule
	granules int // used of pool

	events []event
	past   [maxProcs]clock
	issued [maxThreads]issued

	names       []object
	final       func() error
	outcome     func() string
	failure     *Failure
	complete    bool // nothing can happen any more
	reached     uint // set of the crashes and stops that have happened
	registerAll bool // setup has called RegisterMembarrier
	trace       *tracer
}

// Go adds a thread, at most six. Threads may share nothing but words and
// announced payload; a Go variable may be used by one thread and by Final.
func (w *World) Go(name string, body func()) { w.add(name, body, false) }

// Daemon adds a thread that may be blocked for ever at the end.
func (w *World) Daemon(name string, body func()) { w.add(name, body, true) }

func (w *World) add(name string, body func(), daemon bool) {
	if w.n == maxThreads {
		panic(fmt.Sprintf("modelcheck: more than %d threads", maxThreads))
	}
	if w.threads[w.n] == nil {
		w.threads[w.n] = newThread(w, w.n)
	}
	t := w.threads[w.n]
	w.n++
	t.reset(name, body)
	t.daemon = daemon
	t.noBarrier = slices.Contains(w.cfg.NoMembarrier, name)
	t.noRegister = slices.Contains(w.cfg.NoRegister, name)
}

// Final sets the check of the last state of each execution. Operations on
// words in it are performed at once.
func (w *World) Final(check func() error) { w.final = check }

// Outcome sets what [Result.Outcomes] counts: a text for the last state.
func (w *World) Outcome(f func() string) { w.outcome = f }

// Alloc returns a zeroed T in the World's shared memory, aligned to 64 bytes,
// whose words have names like name.field[2] in traces. T holds no pointers.
func Alloc[T any](w *World, name string) *T {
	var t T
	p := (*T)(w.arena.alloc(unsafe.Sizeof(t), 64))
	w.Name(p, name)
	return p
}

// Bytes returns n zeroed bytes of the World's shared memory, aligned to a
// page of 4096 bytes.
func (w *World) Bytes(n int, name string) []byte {
	p := (*byte)(w.arena.alloc(uintptr(n), 4096))
	b := unsafe.Slice(p, n)
	w.names = append(w.names, object{ptr: unsafe.Pointer(p), size: uintptr(n), name: name})
	return b
}

// AwaitDeath blocks the calling thread until the named thread has crashed and
// all its stores have reached memory: what a lock tells that the kernel holds
// for a process. What the dead thread did is ordered before the return.
// A thread that is blocked here, or in the other Awaits, at the end is no
// failure.
func (w *World) AwaitDeath(name string) { w.await(name, dead) }

// AwaitEnd is like AwaitDeath, but also returns when the thread has finished.
func (w *World) AwaitEnd(name string) { w.await(name, ended) }

// AwaitStop blocks the calling thread until the named thread has been stopped
// by a [Crash] with Stop. It orders nothing.
func (w *World) AwaitStop(name string) { w.await(name, stopped) }

func (w *World) await(name string, f fate) {
	for _, t := range w.threads[:w.n] {
		if t.name == name {
			current.do(op{kind: opAwait, word: -1, a: uint64(t.id), b: uint64(f)})
			return
		}
	}
	panic("modelcheck: no thread " + name)
}

// Crashed reports whether the named thread has crashed. It is meant for Final.
func (w *World) Crashed(name string) bool {
	for _, t := range w.threads[:w.n] {
		if t.name == name {
			return t.crashed
		}
	}
	return false
}

// Notef adds a line to the trace, if there is one.
func (w *World) Notef(format string, args ...any) {
	if w.trace != nil {
		w.trace.note(current, format, args...)
	}
}

func (w *World) notef(format string, args ...any) {
	if w.trace != nil {
		w.trace.result(format, args...)
	}
}

// begin makes the World new and runs setup.
func (w *World) begin(setup func(*World)) {
	for i := range w.past {
		w.past[i] = clock{}
	}
	w.issued = [maxThreads]issued{}
	w.arena.reset(w.words)
	w.words, w.events, w.queue = w.words[:0], w.events[:0], w.queue[:0]
	clear(w.shadow)
	w.granules, w.n, w.reached, w.registerAll = 0, 0, 0, false
	w.names = w.names[:0]
	w.final, w.outcome, w.failure, w.complete = nil, nil, nil, false
	starting = w
	setup(w)
	starting = nil
	for _, t := range w.threads[:w.n] {
		t.registered = w.registerAll && !t.noRegister
		w.advance(t)
	}
}

// next returns the next op of proc p.
func (w *World) next(p int, forced bool) op {
	t := w.thread(p)
	switch {
	case isFlusher(p):
		return op{kind: opFlush, word: t.buffer[0].word, a: t.buffer[0].value}
	case forced && t.stopped:
		return op{kind: opResume, word: -1}
	case forced:
		return op{kind: opTimeout, word: -1}
	}
	return t.pend
}

// step performs o as the next step of proc p, in its alt-th way.
func (w *World) step(p int, o *op, alt int) {
	t := w.thread(p)
	if w.trace != nil {
		w.trace.step(w, p, o)
	}
	switch o.kind {
	case opFlush:
		w.flush(t)
		return
	case opTimeout:
		t.forced++
		w.unpark(t)
		w.advance(t)
		return
	}
	for _, u := range w.threads[:w.n] {
		if u != t {
			u.forced = 0
		}
	}
	switch o.kind {
	case opResume:
		t.stopped = false
		return
	case opCrash:
		t.crashed = true
		w.reached |= 1 << o.a
		return
	}
	t.res = w.apply(t, o, alt)
	if w.trace != nil {
		w.trace.end(o, t)
	}
	if !o.within() {
		t.ops++
	}
	t.hist = mix(t.hist, t.res<<1|uint64(alt))
	if !t.parked {
		w.advance(t)
	}
	for _, q := range w.woken {
		w.advance(q)
	}
	w.woken = w.woken[:0]
}

// apply performs o for t and returns its result.
func (w *World) apply(t *thread, o *op, alt int) (res uint64) {
	switch o.kind {
	case opLoad:
		if s := t.buffered(o.word); s != nil {
			t.looks(o.word, ownStore)
			return s.value
		}
		return w.acquire(t, o.word)
	case opStore:
		w.put(t, o.word, o.a, &t.clock)
	case opStoreRelease:
		if !w.tso {
			w.put(t, o.word, o.a, &t.clock)
			break
		}
		t.stores++
		s := store{word: o.word, n: t.stores, value: o.a, clock: t.clock}
		if w.cfg.Search == DPOR {
			s.event = int32(len(w.events))
		}
		t.buffer = append(t.buffer, s)
	case opAdd:
		res = w.acquire(t, o.word) + o.a
		if w.words[o.word].size == 4 {
			res = uint64(uint32(res))
		}
		w.put(t, o.word, res, &t.clock)
	case opSwap:
		res = w.acquire(t, o.word)
		w.put(t, o.word, o.a, &t.clock)
	case opCompareAndSwap:
		if w.acquire(t, o.word) != o.a {
			return 0
		}
		w.put(t, o.word, o.b, &t.clock)
		res = 1
	case opPause:
		t.pauses++
		t.looked = t.looked[:0]
		return 0
	case opWait:
		w.wait(t, o, alt)
		return 0
	case opQueue:
		return w.enqueue(t, o, alt)
	case opUnqueue:
		return w.dequeue(t, o)
	case opWake:
		return w.wake(t, o.word, o.a)
	case opMembarrier:
		w.membarrier(t)
		return 0
	case opRegister:
		t.registered = true
		return 0
	case opAwait:
		if fate(o.b) != stopped {
			t.clock.join(&w.threads[o.a].clock)
		}
		return 0
	default:
		return 0
	}
	t.clock[t.id]++
	return res
}

// finish judges the last state.
func (w *World) finish() {
	w.complete = true
	for _, t := range w.threads[:w.n] {
		if t.done || t.crashed || t.daemon || !t.parked && t.pend.kind == opAwait {
			continue
		}
		if t.parked {
			w.fail(&Failure{Kind: Deadlock, Reason: fmt.Sprintf("%s is parked on %s and nobody is left to wake it",
				t.name, w.parkedNames(t))})
		} else {
			w.fail(&Failure{Kind: Livelock, Reason: fmt.Sprintf("%s spins for ever: nobody is left to change %s (if its spinning is bounded, raise Config.Pauses)",
				t.name, w.lookedNames(t))})
		}
		return
	}
	if w.final != nil {
		if err := w.final(); err != nil {
			w.fail(&Failure{Kind: Final, Reason: err.Error(), Err: err})
		}
	}
}

// fail notes the first failure.
func (w *World) fail(f *Failure) {
	if w.failure == nil {
		w.failure = f
	}
}

// hash stands for the last state: memory, and what each thread has seen.
func (w *World) hash() (h uint64) {
	for i := range w.arena.blocks {
		b := &w.arena.blocks[i]
		for _, v := range b.mem[:(b.used+7)/8] {
			h = mix(h, v)
		}
	}
	for _, t := range w.threads[:w.n] {
		h = mix(mix(h, t.hist), uint64(t.ops)<<3|uint64(b2i(t.done))<<2|uint64(b2i(t.crashed))<<1|uint64(b2i(t.parked)))
	}
	return h
}

func mix(h, v uint64) uint64 {
	h = (h ^ v ^ 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	h ^= h >> 29
	return h * 0x94d049bb133111eb
}
