package spsc

import (
	"unsafe"

	"github.com/shmkit/shm/internal/word"
)

// A Consumer is the receiving end of a ring. It belongs to one goroutine at a
// time, but for Len and Cap. No method blocks, allocates, or makes a system
// call.
type Consumer struct {
	stamp uint64 // 2·head
	ring
	head *word.U64
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
	c := Consumer{ring: r, stamp: stamp, head: &(*control)(mem).head}
	c.head.Store(stamp)
	return c, nil
}

// Slot returns the next message in its place, nil if there is none (or the
// ring is corrupt: Empty tells). It stays the same until Release.
func (c *Consumer) Slot() unsafe.Pointer {
	s := c.slot(c.stamp)
	if c.seq(s).Load() != c.stamp+1 { // pairs with the store in (*Producer).Publish
		return nil
	}
	return unsafe.Add(s, seqSize)
}

// Release takes the message that Slot returned out of the ring and gives its
// slot back to the producer.
func (c *Consumer) Release() {
	s := c.slot(c.stamp)
	word.Reads(unsafe.Add(s, seqSize), c.size)
	c.seq(s).StoreRelease(c.stamp + c.lap()) // pairs with the load in (*Producer).Slot
	c.stamp += 2
	c.head.StoreRelease(c.stamp) // pairs with the load in (*ring).Len
}

// Blocked tells whether the next slot is still the producer's. False means
// that Slot has a message, or that the ring is corrupt.
func (c *Consumer) Blocked() bool { return c.seq(c.slot(c.stamp)).Load() == c.stamp }

// BlockedAnywhere is Blocked for any goroutine. Beside the consumer at work it
// may be false without reason, but not true.
func (c *Consumer) BlockedAnywhere() bool {
	stamp := c.head.Load()
	return c.seq(c.slot(stamp)).Load() == stamp
}

// Empty tells why Slot returned nil: nil for an empty ring, else an error
// that wraps ErrCorrupt. A message that has come meanwhile gives nil too.
func (c *Consumer) Empty() error {
	seq := c.seq(c.slot(c.stamp)).Load()
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

// SlotAt returns the message i places behind the next, 0 <= i < Ready.
func (c *Consumer) SlotAt(i int) unsafe.Pointer {
	return unsafe.Add(c.slot(c.stamp+2*uint64(i)), seqSize)
}

// ReleaseAt releases the message in SlotAt(i). It is to be called for i = 0,
// 1, 2 and so on, and then Advance for all.
func (c *Consumer) ReleaseAt(i int) {
	stamp := c.stamp + 2*uint64(i)
	s := c.slot(stamp)
	word.Reads(unsafe.Add(s, seqSize), c.size)
	c.seq(s).StoreRelease(stamp + c.lap()) // pairs with the load in (*Producer).Slot
}

// Advance ends a batch of n messages that ReleaseAt released.
func (c *Consumer) Advance(n int) {
	c.stamp += 2 * uint64(n)
	c.head.StoreRelease(c.stamp) // pairs with the load in (*ring).Len
}

// Position counts the messages that were taken out of this ring, from
// whatever it began with. Only differences mean anything.
func (c *Consumer) Position() uint64 { return c.stamp >> 1 }
