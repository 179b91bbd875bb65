package spsc

import (
	"unsafe"

	"github.com/shmkit/shm/internal/word"
)

// A successor finds its position by one scan of the sequences, while the other
// end may be at work.
//
// The consumer turns the slot of p from 2p+1 into 2(p+capacity), which leaves
// the position that was last published into that slot the same: p. Over all
// slots these are the capacity's window of positions before tail.
//
// The producer turns it from 2p into 2p+1, which leaves the position that will
// be taken from that slot next the same: p. Over all slots these are the
// capacity's window of positions from head on.
//
// So the other end cannot change what the scan finds; what is no such window
// is corrupt. A dead end's own last store is settled before its lock is free.

// scanTail returns 2·tail.
func (r *ring) scanTail() (uint64, error) {
	least, err := r.scan(tailStamp(r))
	return least + r.lap, err
}

// tailStamp maps the sequence of a slot to the stamp that was last published
// there.
func tailStamp(r *ring) func(seq uint64) uint64 {
	return func(seq uint64) uint64 {
		if seq&1 == 1 {
			return seq - 1
		}
		return seq - r.lap
	}
}

// headStamp maps the sequence of a slot to the stamp that will be taken next
// from there.
func headStamp(seq uint64) uint64 { return seq &^ 1 }

// scanHead returns 2·head.
func (r *ring) scanHead() (uint64, error) {
	return r.scan(headStamp)
}

// scan maps the sequence of each slot to a stamp and returns the least, after
// a check that they are one window, each in its own slot.
func (r *ring) scan(stampOf func(seq uint64) uint64) (uint64, error) {
	least := stampOf(r.seq(r.slot(0)).Load())
	for i := range r.mask + 1 {
		stamp := stampOf(r.seq(r.slot(2 * i)).Load()) // pairs with the stores in Publish and Release
		if int64(stamp-least) < 0 {
			least = stamp
		}
	}
	for i := range r.mask + 1 {
		seq := r.seq(r.slot(2 * i)).Load()
		stamp := stampOf(seq)
		if stamp-least >= r.lap || stamp>>1&r.mask != i {
			return 0, r.corrupt(2*i, seq)
		}
	}
	return least, nil
}

// Published calls visit for each message that was published and not taken, in
// no order, with its place. It may be called while this end does not work, and
// finds all that were there all the time; what the other end takes meanwhile it
// may show or not. The producer sees messages that nobody else overwrites; the
// consumer must not believe what it reads of those that come meanwhile, if the
// producer is not sound.
func (r *ring) Published(visit func(message unsafe.Pointer)) {
	for i := range r.mask + 1 {
		slot := r.slot(2 * i)
		if r.seq(slot).Load()&1 == 1 { // pairs with the store in (*Producer).Publish
			word.Reads(Message(slot), r.size)
			visit(Message(slot))
		}
	}
}
