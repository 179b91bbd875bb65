package modelcheck

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// The operations that internal/word has under the tag modelcheck. A thread of
// a running exploration performs them as steps; anybody else at once.

// A U32 is a 32-bit word of shared memory.
type U32 struct{ v uint32 }

// A U64 is a 64-bit word of shared memory.
type U64 struct{ v uint64 }

var (
	starting *World      // whose setup runs
	onModel  func(Model) // internal/word's NeedsFence
)

// OnModel makes f run with each exploration's memory model when it begins,
// and with SC when it ends.
func OnModel(f func(Model)) { onModel = f }

func tell(m Model) {
	if onModel != nil {
		onModel(m)
	}
}

func (u *U32) do(k kind, a, b uint64) uint64 {
	t := current
	return t.do(op{kind: k, word: t.w.word(unsafe.Pointer(u), 4), a: a, b: b})
}

func (u *U64) do(k kind, a, b uint64) uint64 {
	t := current
	return t.do(op{kind: k, word: t.w.word(unsafe.Pointer(u), 8), a: a, b: b})
}

func alone(k kind) {
	if t := current; t != nil {
		t.do(op{kind: k, word: -1})
	}
}

// Load acquires.
func (u *U32) Load() uint32 {
	if current == nil {
		return atomic.LoadUint32(&u.v)
	}
	return uint32(u.do(opLoad, 0, 0))
}

// Store is sequentially consistent.
func (u *U32) Store(v uint32) {
	if current == nil {
		atomic.StoreUint32(&u.v, v)
		return
	}
	u.do(opStore, uint64(v), 0)
}

// StoreRelease makes v visible after everything before it.
func (u *U32) StoreRelease(v uint32) {
	if current == nil {
		atomic.StoreUint32(&u.v, v)
		return
	}
	u.do(opStoreRelease, uint64(v), 0)
}

// Add adds d and returns the sum.
func (u *U32) Add(d uint32) uint32 {
	if current == nil {
		return atomic.AddUint32(&u.v, d)
	}
	return uint32(u.do(opAdd, uint64(d), 0))
}

// Swap stores v and returns what was there.
func (u *U32) Swap(v uint32) uint32 {
	if current == nil {
		return atomic.SwapUint32(&u.v, v)
	}
	return uint32(u.do(opSwap, uint64(v), 0))
}

// CompareAndSwap stores v if old is there, and reports whether it was.
func (u *U32) CompareAndSwap(old, v uint32) bool {
	if current == nil {
		return atomic.CompareAndSwapUint32(&u.v, old, v)
	}
	return u.do(opCompareAndSwap, uint64(old), uint64(v)) == 1
}

// Wait parks while the word is val, for at most d (for ever if d is
// negative). It may return for no reason.
func (u *U32) Wait(val uint32, d time.Duration) {
	if t := current; t != nil {
		t.do(op{kind: opWait, word: t.w.word(unsafe.Pointer(u), 4), a: uint64(val), timed: d >= 0})
		return
	}
	// Outside an exploration: look every so often, as where there is no futex.
	for start := time.Now(); u.Load() == val && (d < 0 || time.Since(start) < d); {
		time.Sleep(50 * time.Microsecond)
	}
}

// Wake wakes up to n threads that wait on the word and returns how many.
func (u *U32) Wake(n int) int {
	if current == nil {
		return 0
	}
	return int(u.do(opWake, uint64(max(n, 1)), 0))
}

// An Expected is a word, and the value while it has which WaitAny parks.
type Expected struct {
	Word  *U32
	Value uint32
}

// WaitAny parks while every word of the list has the value expected, for at
// most d (for ever if d is negative). It returns the index of a word that was
// woken, or -1.
func WaitAny(list []Expected, d time.Duration) int {
	if t := current; t != nil {
		return t.waitAny(list, d >= 0)
	}
	for start := time.Now(); ; time.Sleep(50 * time.Microsecond) {
		for i, x := range list {
			if x.Word.Load() != x.Value {
				return i
			}
		}
		if d >= 0 && time.Since(start) >= d {
			return -1
		}
	}
}

// Load acquires.
func (u *U64) Load() uint64 {
	if current == nil {
		return atomic.LoadUint64(&u.v)
	}
	return u.do(opLoad, 0, 0)
}

// Store is sequentially consistent.
func (u *U64) Store(v uint64) {
	if current == nil {
		atomic.StoreUint64(&u.v, v)
		return
	}
	u.do(opStore, v, 0)
}

// StoreRelease makes v visible after everything before it.
func (u *U64) StoreRelease(v uint64) {
	if current == nil {
		atomic.StoreUint64(&u.v, v)
		return
	}
	u.do(opStoreRelease, v, 0)
}

// Add adds d and returns the sum.
func (u *U64) Add(d uint64) uint64 {
	if current == nil {
		return atomic.AddUint64(&u.v, d)
	}
	return u.do(opAdd, d, 0)
}

// CompareAndSwap stores v if old is there, and reports whether it was.
func (u *U64) CompareAndSwap(old, v uint64) bool {
	if current == nil {
		return atomic.CompareAndSwapUint64(&u.v, old, v)
	}
	return u.do(opCompareAndSwap, old, v) == 1
}

// Fence orders every earlier store of the caller before every later load.
func Fence() { alone(opFence) }

// Pause says that this is a spin loop: the caller goes on when another thread
// has changed a word that it has read since its last Pause.
func Pause(n uint32) { alone(opPause) }

// RegisterMembarrier makes the calling thread, or in setup every thread that
// may, one that Membarrier fences, and reports whether it is one.
func RegisterMembarrier() bool {
	t := current
	if t == nil {
		if starting != nil {
			starting.registerAll = true
		}
		return true
	}
	if t.noRegister {
		return false
	}
	if !t.registered {
		t.do(op{kind: opRegister, word: -1})
	}
	return true
}

// Membarrier makes every registered thread pass a fence before it returns,
// and reports whether it could.
func Membarrier() bool {
	t := current
	if t == nil {
		return true
	}
	if t.noBarrier {
		return false
	}
	t.do(op{kind: opMembarrier, word: -1})
	if t.w.tso {
		t.do(op{kind: opMembarrierEnd, word: -1})
	}
	return true
}

// Reads announces that the caller is about to read the n bytes of payload at p.
func Reads(p unsafe.Pointer, n uintptr) { announce(p, n, 0) }

// Writes announces that the caller is about to write the n bytes of payload at p.
func Writes(p unsafe.Pointer, n uintptr) { announce(p, n, 1) }

func announce(p unsafe.Pointer, n uintptr, kind int) {
	if t := current; t != nil && !t.dying {
		if t.w.trace != nil {
			t.w.Notef("%s %s", [2]string{"reads", "writes"}[kind], t.w.name(p, n))
		}
		t.w.access(t, p, n, kind)
	}
}
