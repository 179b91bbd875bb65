//go:build modelcheck

package word

import (
	"time"
	"unsafe"

	"github.com/shmkit/shm/internal/modelcheck"
)

// A U32 is a 32-bit word of shared memory, aligned to 4 bytes. It is also
// what the kernel's futex works on.
//
// Each operation is a step of the explorer if the caller is a thread of a
// running exploration. Otherwise it is performed at once, so that ordinary
// tests run under the tag too.
type U32 struct{ v modelcheck.U32 }

// A U64 is a 64-bit word of shared memory, aligned to 8 bytes.
type U64 struct{ v modelcheck.U64 }

// Load acquires.
func (u *U32) Load() uint32 { return u.v.Load() }

// Store is sequentially consistent.
func (u *U32) Store(v uint32) { u.v.Store(v) }

// StoreRelease makes v visible after everything before it.
func (u *U32) StoreRelease(v uint32) { u.v.StoreRelease(v) }

// Add adds d and returns the sum.
func (u *U32) Add(d uint32) uint32 { return u.v.Add(d) }

// Swap stores v and returns what was there.
func (u *U32) Swap(v uint32) uint32 { return u.v.Swap(v) }

// CompareAndSwap stores v if old is there, and reports whether it was.
func (u *U32) CompareAndSwap(old, v uint32) bool { return u.v.CompareAndSwap(old, v) }

// Wait parks the calling thread while the word is val, for at most d (for ever
// if d is negative). It returns at a Wake, after d, and now and then for no
// reason, so the caller looks again.
func (u *U32) Wait(val uint32, d time.Duration) { u.v.Wait(val, d) }

// Wake wakes up to n threads that wait on the word, and returns how many.
func (u *U32) Wake(n int) int { return u.v.Wake(n) }

// MaxWaiters is how many words one Waiters holds: the limit of futex_waitv.
const MaxWaiters = 128

// A Waiters is a list of words, each with the value that it is expected to
// hold, to wait for any of them to change.
type Waiters struct{ list []modelcheck.Expected }

// NewWaiters returns an empty list.
func NewWaiters() *Waiters { return new(Waiters) }

// Reset makes the list empty.
func (w *Waiters) Reset() { w.list = w.list[:0] }

// Add puts u, expected to be val, at the end of the list. It reports false if
// the list is full.
func (w *Waiters) Add(u *U32, val uint32) bool {
	if len(w.list) == MaxWaiters {
		return false
	}
	w.list = append(w.list, modelcheck.Expected{Word: &u.v, Value: val})
	return true
}

// Len returns how many words are in the list.
func (w *Waiters) Len() int { return len(w.list) }

// Wait parks the calling thread while every word of the list is what was
// expected, for at most d (for ever if d is negative). It returns the index of
// a word that was woken, or -1.
func (w *Waiters) Wait(d time.Duration) int { return modelcheck.WaitAny(w.list, d) }

// CanWaitAny reports that Wait need not poll.
func CanWaitAny() bool { return true }

// Load acquires.
func (u *U64) Load() uint64 { return u.v.Load() }

// Store is sequentially consistent.
func (u *U64) Store(v uint64) { u.v.Store(v) }

// StoreRelease makes v visible after everything before it; see [U32.StoreRelease].
func (u *U64) StoreRelease(v uint64) { u.v.StoreRelease(v) }

// Add adds d and returns the sum.
func (u *U64) Add(d uint64) uint64 { return u.v.Add(d) }

// CompareAndSwap stores v if old is there, and reports whether it was.
func (u *U64) CompareAndSwap(old, v uint64) bool { return u.v.CompareAndSwap(old, v) }

// NeedsFence tells whether a StoreRelease and a later Load of another word
// can change places: while x86-TSO is explored.
var NeedsFence bool

func init() { modelcheck.OnModel(func(m modelcheck.Model) { NeedsFence = m == modelcheck.TSO }) }

// Fence orders every earlier store of the caller before every later load.
func Fence() { modelcheck.Fence() }

// Pause says that this is a spin loop.
func Pause(n uint32) { modelcheck.Pause(n) }

// RegisterMembarrier makes this process, which is the calling thread here, one
// that Membarrier fences, and reports whether it is one.
func RegisterMembarrier() bool { return modelcheck.RegisterMembarrier() }

// Membarrier makes every registered process pass a fence before it returns,
// and reports whether it could.
func Membarrier() bool { return modelcheck.Membarrier() }

// Reads announces that the caller is about to read the n bytes of payload at
// p with ordinary loads.
func Reads(p unsafe.Pointer, n uintptr) { modelcheck.Reads(p, n) }

// Writes announces that the caller is about to write the n bytes of payload
// at p with ordinary stores.
func Writes(p unsafe.Pointer, n uintptr) { modelcheck.Writes(p, n) }
