//go:build !modelcheck && (!amd64 || race)

package word

// NeedsFence tells whether a StoreRelease and a later Load of another word
// can change places, so that a Dekker race needs Fence or Membarrier between.
// Here both are sequentially consistent (STLR and LDAR on arm64).
const NeedsFence = false

// StoreRelease makes v visible after everything before it.
func (u *U32) StoreRelease(v uint32) { u.Store(v) }

// StoreRelease makes v visible after everything before it.
func (u *U64) StoreRelease(v uint64) { u.Store(v) }
