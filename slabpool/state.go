package slabpool

// The state of a block is one word:
//
//	63        24 23         8 7    3 2     0
//	[generation][  holders  ][ hops ][ flags ]
//
// holders is a set of owners (bit o for owner o). What the word says of a block:
//
//	holders  flags
//	none     queued            free
//	some     -                 held by each of them
//	one      cached            free, kept by that owner for itself
//	one      flight            posted by that owner, taken by nobody yet
//
// and queued besides, in any state: the block is on the free list, or somebody
// has a token for it. There is one token for each block: whoever sets queued has
// it until the block is pushed, then the list has it, then whoever popped the
// block, until he clears queued. hops counts how often the block got a holder by
// Give or Share since it was claimed, and stops at 31.
//
// Invariants:
//   - a block changes its owner by one compare-and-swap of this word and by
//     nothing else; the list, and what an endpoint has noted of its cached
//     blocks, only tell where to look;
//   - only the holder of the token pushes a block or clears queued, so no block
//     is ever on the list twice;
//   - the generation grows by 1 each time a block becomes free or cached. So a
//     word that was read and is still the same means that nothing has happened
//     in between but hand-overs, unless the block was freed 2⁴⁰ times;
//   - hops begins at 0 with each generation and grows with each Give and Share,
//     until it is full. So a word that is not full, not posted, and still the
//     same means that nothing at all has happened in between: within a generation
//     and a number of hops, cached and queued are only taken away, holders too, but
//     for whoever claims what was free or cached, which it never is again. (Post
//     and Take do not count. Pools have neither.)
//
// Ownership: a free block is anybody's to claim, listed or not; so is one that
// another owner has cached. Otherwise a holder takes his own bit away, adds
// others, or posts the block; a posted one is the taker's to claim. What a dead
// owner has is taken away by whoever sweeps (sweep.go).
//
// Who may die where: anybody anywhere. Whoever dies with a token leaves a
// block that is never listed again, but can be claimed as any other: he, or the
// sweep on his behalf, marks its class as one with hidden blocks (hidden.go).
// Whoever is stopped with the token of a free block keeps it out of reach
// meanwhile, as if he had claimed it already, unless others have reason to look at
// all blocks. He does no other harm: he looks at the word when he goes on.

const (
	queued = 1 << 0
	cached = 1 << 1
	flight = 1 << 2
	flags  = 1<<hopShift - 1

	hopShift = 3
	hop      = 1 << hopShift
	hops     = 0x1f << hopShift

	ownerShift = 8
	owners     = (1<<MaxOwners - 1) << ownerShift
	genShift   = 24
	genBits    = 64 - genShift
	genMask    = 1<<genBits - 1
)

// ownerBit is the bit of an owner in a state word.
func ownerBit(o int) uint64 { return 1 << (ownerShift + o) }

// generation is that of a word.
func generation(w uint64) uint64 { return w >> genShift }

// again is the generation after that of w, in its place.
func again(w uint64) uint64 { return (w>>genShift + 1) << genShift }

// isFree tells whether anybody may claim the block.
func isFree(w uint64) bool { return w&(owners|hops|flags) == queued }

// isCached tells whether some owner keeps the block for itself.
func isCached(w uint64) bool {
	m := w & owners
	return w&(hops|flags&^queued) == cached && m != 0 && m&(m-1) == 0
}

// isHeld tells whether the owners in bit are among the holders.
func isHeld(w, bit uint64) bool { return w&bit != 0 && w&(flags&^queued) == 0 }

// join is the word w with the owner in bit as one more holder.
func join(w, bit uint64) uint64 {
	if w&hops != hops {
		w += hop
	}
	return w | bit
}

// isPosted tells whether the block was posted and not taken.
func isPosted(w uint64) bool {
	m := w & owners
	return w&(flags&^queued) == flight && m != 0 && m&(m-1) == 0
}
