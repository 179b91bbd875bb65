package slabpool

import (
	"fmt"
	"math/bits"
	"strings"
)

// A sweep gives back what a dead owner has: held, cached, or posted and not
// published. Anybody may sweep at any time, and any number at once:
//
//  1. read all state words, and note those with the owner's bit;
//  2. look: collect what the owner has published and nobody has taken, and only
//     then make sure that the owner is dead, and was since before step 1: his
//     seat was not taken again (a death that is read from a word with an epoch);
//  3. drop the owner's bit in each noted word, but those of published blocks, by
//     a compare-and-swap of exactly that word.
//
// Why a successor in the same seat loses nothing: what was noted in step 1 was
// his dead predecessor's. The same word could be his own at step 3 only if he
// got the block in the same generation. A block that was free, or cached, has a
// new one; one that was published, which he may take as it is, was seen in step
// 2. But one that others hold too can be Shared with him: so whoever uses Share
// or Give keeps the seat from being taken while he sweeps (Pool does, by the
// lock of the role).
//
// Why a posted block that was published is never given back: the taker takes
// it before he gives back its place in the ring. So if step 2 did not find it
// there, it was never published, or its word has changed since step 1 and never
// becomes the same again, since it does not come back into the ring. (Untake makes
// it the same again, but only of a block whose handle is in the ring all the time.)
//
// Who may die where: a sweeper anywhere. Each swap is one block given back, once;
// the next sweeper does the rest.

// Sweep gives back what owner has, and returns how many holds it took away. look
// is called once, between the steps above: ok says that the owner is still as
// dead as before the call, and published tells of a block that it is in the
// ring (nil: none is). With cachedOnly it gives back only what is cached.
// Whoever waits for a block is woken in any case, on behalf of the dead.
func (p *Raw) Sweep(owner int, look func() (published func(Handle) bool, ok bool), cachedOnly bool) int {
	type noted struct {
		class int
		i     uint32
		w     uint64
	}
	if owner < 0 || owner >= MaxOwners {
		return 0
	}
	bit := ownerBit(owner)
	var list []noted
	for k := range p.classes {
		c := &p.classes[k]
		for i := range c.count {
			w := c.record(c.mem, i).state.Load()
			if w&bit != 0 && (!cachedOnly || isCached(w)) {
				list = append(list, noted{k, i, w})
			}
		}
	}
	published, ok := look()
	if !ok {
		return 0
	}
	n := 0
	for _, x := range list {
		if published != nil && published(makeHandle(p.tag, x.class, x.i, generation(x.w), 0)) {
			continue
		}
		c := &p.classes[x.class]
		r := c.record(c.mem, x.i)
		for w := x.w; ; {
			if c.drop(x.i, r, w, bit) {
				n++
				break
			}
			// The owner's own bit changes by no hand but another sweeper's. What
			// may change beside it: a token that comes back, other holders, and how
			// many there were.
			now := r.state.Load()
			if (now^x.w)&^(queued|hops|owners&^bit) != 0 {
				break
			}
			w = now
		}
	}
	p.stir()
	return n
}

// stir does on behalf of the dead what they did not come to: it says that there
// may be hidden blocks, and wakes whoever waits.
func (p *Raw) stir() {
	for k := range p.classes {
		p.classes[k].hide()
	}
	p.event.Kick()
}

// Held calls yield for each block that owner holds, with a handle of the whole
// block.
func (p *Raw) Held(owner int, yield func(Handle) bool) {
	if owner < 0 || owner >= MaxOwners {
		return
	}
	for k := range p.classes {
		c := &p.classes[k]
		for i := range c.count {
			if w := c.record(c.mem, i).state.Load(); isHeld(w, ownerBit(owner)) &&
				!yield(makeHandle(p.tag, k, i, generation(w), c.Size)) {
				return
			}
		}
	}
}

// having returns the bits of all owners who have anything that a sweep would give
// back.
func (p *Raw) having() (bits uint64) {
	for k := range p.classes {
		c := &p.classes[k]
		for i := range c.count {
			bits |= c.record(c.mem, i).state.Load() & owners
		}
	}
	return bits
}

// Owner returns the seat of this endpoint.
func (p *Raw) Owner() int { return bits.TrailingZeros64(p.me) - ownerShift }

// Stats is what a look at all blocks of a class finds. Beside others at work it
// is about right.
type Stats struct {
	Class
	InUse     int    // held or posted
	Cached    int    // free, kept by an endpoint for itself
	Free      int    // free for all
	HighWater int    // how many were in use or cached at once, at most, since the pool was made
	Failed    uint64 // allocations for which this was the smallest class that fits, and which found no block
}

// Stats looks at all blocks, and returns what it finds by class.
func (p *Raw) Stats() []Stats {
	all := make([]Stats, len(p.classes))
	for k := range p.classes {
		c := &p.classes[k]
		all[k] = c.stats(p.mem, p.first)
		all[k].Failed = c.words.failed.Load()
	}
	return all
}

// String is for people.
func (s Stats) String() string {
	return fmt.Sprintf("%d × %d bytes: %d in use, %d cached, %d free, %d at most, %d failed",
		s.Count, s.Size, s.InUse, s.Cached, s.Free, s.HighWater, s.Failed)
}

// holders names the owners of a word for people.
func holders(w uint64) string {
	var names []string
	for o := range MaxOwners {
		if w&ownerBit(o) != 0 {
			names = append(names, fmt.Sprint(o))
		}
	}
	return "owner " + strings.Join(names, " and ")
}
