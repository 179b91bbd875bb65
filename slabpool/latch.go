//go:build !modelcheck

package slabpool

import "sync"

// A latch is held for reading by the calls of a Pool that are not behind its gate,
// and for writing by Close.
type latch struct{ sync.RWMutex }
