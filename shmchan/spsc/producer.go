package spsc

import (
	"unsafe"

	"github.com/shmkit/shm/internal/word"
)

// A Producer is the sending end of a ring. It belongs to one goroutine at a
// time, but for Len and Cap. No method blocks, allocates, or makes a system
// call.
type Producer struct {
	next  unsafe.Pointer // the slot of stamp
	stamp uint64         // 2·tail
	tail  *word.U64
	ring
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
	p := Producer{ring: r, next: r.slot(stamp), stamp: stamp, tail: &(*control)(mem).tail}
	p.tail.Store(stamp)
	return p, nil
}

// Slot returns where the next message goes, nil if the ring is full (or
// corrupt: Full tells). It stays the same until Publish.
func (p *Producer) Slot() unsafe.Pointer {
	if p.seq(p.next).Load() != p.stamp { // pairs with the store in (*Consumer).Release
		return nil
	}
	return Message(p.next)
}

// Publish hands the message in the slot that Slot returned to the consumer.
func (p *Producer) Publish() {
	word.Writes(Message(p.next), p.size)
	p.seq(p.next).StoreRelease(p.stamp + 1) // pairs with the load in (*Consumer).Slot
	p.stamp += 2
	p.tail.StoreRelease(p.stamp) // pairs with the load in (*ring).Len
	p.next = p.after(p.next)
}

// Blocked tells whether the next slot is still the consumer's. False means
// that Slot has one, or that the ring is corrupt.
func (p *Producer) Blocked() bool {
	return p.seq(p.next).Load() == p.stamp+1-p.lap
}

// BlockedAnywhere is Blocked for any goroutine. Beside the producer at work it
// may be false without reason, but not true.
func (p *Producer) BlockedAnywhere() bool {
	stamp := p.tail.Load()
	return p.seq(p.slot(stamp)).Load() == stamp+1-p.lap
}

// Full tells why Slot returned nil: nil for a full ring, else an error that
// wraps ErrCorrupt. A slot that has become free meanwhile gives nil too.
func (p *Producer) Full() error {
	seq := p.seq(p.next).Load()
	if seq == p.stamp || seq == p.stamp+1-p.lap {
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

// Run returns the next slot, its stamp, and for how many messages, up to limit,
// the slots lie one behind the other from there, Stride bytes apart. A stamp
// grows by 2 from slot to slot.
func (p *Producer) Run(limit int) (slot unsafe.Pointer, stamp uint64, n int) {
	return p.next, p.stamp, int(min(uint64(limit), p.mask+1-p.stamp>>1&p.mask))
}

// Put publishes the message in a slot of a run that Room has granted. The slots
// are put in order, so that the death of the process leaves a prefix; then
// comes Advance for all.
func (p *Producer) Put(slot unsafe.Pointer, stamp uint64) {
	word.Writes(Message(slot), p.size)
	p.seq(slot).StoreRelease(stamp + 1) // pairs with the load in (*Consumer).Slot
}

// Advance ends a batch of n messages that Put published.
func (p *Producer) Advance(n int) {
	p.stamp += 2 * uint64(n)
	p.tail.StoreRelease(p.stamp) // pairs with the load in (*ring).Len
	p.next = p.slot(p.stamp)
}

// Held returns the place of the next message without a look at its sequence:
// for who has it already.
func (p *Producer) Held() unsafe.Pointer { return Message(p.next) }

// Position counts the messages that this ring has been given, from whatever
// it began with. Only differences mean anything.
func (p *Producer) Position() uint64 { return p.stamp >> 1 }
