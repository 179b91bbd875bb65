package slabpool

import (
	"fmt"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/region"
)

// A View looks at a pool from outside, while its endpoints are at work, and
// writes nothing. It needs no more than memory that can be read. It belongs to
// any number of goroutines.
//
// Invariants that it rests on: those of the state words, and that whoever
// claims a block writes to it only after that.
//
// Ownership: none. Everything that it reads may be anything: it works with a
// private copy of the shape, so nothing leads an access out of the memory.
//
// Who may die where: see state.go. A View does not mind.
type View struct {
	mem        unsafe.Pointer
	geo        Geometry
	tag, first uint64
}

// ViewOf makes a view of the pool at mem, which has n bytes. Errors wrap
// ErrCorrupt.
func ViewOf(mem unsafe.Pointer, n uintptr) (View, error) {
	g, err := Read(mem, n)
	if err != nil {
		return View{}, err
	}
	c := (*control)(mem)
	return View{mem: mem, geo: g, tag: c.tag & tagMask, first: c.first & genMask}, nil
}

// ViewIn is ViewOf for the pool section of a region that is observed: at is
// what region's (*Observer).Read gives. A region without one, or with one of
// another version, gives ErrMismatch.
func ViewIn(at func(region.Kind) (mem unsafe.Pointer, size uint64, version uint16, ok bool)) (View, error) {
	mem, n, version, ok := at(region.KindPool)
	if err := checkSection(version, ok); err != nil {
		return View{}, err
	}
	return ViewOf(mem, uintptr(n))
}

// Classes returns the classes, by size.
func (v *View) Classes() []Class { return v.geo.Classes() }

// Waiting tells whether somebody may be parked on the pool's own event until a
// block is available.
func (v *View) Waiting() bool { return (*control)(v.mem).event.Sleeping() }

// Stats looks at all blocks, as (*Raw).Stats does.
func (v *View) Stats() []Stats {
	all := make([]Stats, len(v.geo.classes))
	for k := range v.geo.classes {
		all[k] = v.geo.classes[k].stats(v.mem, v.first)
		all[k].Failed = words(v.mem, k).failed.Load() // pairs with the addition in missed
	}
	return all
}

// Holdings is how much of a pool an owner has.
type Holdings struct {
	Blocks int    // held, posted or cached; a block of several owners counts for each
	Bytes  uint64 // of these blocks
}

// Holdings looks at all blocks, and returns what each owner has.
func (v *View) Holdings() (all [MaxOwners]Holdings) {
	for k := range v.geo.classes {
		p := &v.geo.classes[k]
		for i := range uint32(p.Count) {
			w := p.record(v.mem, i).state.Load() // pairs with the swaps of whoever claims and frees
			if w&owners == 0 {
				continue
			}
			for o := range all {
				if w&ownerBit(o) != 0 {
					all[o].Blocks++
					all[o].Bytes += uint64(p.Size)
				}
			}
		}
	}
	return all
}

// Sample copies the contents of a block to buf, as many bytes as fit and h says
// are in use, and returns how many. They are those of the use of the block that
// h names: what its holders have written until now. Errors: ErrStaleHandle if
// the block is free, or was freed before the copy was done, or if h names none of
// this pool's; there may be anything in buf then.
//
// It is a seqlock on the block's state word, of which the holders know nothing.
// Freeing a block changes its generation, and the next user writes only after
// he has read the changed word. So if the copy has met one of his bytes, the look
// after it, behind a fence, meets the new generation.
func (v *View) Sample(h Handle, buf []byte) (int, error) {
	k := h.Class()
	if h.tag() != v.tag || k >= len(v.geo.classes) {
		return 0, fmt.Errorf("slabpool: %v is from another pool: %w", h, ErrStaleHandle)
	}
	p := &v.geo.classes[k]
	if h.Index() >= p.Count || h.Len() > p.Size {
		return 0, fmt.Errorf("slabpool: %v: the class has %d blocks of %d bytes: %w", h, p.Count, p.Size, ErrStaleHandle)
	}
	state := &p.record(v.mem, uint32(h.Index())).state
	used := func() bool {
		w := state.Load() // pairs with the swap in drop, and that of the sweep
		return generation(w) == h.Generation() && !isFree(w) && !isCached(w)
	}
	n := 0
	if used() {
		block := unsafe.Add(v.mem, p.blocks+uintptr(h.Index())*p.stride)
		n = copy(buf, unsafe.Slice((*byte)(block), h.Len()))
		word.Fence() // the copy is done before the look below
		if used() {
			return n, nil
		}
	}
	return 0, fmt.Errorf("slabpool: %v was freed: %w", h, ErrStaleHandle)
}

// stats looks at the blocks of a class; first is the generation that a block has
// before its first use.
//
// HighWater needs no counter: a block that was never used is taken only when no
// other is on the list.
func (p *place) stats(mem unsafe.Pointer, first uint64) (s Stats) {
	s.Class = p.Class
	for i := range uint32(p.Count) {
		switch w := p.record(mem, i).state.Load(); {
		case isFree(w):
			s.Free++
			if generation(w) != first {
				s.HighWater++
			}
			continue
		case isCached(w):
			s.Cached++
		default:
			s.InUse++
		}
		s.HighWater++
	}
	return s
}
