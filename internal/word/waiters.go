//go:build !modelcheck

package word

import (
	"time"
	"unsafe"
)

// MaxWaiters is how many words one Waiters holds: the limit of futex_waitv.
const MaxWaiters = 128

// A Waiters is a list of words, each with the value that it is expected to
// hold, to wait for any of them to change. One goroutine uses it at a time. It
// is made once and filled anew for each Wait, which then allocates nothing.
type Waiters struct {
	n     int
	words [MaxWaiters]*U32 // also keeps alive words that lie on the heap
	waitv [MaxWaiters]waitv
}

// A waitv is the kernel's struct futex_waitv.
type waitv struct {
	val   uint64
	addr  uint64
	flags uint32
	_     uint32
}

// NewWaiters returns an empty list.
//
// It must not be inlined, so that the list and whatever is added to it lie on
// the heap and stay where they are: waitv holds addresses that Go's stacks do
// not know of when they move.
//
//go:noinline
func NewWaiters() *Waiters { return new(Waiters) }

// Reset makes the list empty.
func (w *Waiters) Reset() {
	clear(w.words[:w.n])
	w.n = 0
}

// Add puts u, expected to be val, at the end of the list, as index Len()-1. It
// reports false if the list is full. A word may be there twice.
func (w *Waiters) Add(u *U32, val uint32) bool {
	if w.n == MaxWaiters {
		return false
	}
	w.words[w.n] = u
	w.waitv[w.n] = waitv{val: uint64(val), addr: uint64(uintptr(unsafe.Pointer(u))), flags: futex32}
	w.n++
	return true
}

// Len returns how many words are in the list.
func (w *Waiters) Len() int { return w.n }

// Wait parks the calling thread while every word of the list, which holds at
// least one, is what was expected, for at most d (for ever if d is negative).
// It returns the index of a word that was woken, of which there may be more; or
// -1 if a word is another than expected or its memory is gone, after d, and now
// and then for no reason: so the caller looks at all of them. The words stay
// mapped until it returns. It gives the scheduler's P away.
//
// The kernel goes through the words one by one, and so it does when it takes
// the thread from them again: in between a Wake(1) may be spent on a thread
// that another word has woken. Whoever wakes several waiters wakes all.
//
// Without [CanWaitAny] Wait polls: that delays it by up to 1 ms, costs CPU
// time, and the index is that of a word that is another than expected. Memory that
// is gone is a fault then, as for a Load.
func (w *Waiters) Wait(d time.Duration) int { return w.wait(d) }

// changed returns the index of the first word that is another than expected,
// or -1.
func (w *Waiters) changed() int {
	for i, u := range w.words[:w.n] {
		if uint64(u.Load()) != w.waitv[i].val {
			return i
		}
	}
	return -1
}
