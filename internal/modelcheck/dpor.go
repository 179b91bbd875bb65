package modelcheck

import "math/bits"

// Source-DPOR with sleep sets: Abdulla, Aronis, Jonsson and Sagonas, "Optimal
// dynamic partial order reduction", POPL 2014, algorithm 1.
//
// Two executions that differ only in the order of independent steps end in
// the same state, so one of them is enough. The search runs one execution,
// finds the pairs of steps in it that race (dependent, and nothing in between
// forces their order), and for each makes sure that some execution will be
// tried in which the later one comes first. A sleep set holds the procs whose
// next step need not be tried here, because an execution that begins with it
// was, and nothing dependent on it has happened since.
//
// Invariants:
//   - past[p] is the causal past of proc p's last step: past[p][q] is the
//     number, counted from 1, of the last step of q in it.
//   - No step of one proc disables the next step of another. (A limit that
//     ends and a stopped thread that goes on do so only when nothing else can
//     happen; all of them are tried, and they are ordered after everything.)
//   - A step that enables another proc's step, as a flush does for a fence
//     and a Wake for who is parked, is in its past and no race with it. Two
//     Wakes that could both enable it depend on each other.
type clock [maxProcs]int32

func (c *clock) join(d *clock) {
	for i, v := range d {
		c[i] = max(c[i], v)
	}
}

// An event is a step that has happened.
type event struct {
	proc int
	past clock // with itself
}

// in reports whether e, the event with index i, lies in the past c.
func (e *event) in(i int, c *clock) bool { return c[e.proc] > int32(i) }

// races gathers the steps that a new one depends on.
type races struct {
	at [5 * maxProcs]int32 // event numbers from 1; 0 for none
	n  int
}

func (r *races) add(event int32) {
	if event != 0 {
		r.at[r.n] = event
		r.n++
	}
}

// record enters step o of proc p, which is about to happen in its alt-th way,
// as an event, and asks for the reversal of its races if fresh.
func (s *search) record(p int, o *op, alt int, fresh bool) {
	w := &s.World
	t := w.thread(p)
	now := int32(len(w.events) + 1)
	past := w.past[p]
	var found races
	switch {
	case o.kind == opTimeout || o.kind == opResume:
		for i := range w.past {
			past.join(&w.past[i])
		}
	case o.kind == opUnqueue && t.byHit:
		past.join(&w.events[t.firstHit-1].past)
		t.byHit = false
	case o.kind == opFlush:
		past.join(&w.events[t.buffer[0].event-1].past)
	case o.kind == opAwait:
		past.join(&w.past[o.a])
		if fate(o.b) != stopped {
			past.join(&w.past[flusher(int(o.a))])
		}
	case w.tso && o.waitsForBuffer():
		past.join(&w.past[flusher(t.id)])
	}
	w.touch(p, o, alt, now, &found)

	full := past
	for _, i := range found.at[:found.n] {
		full.join(&w.events[i-1].past)
	}
	// From the latest on: what lies in the past of a later one is no race.
	for found.n > 0 && fresh {
		k := 0
		for i, e := range found.at[:found.n] {
			if e > found.at[k] {
				k = i
			}
		}
		i := int(found.at[k] - 1)
		found.n--
		found.at[k] = found.at[found.n]
		if e := &w.events[i]; !e.in(i, &past) {
			s.reverse(i, p, &full)
			past.join(&e.past)
		}
	}
	full[p] = now
	w.past[p] = full
	w.events = append(w.events, event{p, full})
}

// touch adds to found the latest steps of other procs on which step now of
// proc p depends, and notes now as one that later steps may depend on.
func (w *World) touch(p int, o *op, alt int, now int32, found *races) {
	t := w.thread(p)
	switch o.kind {
	case opPause:
		for _, l := range t.looked {
			m := &w.words[l.word]
			found.add(m.wrote)
			m.readBy[t.id] = now
		}
		return
	case opMembarrier:
		if w.tso {
			for i := range w.issued[:w.n] {
				if i != t.id {
					found.add(w.issued[i].last)
					w.issued[i].seenBy[t.id] = now
				}
			}
		}
		return
	case opRegister, opStoreRelease:
		if w.tso {
			u := &w.issued[t.id]
			for _, e := range u.seenBy[:w.n] {
				found.add(e)
			}
			*u = issued{last: now}
			return
		}
	}
	if o.word < 0 {
		return
	}
	value, queue, forwarded := w.effect(t, o)
	if alt == 1 {
		queue = none
	}
	m := &w.words[o.word]
	switch value {
	case write:
		found.add(m.wrote)
		for i, e := range m.readBy[:w.n] {
			if i != p {
				found.add(e)
			}
		}
		if isFlusher(p) {
			found.add(m.forwardedTo[t.id])
		}
		m.wrote, m.readBy = now, [maxThreads]int32{}
	case read:
		found.add(m.wrote)
		m.readBy[t.id] = now
	}
	if forwarded {
		m.forwardedTo[t.id] = now
		if e := m.wrote; e != 0 && w.events[e-1].proc == flusher(t.id) {
			found.add(e)
		}
	}
	if o.kind == opWake {
		for rest := w.hits(o); rest != 0; rest &= rest - 1 {
			u := w.threads[bits.TrailingZeros16(uint16(rest))]
			found.add(u.lastHit)
			if u.lastHit = now; u.firstHit == 0 {
				u.firstHit = now
			}
		}
	}
	switch queue {
	case write:
		found.add(m.queueWrote)
		for _, e := range m.queueReadBy[:w.n] {
			found.add(e)
		}
		m.queueWrote, m.queueReadBy = now, [maxThreads]int32{}
	case read:
		found.add(m.queueWrote)
		m.queueReadBy[t.id] = now
	}
}

// issued is what Membarrier reads of a thread: which stores it has issued.
type issued struct {
	last   int32 // StoreRelease or RegisterMembarrier
	seenBy [maxThreads]int32
}

// reverse asks for an execution in which the new step of proc p, whose past is
// full, comes before event i. Of the steps since i that do not depend on it,
// and the new one, any that can come first will do (a source set).
func (s *search) reverse(i, p int, full *clock) {
	w := &s.World
	e := &w.events[i]
	f := &s.stack[i]
	var seen, first procSet
	var begins [maxProcs]int32
	for j := i + 1; j <= len(w.events); j++ {
		q, past := p, full
		if j < len(w.events) {
			x := &w.events[j]
			if e.in(i, &x.past) {
				continue
			}
			q, past = x.proc, &x.past
		}
		if seen.has(q) {
			continue
		}
		free := true
		for rest := seen; rest != 0 && free; rest &= rest - 1 {
			r := bits.TrailingZeros16(uint16(rest))
			free = past[r] <= begins[r]
		}
		seen |= set(q)
		begins[q] = int32(j)
		if free {
			first |= set(q)
		}
	}
	if first&(f.todo|f.sleep) == 0 {
		f.todo |= (first & f.enabled).lowest()
	}
}
