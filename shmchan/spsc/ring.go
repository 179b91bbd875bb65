package spsc

import (
	"fmt"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/region"
)

// ring is what both ends know of it: private copies, checked at the attach,
// so that no peer can lead an access out of the memory.
//
// A stamp is twice a position: what the sequence of its slot says when free.
type ring struct {
	base   unsafe.Pointer // of slot 0
	mask   uint64         // capacity-1
	stride uintptr
	size   uintptr
	mem    unsafe.Pointer
	owner  *region.Region // kept alive; nil over memory of the caller's
}

// slot returns the slot of a stamp. It is within the memory for every stamp.
func (r *ring) slot(stamp uint64) unsafe.Pointer {
	return unsafe.Add(r.base, uintptr(stamp>>1&r.mask)*r.stride)
}

func (r *ring) seq(slot unsafe.Pointer) *word.U64 { return (*word.U64)(slot) }

// lap is how much a slot's sequence grows from one free to the next.
func (r *ring) lap() uint64 { return 2 * (r.mask + 1) }

func attach(mem unsafe.Pointer, n uintptr, g Geometry) (ring, error) {
	if err := g.check(mem, n); err != nil {
		return ring{}, err
	}
	there, err := Read(mem, n)
	if err != nil {
		return ring{}, err
	}
	if there != g {
		return ring{}, fmt.Errorf("spsc: the ring has %d messages of %d bytes, not %d of %d: %w",
			there.Capacity, there.Size, g.Capacity, g.Size, ErrCorrupt)
	}
	return ring{base: unsafe.Add(mem, controlSize), mask: uint64(g.Capacity) - 1, stride: g.Stride, size: g.Size, mem: mem}, nil
}

// Len returns how many messages are in the ring: exact while neither end
// works, else what it was a moment ago. Any goroutine may call it.
func (r *ring) Len() int {
	c := (*control)(r.mem)
	head := c.head.Load()
	n := (c.tail.Load() - head) >> 1
	return int(min(n, r.mask+1)) // a head read late can be ahead of the tail, or a peer may write garbage
}

// Cap returns the capacity in messages. Any goroutine may call it.
func (r *ring) Cap() int { return int(r.mask) + 1 }

// corrupt says what is wrong with the slot of a stamp.
func (r *ring) corrupt(stamp, seq uint64) error {
	return fmt.Errorf("spsc: slot %d has sequence %d at position %d of %d: a peer wrote to it out of turn; end both processes and make a new ring: %w",
		stamp>>1&r.mask, seq, stamp>>1, r.mask+1, ErrCorrupt)
}
