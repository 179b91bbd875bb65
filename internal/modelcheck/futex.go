package modelcheck

import (
	"slices"
	"unsafe"
)

// Futexes.
//
// Invariants:
//   - queue holds the places of parked threads, oldest first; Wait's look at
//     the word and its place in the queue are one step, as in the kernel.
//   - WaitAny is a step for each place that it takes and for each that it gives
//     up; a Wake in between takes the place away.
//   - A wake-up orders nothing: who is woken has to look.
//   - A Wait that returns early, for no reason or because its limit has
//     ended, is a Wait that returns at once: from its place in the queue until
//     then it has no effect, or it was woken. So that is an alternative of the
//     Wait step, bounded per thread by Config.Spurious and Config.Timeouts.
//   - A thread that is parked with a limit is never lost: when nothing else
//     can happen, its limit ends. See [World.forcible].

// alternatives returns in how many ways t's next op can turn out.
func (w *World) alternatives(t *thread, o *op) int {
	if (o.kind == opWait || o.kind == opQueue && o.last) && w.words[o.word].get() == o.a {
		limit := w.cfg.Spurious
		if o.timed {
			limit = w.cfg.Timeouts
		}
		if t.early[b2i(o.timed)] < limit {
			return 2
		}
	}
	return 1
}

// A place is a thread's in the queue of a word, with the index in the list of
// its WaitAny, or single.
type place struct {
	thread *thread
	word   int32
	index  int
}

const single = -1

func (w *World) hasWaiter(i int32) bool {
	for _, p := range w.queue {
		if p.word == i {
			return true
		}
	}
	return false
}

func (w *World) wait(t *thread, o *op, alt int) {
	if w.words[o.word].get() != o.a { // no acquire: the kernel's look orders nothing for t
		w.notef("the word has changed")
		return
	}
	if alt == 1 {
		t.early[b2i(o.timed)]++
		w.notef("returns early")
		return
	}
	w.notef("parks")
	t.parked, t.timed = true, o.timed
	w.queue = append(w.queue, place{t, o.word, single})
}

// waitAny is what futex_waitv does in the kernel (futex_wait_multiple). It
// looks at one word after the other, each time with a place in its queue if the
// word is as expected; parks unless it was woken meanwhile; and gives up one
// place after the other. Each of these is a step, for others may come between.
func (t *thread) waitAny(list []Expected, timed bool) int {
	t.hit, t.byHit, t.firstHit, t.lastHit = false, false, 0, 0
	word := func(i int) int32 { return t.w.word(unsafe.Pointer(list[i].Word), 4) }
	queued := 0
	for i, x := range list {
		if t.do(op{kind: opQueue, word: word(i), a: uint64(x.Value), b: uint64(i), timed: timed, last: i == len(list)-1}) == 0 {
			break
		}
		queued++
	}
	woken := -1
	for i := range queued {
		if t.do(op{kind: opUnqueue, word: word(i), b: uint64(i)}) == 1 {
			woken = i
		}
	}
	return woken
}

// enqueue returns 0 if the word has changed.
func (w *World) enqueue(t *thread, o *op, alt int) uint64 {
	if w.words[o.word].get() != o.a {
		w.notef("the word has changed")
		return 0
	}
	w.queue = append(w.queue, place{t, o.word, int(o.b)})
	switch {
	case !o.last:
	case alt == 1:
		t.early[b2i(o.timed)]++
		w.notef("returns early")
	case t.hit:
		t.byHit = true
		w.notef("was woken already")
	default:
		t.byHit = true
		t.parked, t.timed = true, o.timed
		w.notef("parks")
	}
	return 1
}

// dequeue returns 1 if a Wake has taken the place.
func (w *World) dequeue(t *thread, o *op) uint64 {
	for i, p := range w.queue {
		if p.thread == t && p.index == int(o.b) {
			w.queue = slices.Delete(w.queue, i, i+1)
			return 0
		}
	}
	return 1
}

// hits returns the threads inside WaitAny that o, a Wake, would wake now.
func (w *World) hits(o *op) (s procSet) {
	n := o.a
	for _, p := range w.queue {
		if p.word == o.word && n > 0 {
			if n--; p.index != single {
				s |= set(p.thread.id)
			}
		}
	}
	return s
}

// wake takes up to n places from the queue of word i, unparks their threads
// and returns how many it took.
func (w *World) wake(t *thread, i int32, n uint64) (woken uint64) {
	rest := w.queue[:0]
	for _, p := range w.queue {
		if p.word != i || woken == n {
			rest = append(rest, p)
			continue
		}
		woken++
		q := p.thread
		if w.trace != nil {
			w.notef("wakes %s", q.name)
		}
		if p.index == single {
			w.past[q.id].join(&w.past[t.id])
		}
		q.hit = true
		if q.parked {
			q.parked = false
			w.woken = append(w.woken, q)
		}
	}
	w.queue = rest
	return woken
}

// unpark ends the limit of t, which is parked. Inside WaitAny it gives up its
// places itself.
func (w *World) unpark(t *thread) {
	t.parked, t.byHit = false, false
	w.queue = slices.DeleteFunc(w.queue, func(p place) bool { return p.thread == t && p.index == single })
}

// forcible returns the threads that go on because nothing else can happen:
// those parked with a limit, and stopped ones. A thread whose limit has ended
// since anyone else moved comes last, so that one that polls does not keep a
// stopped one from going on.
func (w *World) forcible() (s procSet) {
	var again procSet
	for _, t := range w.threads[:w.n] {
		switch {
		case t.stopped && !t.done:
			s |= set(t.id)
		case t.parked && t.timed && t.forced > 0:
			again |= set(t.id)
		case t.parked && t.timed:
			s |= set(t.id)
		}
	}
	if s == 0 {
		return again
	}
	return s
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
