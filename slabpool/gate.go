package slabpool

import (
	"errors"
	"fmt"

	"github.com/shmkit/shm/internal/word"
)

// A gate lets calls that change the word of a block go on beside a Close that
// gives the seat up, without a lock that both take. It is open, closing or closed.
//
// Invariants:
//   - a call behind a gate loads a word, then finds the gate open, and then swaps
//     exactly that word or nothing. (Bytes swaps nothing.) So it has seen the word
//     when the seat was its own;
//   - it swaps only a word that has its own bit, and that does not become the same
//     again once it has changed (state.go). What may become the same, since its
//     hops are full, is not for a call behind a gate;
//   - calls that add our bit, or that change a word which they have not seen so,
//     have the pool's latch, and so has Close from closing to its decision;
//   - closed is said after a look at all words that began after closing was said,
//     and that found none with our bit held or cached; or, beside a peer that
//     writes such words without end, after maxLooks that found none held.
//
// Why nothing is changed in a seat that is another's: a call that is under way
// at that last look has loaded its word with our bit in it, and before closing was
// said. Either it has swapped before the look, and the look has seen what it made
// of the word; or its word has lost our bit since, and its swap fails. (A peer that
// writes the same word back can let it succeed. The block is then that peer's to
// damage, as it was before.)
//
// What such a call may yet do in the shared memory is to push the block that it
// made free, to say hidden, and to wake: all that is anybody's to do. If it dies
// before, or is never run again, nobody sweeps after it, since the seat was given
// up in good order. So Close says hidden and wakes after the last look, on its
// behalf.
//
// Ownership: of whoever has the latch for writing. The word is private.
//
// Who may die where: a process with all its goroutines, so its gates die with it.
type gate struct{ state word.U32 }

const (
	open = iota
	closing
	closed
)

// errGate says that a call cannot be done behind the gate: it takes the latch,
// which waits for the decision of Close.
var errGate = errors.New("slabpool: not behind a gate")

// open tells whether w, which was loaded before, may be swapped. The nil gate is
// that of calls that no Close can meet: with the latch, and of a Raw.
func (g *gate) open(w uint64) bool {
	return g == nil || g.state.Load() == open && w&hops != hops // pairs with the stores in end
}

// closed tells whether Close has decided so.
func (g *gate) closed() bool { return g.state.Load() == closed } // pairs with the store in end

// maxLooks is how often end looks for blocks of its own. Beside sound peers it
// decides at the second look at the latest. After the first one that finds
// nothing held, who is under way may still take one block out of the cache, which
// is then held until Close has decided. He cannot cache one: it would have been
// held, with the word that he has loaded, at that look. And the flush takes all
// else. The rest is for those who write what is not so.
const maxLooks = 8

// end closes the gate of p if p holds nothing, and makes sure that it never will.
// A peer that writes without end that blocks are cached here does not keep it: the
// gate is closed then, and the error wraps ErrCorrupt. The caller has the latch.
func (g *gate) end(p *Raw) error {
	g.state.Store(closing) // pairs with the load in open
	for look := 1; ; look++ {
		held, cached := p.count()
		switch {
		case held > 0:
			g.state.Store(open)
			return fmt.Errorf("slabpool: close: %d blocks are held here; free them first: %w", held, ErrBusy)
		case cached > 0 && look < maxLooks: // a refused Close costs the cache
			p.Flush()
			continue
		}
		p.stir()
		g.state.Store(closed)
		if cached > 0 {
			return fmt.Errorf("slabpool: close: %d blocks are cached here again after each of %d flushes: a peer wrote to them; this endpoint is closed; end all processes and make a new pool: %w",
				cached, maxLooks-1, ErrCorrupt)
		}
		return nil
	}
}

// count tells how many blocks this endpoint holds and has cached.
func (p *Raw) count() (held, cached int) {
	for k := range p.classes {
		c := &p.classes[k]
		for i := range c.count {
			switch w := c.record(c.mem, i).state.Load(); { // pairs with the swaps behind the gate
			case isHeld(w, p.me):
				held++
			case isCached(w) && w&p.me != 0:
				cached++
			}
		}
	}
	return held, cached
}
