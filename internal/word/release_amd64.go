//go:build !modelcheck && !race

package word

import "sync/atomic"

// NeedsFence tells whether a StoreRelease and a later Load of another word
// can change places, so that a Dekker race needs Fence or Membarrier between.
const NeedsFence = true

// StoreRelease makes v visible after everything before it.
//
// The load before the store is no access that anyone needs: the compiler may
// not move a store across an atomic operation, so what the caller wrote before
// stays before, and x86 keeps stores in order. That costs a hit in a line that
// the caller is about to own, where atomic.Store (XCHG) waits for the line.
// TestReleaseOrder holds the generated code to it.
func (u *U32) StoreRelease(v uint32) {
	atomic.LoadUint32(&u.v)
	u.v = v
}

// StoreRelease makes v visible after everything before it; see [U32.StoreRelease].
func (u *U64) StoreRelease(v uint64) {
	atomic.LoadUint64(&u.v)
	u.v = v
}
