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
	base   unsafe.Pointer // slot 0
	last   unsafe.Pointer // the last slot
	lap    uint64         // how much a slot's sequence grows from one free to the next
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

// after returns the slot behind s.
func (r *ring) after(s unsafe.Pointer) unsafe.Pointer {
	if s == r.last {
		return r.base
	}
	return unsafe.Add(s, r.stride)
}

// Message returns where the message lies in a slot of a run.
func Message(slot unsafe.Pointer) unsafe.Pointer { return unsafe.Add(slot, seqSize) }

// Stride returns the distance from slot to slot in bytes.
func (r *ring) Stride() uintptr { return r.stride }

func (r *ring) seq(slot unsafe.Pointer) *word.U64 { return (*word.U64)(slot) }

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
	r := ring{base: unsafe.Add(mem, controlSize), mask: uint64(g.Capacity) - 1, stride: g.Stride, size: g.Size, mem: mem}
	r.last, r.lap = r.slot(2*r.mask), 2*(r.mask+1)
	return r, nil
}

// Len returns how many messages are in the ring: exact while neither end
// works or has died, else about what it was a moment ago. Any goroutine may
// call it.
func (r *ring) Len() int {
	c := (*control)(r.mem)
	head := c.head.Load()
	n := int64(c.tail.Load()-head) >> 1 // below 0 where a consumer was quicker than its producer's last store
	return int(min(max(n, 0), int64(r.mask)+1))
}

// Cap returns the capacity in messages. Any goroutine may call it.
func (r *ring) Cap() int { return int(r.mask) + 1 }

// corrupt says what is wrong with the slot of a stamp.
func (r *ring) corrupt(stamp, seq uint64) error {
	return fmt.Errorf("spsc: slot %d has sequence %d at position %d of %d: a peer wrote to it out of turn; end both processes and make a new ring: %w",
		stamp>>1&r.mask, seq, stamp>>1, r.mask+1, ErrCorrupt)
}
