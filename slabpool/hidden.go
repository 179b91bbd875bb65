package slabpool

// Not every block that can be claimed is on the list: others have some cached,
// and the dead may have left some with a token. Who finds the list empty looks
// at all state words, but only if there may be such a block, which one word of
// each class tells:
//
//	31        2 1     0
//	[ version ][ state ]   nothing, looking, hidden
//
// Invariant: while a block can be claimed that is not on the list, the state is
// looking or hidden, or whoever made it claimable is about to say so.
//
// Who looks says looking first, and nothing if it has found nothing and the word
// is still the same: whatever was hidden meanwhile has changed it.
//
// Who may die where: a looker anywhere, since looking makes others look. One
// who dies after a block became claimable and before he says hidden: the sweep
// says it.

const (
	nothing = iota
	looking
	hidden

	hiddenState = 3
	hiddenStep  = 4
)

// hide says that there may be a block that can be claimed and is not listed.
func (c *class) hide() {
	for {
		v := c.words.hidden.Load()
		if v&hiddenState == hidden {
			return
		}
		if c.words.hidden.CompareAndSwap(v, (v&^hiddenState+hiddenStep)|hidden) { // pairs with the load in look
			return
		}
	}
}

// look begins to look for hidden blocks; false if there are none.
func (c *class) look() (v uint32, ok bool) {
	for {
		v = c.words.hidden.Load() // pairs with the swap in hide
		switch v & hiddenState {
		case nothing:
			return v, false
		case hidden:
			n := (v&^hiddenState + hiddenStep) | looking
			if !c.words.hidden.CompareAndSwap(v, n) {
				continue
			}
			v = n
		}
		return v, true
	}
}

// foundNothing ends a look.
func (c *class) foundNothing(v uint32) {
	c.words.hidden.CompareAndSwap(v, v&^hiddenState+hiddenStep) // nothing
}
