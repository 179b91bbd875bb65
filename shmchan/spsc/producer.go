package spsc

import (
	"unsafe"

	"github.com/shmkit/shm/internal/word"
)

// A Producer is the sending end of a ring. It belongs to one goroutine at a
// time, but for Len and Cap. No method blocks, allocates, or makes a system
// call.
type Producer struct {
	stamp uint64 // 2·tail
	ring
	tail *word.U64
}

// AttachProducer makes the producer of the ring at mem, which has n bytes and
// the shape g. It goes on where the last producer stopped. The caller sees to
// it that there is no other one; a consumer may be at work.
func AttachProducer(mem unsafe.Pointer, n uintptr, g Geometry) (Producer, error) {
	r, err := attach(mem, n, g)
	if err != nil {
		return Producer{}, err
	}
	stamp, err := r.scanTail()
	if err != nil {
		return Producer{}, err
	}
	p := Producer{ring: r, stamp: stamp, tail: &(*control)(mem).tail}
	p.tail.Store(stamp)
	return p, nil
}

// Slot returns where the next message goes, nil if the ring is full (or
// corrupt: Full tells). It stays the same until Publish.
func (p *Producer) Slot() unsafe.Pointer {
	s := p.slot(p.stamp)
	if p.seq(s).Load() != p.stamp { // pairs with the store in (*Consumer).Release
		return nil
	}
	return unsafe.Add(s, seqSize)
}

// Publish hands the message in the slot that Slot returned to the consumer.
func (p *Producer) Publish() {
	s := p.slot(p.stamp)
	word.Writes(unsafe.Add(s, seqSize), p.size)
	p.seq(s).StoreRelease(p.stamp + 1) // pairs with the load in (*Consumer).Slot
	p.stamp += 2
	p.tail.StoreRelease(p.stamp) // pairs with the load in (*ring).Len
}

// Blocked tells whether the next slot is still the consumer's. False means
// that Slot has one, or that the ring is corrupt.
func (p *Producer) Blocked() bool {
	return p.seq(p.slot(p.stamp)).Load() == p.stamp+1-p.lap()
}

// BlockedAnywhere is Blocked for any goroutine. Beside the producer at work it
// may be false without reason, but not true.
func (p *Producer) BlockedAnywhere() bool {
	stamp := p.tail.Load()
	return p.seq(p.slot(stamp)).Load() == stamp+1-p.lap()
}

// Full tells why Slot returned nil: nil for a full ring, else an error that
// wraps ErrCorrupt. A slot that has become free meanwhile gives nil too.
func (p *Producer) Full() error {
	seq := p.seq(p.slot(p.stamp)).Load()
	if seq == p.stamp || seq == p.stamp+1-p.lap() {
		return nil
	}
	return p.corrupt(p.stamp, seq)
}

// Room returns how many messages, up to limit > 0, can be published now. It
// asks the last slot first, since slots become free in order.
func (p *Producer) Room(limit int) int {
	n := min(uint64(limit), p.mask+1)
	for ; n > 0; n >>= 1 {
		last := p.stamp + 2*(n-1)
		if p.seq(p.slot(last)).Load() == last { // pairs with the store in (*Consumer).Release
			break
		}
	}
	return int(n)
}

// SlotAt returns the slot i places behind the next, 0 <= i < Room.
func (p *Producer) SlotAt(i int) unsafe.Pointer {
	return unsafe.Add(p.slot(p.stamp+2*uint64(i)), seqSize)
}

// PublishAt publishes the message in SlotAt(i). It is to be called for i = 0,
// 1, 2 and so on, so that the death of the process leaves a prefix, and then
// Advance for all.
func (p *Producer) PublishAt(i int) {
	stamp := p.stamp + 2*uint64(i)
	s := p.slot(stamp)
	word.Writes(unsafe.Add(s, seqSize), p.size)
	p.seq(s).StoreRelease(stamp + 1) // pairs with the load in (*Consumer).Slot
}

// Advance ends a batch of n messages that PublishAt published.
func (p *Producer) Advance(n int) {
	p.stamp += 2 * uint64(n)
	p.tail.StoreRelease(p.stamp) // pairs with the load in (*ring).Len
}

// Position counts the messages that this ring has been given, from whatever
// it began with. Only differences mean anything.
func (p *Producer) Position() uint64 { return p.stamp >> 1 }
