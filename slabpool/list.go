package slabpool

// The free list of a class is a stack (R. K. Treiber, "Systems programming:
// coping with parallelism", 1986) whose head carries a tag that grows at each
// change, so that a head which was read and is still the same means that the
// list is the same.
//
// Invariants:
//   - each block on the list has queued set, and is on it once;
//   - the order of blocks on the list changes only by way of the head.
//
// Ownership: head is anybody's, by compare-and-swap. The link of a block is
// written by whoever has its token, before the push.
//
// Who may die where: before the swap of the head nothing has happened to the
// list; after it the block is on it, or off it. See state.go for what becomes
// of the token.

const headTag = 1 << indexBits // added at each change of a head

// push puts block i, whose token is the caller's, on the list.
func (c *class) push(i uint32) {
	r := c.record(c.mem, i)
	for {
		h := c.words.head.Load()
		r.next.StoreRelease(uint32(h & indexMask))
		if c.words.head.CompareAndSwap(h, (h&^indexMask+headTag)|uint64(i+1)) { // pairs with the load in pop
			return
		}
	}
}

// pop takes a block off the list and its token. It reports false if there is
// none. An index that is out of bounds is given back as it is: the caller looks.
func (c *class) pop() (i uint32, ok bool) {
	for {
		h := c.words.head.Load() // pairs with the swap in push
		i = uint32(h & indexMask)
		if i == 0 {
			return 0, false
		}
		if i--; i >= c.count {
			return i, true
		}
		next := uint64(c.record(c.mem, i).next.Load()) & indexMask
		if c.words.head.CompareAndSwap(h, (h&^indexMask+headTag)|next) {
			return i, true
		}
	}
}
