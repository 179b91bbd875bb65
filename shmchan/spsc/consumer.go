package spsc

import (
	"unsafe"

	"github.com/shmkit/shm/internal/word"
)

// A Consumer is the receiving end of a ring. It belongs to one goroutine at a
// time, but for Len and Cap. No method blocks, allocates, or makes a system
// call.
type Consumer struct {
	next  unsafe.Pointer // the slot of stamp
	stamp uint64         // 2·head
	head  *word.U64
	ring
}

// AttachConsumer makes the consumer of the ring at mem, which has n bytes and
// the shape g. It goes on at the first message that was not released. The
// caller sees to it that there is no other one; a producer may be at work.
func AttachConsumer(mem unsafe.Pointer, n uintptr, g Geometry) (Consumer, error) {
	r, err := attach(mem, n, g)
	if err != nil {
		return Consumer{}, err
	}
	stamp, err := r.scanHead()
	if err != nil {
		return Consumer{}, err
	}
	c := Consumer{ring: r, next: r.slot(stamp), stamp: stamp, head: &(*control)(mem).head}
	c.head.Store(stamp)
	return c, nil
}

// Slot returns the next message in its place, nil if there is none (or the
// ring is corrupt: Empty tells). It stays the same until Release.
func (c *Consumer) Slot() unsafe.Pointer {
	if c.seq(c.next).Load() != c.stamp+1 { // pairs with the store in (*Producer).Publish
		return nil
	}
	return Message(c.next)
}

// Release takes the message that Slot returned out of the ring and gives its
// slot back to the producer.
func (c *Consumer) Release() {
	word.Reads(Message(c.next), c.size)
	c.seq(c.next).StoreRelease(c.stamp + c.lap) // pairs with the load in (*Producer).Slot
	c.stamp += 2
	c.head.StoreRelease(c.stamp) // pairs with the load in (*ring).Len
	c.next = c.after(c.next)
}

// Blocked tells whether the next slot is still the producer's. False means
// that Slot has a message, or that the ring is corrupt.
func (c *Consumer) Blocked() bool { return c.seq(c.next).Load() == c.stamp }

// BlockedAnywhere is Blocked for any goroutine. Beside the consumer at work it
// may be false without reason, but not true.
func (c *Consumer) BlockedAnywhere() bool {
	stamp := c.head.Load()
	return c.seq(c.slot(stamp)).Load() == stamp
}

// Empty tells why Slot returned nil: nil for an empty ring, else an error
// that wraps ErrCorrupt. A message that has come meanwhile gives nil too.
func (c *Consumer) Empty() error {
	seq := c.seq(c.next).Load()
	if seq == c.stamp || seq == c.stamp+1 {
		return nil
	}
	return c.corrupt(c.stamp, seq)
}

// Ready returns how many messages, up to limit > 0, can be taken now; there
// may be more. It asks the last slot first, since messages come in order.
func (c *Consumer) Ready(limit int) int {
	n := min(uint64(limit), c.mask+1)
	for ; n > 0; n >>= 1 {
		last := c.stamp + 2*(n-1)
		if c.seq(c.slot(last)).Load() == last+1 { // pairs with the store in (*Producer).Publish
			break
		}
	}
	return int(n)
}

// Run returns the next slot, its stamp, and for how many messages, up to limit,
// the slots lie one behind the other from there, Stride bytes apart. A stamp
// grows by 2 from slot to slot.
func (c *Consumer) Run(limit int) (slot unsafe.Pointer, stamp uint64, n int) {
	return c.next, c.stamp, int(min(uint64(limit), c.mask+1-c.stamp>>1&c.mask))
}

// Take releases the message in a slot of a run that Ready has granted. The
// slots are taken in order; then comes Advance for all.
func (c *Consumer) Take(slot unsafe.Pointer, stamp uint64) {
	word.Reads(Message(slot), c.size)
	c.seq(slot).StoreRelease(stamp + c.lap) // pairs with the load in (*Producer).Slot
}

// Advance ends a batch of n messages that Take released.
func (c *Consumer) Advance(n int) {
	c.stamp += 2 * uint64(n)
	c.head.StoreRelease(c.stamp) // pairs with the load in (*ring).Len
	c.next = c.slot(c.stamp)
}

// Held returns the place of the next message without a look at its sequence:
// for who has it already.
func (c *Consumer) Held() unsafe.Pointer { return Message(c.next) }

// Position counts the messages that were taken out of this ring, from
// whatever it began with. Only differences mean anything.
func (c *Consumer) Position() uint64 { return c.stamp >> 1 }
