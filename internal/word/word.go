//go:build !modelcheck

package word

import (
	"sync/atomic"
	"unsafe"
)

// A U32 is a 32-bit word of shared memory, aligned to 4 bytes. It is also
// what the kernel's futex works on.
type U32 struct{ v uint32 }

// A U64 is a 64-bit word of shared memory, aligned to 8 bytes.
type U64 struct{ v uint64 }

// Load acquires.
func (u *U32) Load() uint32 { return atomic.LoadUint32(&u.v) }

// Store is sequentially consistent: on amd64 it waits for the cache line.
func (u *U32) Store(v uint32) { atomic.StoreUint32(&u.v, v) }

// Add adds d and returns the sum.
func (u *U32) Add(d uint32) uint32 { return atomic.AddUint32(&u.v, d) }

// Swap stores v and returns what was there.
func (u *U32) Swap(v uint32) uint32 { return atomic.SwapUint32(&u.v, v) }

// CompareAndSwap stores v if old is there, and reports whether it was.
func (u *U32) CompareAndSwap(old, v uint32) bool { return atomic.CompareAndSwapUint32(&u.v, old, v) }

// Load acquires.
func (u *U64) Load() uint64 { return atomic.LoadUint64(&u.v) }

// Store is sequentially consistent: on amd64 it waits for the cache line.
func (u *U64) Store(v uint64) { atomic.StoreUint64(&u.v, v) }

// Add adds d and returns the sum.
func (u *U64) Add(d uint64) uint64 { return atomic.AddUint64(&u.v, d) }

// CompareAndSwap stores v if old is there, and reports whether it was.
func (u *U64) CompareAndSwap(old, v uint64) bool { return atomic.CompareAndSwapUint64(&u.v, old, v) }

// Reads announces that the caller is about to read the n bytes of payload at
// p with ordinary loads. The explorer checks such accesses for data races.
func Reads(p unsafe.Pointer, n uintptr) {}

// Writes announces that the caller is about to write the n bytes of payload
// at p with ordinary stores.
func Writes(p unsafe.Pointer, n uintptr) {}
