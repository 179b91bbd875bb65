package modelcheck

import (
	"fmt"
	"unsafe"
)

// Data races on payload, found by vector clocks in the manner of FastTrack
// (Flanagan and Freund, PLDI 2009), with the order of Go's memory model.
//
// Invariants:
//   - clock[t] of thread t is its own time; it moves on at each of its stores.
//   - A store carries its thread's clock to its word; a load that reads memory
//     joins it, one that its own buffer answers has nothing to join. A
//     buffered store carries the clock of the StoreRelease, not of the flush.
//   - A read-modify-write joins first and carries on what it joined. Fences,
//     Membarrier and futexes order nothing. A notified death orders all that
//     the dead thread did.
//   - Accesses before the threads start are ordered before everything.
type happens [maxThreads]uint32

func (c *happens) join(d *happens) {
	for i, v := range d {
		c[i] = max(c[i], v)
	}
}

// A cell is the history of some bytes that were always accessed together:
// each thread's time at its last read and at its last write.
type cell [maxThreads][2]uint32

// A granule is eight aligned bytes, kept as one cell until somebody accesses
// a part of it.
type granule struct {
	whole cell
	bytes *[8]cell
}

// access checks t's access to the n bytes at p against all others.
func (w *World) access(t *thread, p unsafe.Pointer, n uintptr, kind int) {
	for n > 0 {
		base := unsafe.Add(p, -int(uintptr(p)&7))
		from := uintptr(p) & 7
		to := min(8, from+n)
		g := w.shadow[base]
		if g == nil {
			g = w.newGranule()
			w.shadow[base] = g
		}
		if to-from < 8 && g.bytes == nil {
			g.bytes = new([8]cell)
			for i := range g.bytes {
				g.bytes[i] = g.whole
			}
		}
		if g.bytes == nil {
			w.check(t, &g.whole, base, 8, kind)
		} else {
			for i := from; i < to; i++ {
				w.check(t, &g.bytes[i], unsafe.Add(base, i), 1, kind)
			}
		}
		p, n = unsafe.Add(p, to-from), n-(to-from)
	}
}

func (w *World) check(t *thread, c *cell, p unsafe.Pointer, n uintptr, kind int) {
	verb := [2]string{"reads", "writes"}
	for _, u := range w.threads[:w.n] {
		x, seen := c[u.id], t.clock[u.id]
		if u == t || x[1] <= seen && (x[0] <= seen || kind == 0) {
			continue
		}
		other := 0
		if x[1] > seen {
			other = 1
		}
		panic(&Failure{Kind: Race, Reason: fmt.Sprintf("data race: %s %s %s, which %s %s in no order with it",
			t.name, verb[kind], w.name(p, n), u.name, verb[other])})
	}
	c[t.id][kind] = t.clock[t.id]
}

// newGranule takes one that an earlier execution has used, if there is one.
func (w *World) newGranule() *granule {
	if w.granules == len(w.pool) {
		w.pool = append(w.pool, new(granule))
	}
	g := w.pool[w.granules]
	*g = granule{}
	w.granules++
	return g
}
