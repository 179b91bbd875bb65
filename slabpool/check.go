package slabpool

import (
	"fmt"
	"io/fs"
)

// The errors of bad arguments and bad handles, away from the fast paths.

var (
	errExhausted = fmt.Errorf("slabpool: no block that is large enough is free; free some, wait with Alloc, or make the pool larger: %w", ErrExhausted)
	errContext   = fmt.Errorf("slabpool: the context is nil; pass context.Background(): %w", fs.ErrInvalid)
)

func (p *Raw) badSize(n int) error {
	if n < 1 {
		return fmt.Errorf("slabpool: a block for %d bytes, want at least 1: %w", n, fs.ErrInvalid)
	}
	return fmt.Errorf("slabpool: a block for %d bytes, the largest class has %d; make the pool with a larger class: %w",
		n, p.classes[len(p.classes)-1].Size, ErrTooLarge)
}

func (p *Raw) badHandle(h Handle) error {
	switch {
	case h == Handle{}:
		return fmt.Errorf("slabpool: the zero handle, which is that of no block: %w", ErrStaleHandle)
	case h.tag() != p.tag:
		return fmt.Errorf("slabpool: %v is from another pool, or from before this one was made anew: %w", h, ErrStaleHandle)
	case h.Class() >= len(p.classes):
		return fmt.Errorf("slabpool: %v: this pool has %d classes: %w", h, len(p.classes), ErrStaleHandle)
	}
	c := p.classes[h.Class()].Class
	if h.Index() >= c.Count {
		return fmt.Errorf("slabpool: %v: the class has %d blocks: %w", h, c.Count, ErrStaleHandle)
	}
	return fmt.Errorf("slabpool: %v: the blocks of the class have %d: %w", h, c.Size, ErrStaleHandle)
}

// stale says what is wrong with a handle of a block that has the word w.
func (p *Raw) stale(h Handle, w uint64) error {
	var what string
	switch {
	case generation(w) != h.Generation():
		what = fmt.Sprintf("was freed; the block is at generation %d", generation(w))
	case isFree(w):
		what = "is free"
	case isCached(w):
		what = "is free, cached by " + holders(w)
	case isPosted(w):
		what = "is on its way, posted by " + holders(w)
	default:
		what = "is held by " + holders(w)
	}
	return fmt.Errorf("slabpool: %v %s, and this is owner %d: %w", h, what, p.Owner(), ErrStaleHandle)
}

func badList(c *class, i uint32) error {
	return fmt.Errorf("slabpool: block %d on the list of a class of %d: a peer wrote to it; end all processes and make a new pool: %w", i, c.count, ErrCorrupt)
}
