package slabpool

import (
	"fmt"
	"io/fs"
)

// Free ends this endpoint's hold of a block, or one of its holds (see Retain).
// If nobody else holds the block, it is free, and whoever waits for one is
// woken. The handle is stale from then on. It never blocks. Errors:
// ErrStaleHandle.
func (p *Raw) Free(h Handle) error { return p.free(h, nil) }

// free is Free behind a gate.
func (p *Raw) free(h Handle, g *gate) error {
	c, r, err := p.find(h)
	if err != nil {
		return err
	}
	i, gen := uint32(h.Index()), h.Generation()
	for {
		w := r.state.Load()
		if !g.open(w) {
			return errGate
		}
		if !isHeld(w, p.me) || generation(w) != gen {
			return p.stale(h, w)
		}
		if more := c.more[i].Load(); more>>moreBits == gen && more&moreMask != 0 {
			if c.more[i].CompareAndSwap(more, more-1) {
				return nil
			}
			continue
		}
		if w&owners == p.me && c.note.n.Load() < c.keep {
			if r.state.CompareAndSwap(w, again(w)|p.me|cached|w&queued) { // pairs with the load of whoever claims it
				c.note.push(i)
				if c.words.hidden.Load()&hiddenState != hidden {
					c.hide()
				}
				p.event.Signal()
				return nil
			}
		} else if c.drop(i, r, w, p.me) {
			p.event.Signal()
			return nil
		}
	}
}

// drop takes the holder in bit away from the block that has the word w; if
// there is no other, the block is free. It reports whether w was still the word.
func (c *class) drop(i uint32, r *record, w, bit uint64) bool {
	switch {
	case w&owners&^bit != 0:
		return r.state.CompareAndSwap(w, w&^bit)
	case w&queued != 0: // listed, or somebody has the token and will look
		if !r.state.CompareAndSwap(w, again(w)|queued) {
			return false
		}
		c.hide()
	default:
		if !r.state.CompareAndSwap(w, again(w)|queued) { // pairs with the load of whoever claims it
			return false
		}
		c.push(i)
	}
	return true
}

// Flush gives back what this endpoint has cached: before it leaves.
func (p *Raw) Flush() {
	p.Sweep(p.Owner(), func() (func(Handle) bool, bool) { return nil, true }, true)
}

// Counts of further holds, private to the endpoint: generation<<24 | count.
const (
	moreBits = 24
	moreMask = 1<<moreBits - 1
)

// Retain adds a hold of a block that this endpoint holds already, for another
// goroutine say: one more Free is needed. Other processes know nothing of it.
// Errors: ErrStaleHandle; fs.ErrInvalid at 2²⁴ holds.
func (p *Raw) Retain(h Handle) error {
	c, r, err := p.find(h)
	if err != nil {
		return err
	}
	gen := h.Generation()
	for {
		more := c.more[h.Index()].Load()
		if w := r.state.Load(); !isHeld(w, p.me) || generation(w) != gen {
			return p.stale(h, w)
		}
		n := gen << moreBits
		if more>>moreBits == gen {
			n = more
		}
		if n&moreMask == moreMask {
			return fmt.Errorf("slabpool: %v is held %d times: %w", h, moreMask, fs.ErrInvalid)
		}
		if c.more[h.Index()].CompareAndSwap(more, n+1) {
			return nil
		}
	}
}

// Share makes another owner a holder of the block too, who may use and free it
// from then on: tell him the handle after. The block becomes free when all its
// holders have freed it or have died. Errors: ErrStaleHandle; fs.ErrInvalid if
// there is no such owner, or if he is a holder already.
func (p *Raw) Share(h Handle, owner int) error { return p.pass(h, owner, false) }

// Give passes this endpoint's hold of a block on to another owner: tell him the
// handle after. The handle is stale here from then on. Errors are those of
// Share, and ErrBusy while Retain's further holds are not freed.
func (p *Raw) Give(h Handle, owner int) error { return p.pass(h, owner, true) }

// pass makes another owner a holder of the block: with give instead of this
// endpoint, else beside it.
func (p *Raw) pass(h Handle, owner int, give bool) error {
	if err := p.other(owner); err != nil {
		return err
	}
	c, r, err := p.find(h)
	if err != nil {
		return err
	}
	bit := ownerBit(owner)
	for {
		w := r.state.Load()
		if !isHeld(w, p.me) || generation(w) != h.Generation() {
			return p.stale(h, w)
		}
		left, instead := w, "its own Retain counts further holds"
		if give {
			if more := c.more[h.Index()].Load(); more>>moreBits == h.Generation() && more&moreMask != 0 {
				return fmt.Errorf("slabpool: %v is held %d more times here; free those first: %w", h, more&moreMask, ErrBusy)
			}
			left, instead = w&^p.me, "free your own hold instead"
		}
		if w&bit != 0 {
			return fmt.Errorf("slabpool: owner %d holds %v already; %s: %w", owner, h, instead, fs.ErrInvalid)
		}
		if r.state.CompareAndSwap(w, join(left, bit)) { // pairs with the load in the other holder's Bytes
			return nil
		}
	}
}

func (p *Raw) other(owner int) error {
	if owner < 0 || owner >= MaxOwners || ownerBit(owner) == p.me {
		return fmt.Errorf("slabpool: owner %d, want another one than this, from 0 to %d: %w", owner, MaxOwners-1, fs.ErrInvalid)
	}
	return nil
}

// Post lets go of a block that this endpoint alone holds, for the one who Takes
// it. Whoever publishes handles in a ring of his own posts before he publishes,
// so that Sweep can tell, by a look at the ring, what was published and what
// was not. Errors: ErrStaleHandle; ErrBusy if there is another hold.
func (p *Raw) Post(h Handle) error {
	c, r, err := p.find(h)
	if err != nil {
		return err
	}
	for {
		w := r.state.Load()
		if !isHeld(w, p.me) || generation(w) != h.Generation() {
			return p.stale(h, w)
		}
		more := c.more[h.Index()].Load()
		if w&owners != p.me || more>>moreBits == h.Generation() && more&moreMask != 0 {
			return fmt.Errorf("slabpool: %v has more holds than one; free those first: %w", h, ErrBusy)
		}
		if r.state.CompareAndSwap(w, w|flight) { // pairs with the load in Take
			return nil
		}
	}
}

// Take makes this endpoint the holder of a block that another has posted, or
// it itself. Take before the handle's place in the ring is given back. Errors:
// ErrStaleHandle if it was not posted, or was taken.
func (p *Raw) Take(h Handle) error {
	_, r, err := p.find(h)
	if err != nil {
		return err
	}
	for {
		w := r.state.Load()
		if !isPosted(w) || generation(w) != h.Generation() {
			return p.stale(h, w)
		}
		if r.state.CompareAndSwap(w, w&^(owners|flight)|p.me) { // pairs with the loads of Post and Sweep
			return nil
		}
	}
}

// Untake posts a block again on behalf of owner, if a predecessor in this seat
// took it: one that died between Take and giving back the handle's place in the
// ring. It reports whether that was so.
func (p *Raw) Untake(h Handle, owner int) bool {
	_, r, err := p.find(h)
	if err != nil || owner < 0 || owner >= MaxOwners {
		return false
	}
	for {
		w := r.state.Load()
		if !isHeld(w, p.me) || w&owners != p.me || generation(w) != h.Generation() {
			return false
		}
		if r.state.CompareAndSwap(w, w&^owners|ownerBit(owner)|flight) { // pairs with the loads in Take and Sweep
			return true
		} // else whoever has popped the block's token has just returned it
	}
}
