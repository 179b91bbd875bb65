package modelcheck

// Futexes.
//
// Invariants:
//   - queue holds the parked threads, oldest first; Wait's look at the word
//     and its place in the queue are one step, as in the kernel.
//   - A wake-up orders nothing: who is woken has to look.
//   - A Wait that returns early, for no reason or because its limit has
//     ended, is a Wait that returns at once: from its place in the queue until
//     then it has no effect, or it was woken. So that is an alternative of the
//     Wait step, bounded per thread by Config.Spurious and Config.Timeouts.
//   - A thread that is parked with a limit is never lost: when nothing else
//     can happen, its limit ends. See [World.forcible].

// alternatives returns in how many ways t's next op can turn out.
func (w *World) alternatives(t *thread, o *op) int {
	if o.kind == opWait && w.words[o.word].get() == o.a {
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

func (w *World) hasWaiter(i int32) bool {
	for _, q := range w.queue {
		if q.parked == i+1 {
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
	t.parked, t.timed = o.word+1, o.timed
	w.queue = append(w.queue, t)
}

// wake unparks up to n threads and returns how many.
func (w *World) wake(t *thread, i int32, n uint64) (woken uint64) {
	rest := w.queue[:0]
	for _, q := range w.queue {
		if q.parked != i+1 || woken == n {
			rest = append(rest, q)
			continue
		}
		woken++
		q.parked = 0
		w.past[q.id].join(&w.past[t.id])
		if w.trace != nil {
			w.notef("wakes %s", q.name)
		}
		w.woken = append(w.woken, q)
	}
	w.queue = rest
	return woken
}

// unpark ends the limit of t, which is parked.
func (w *World) unpark(t *thread) {
	rest := w.queue[:0]
	for _, q := range w.queue {
		if q != t {
			rest = append(rest, q)
		}
	}
	w.queue = rest
	t.parked = 0
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
		case t.parked != 0 && t.timed && t.forced > 0:
			again |= set(t.id)
		case t.parked != 0 && t.timed:
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
