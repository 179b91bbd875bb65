package spsc

import (
	"unsafe"

	"github.com/shmkit/shm/internal/word"
)

// A View looks at a ring from outside, while its two ends are at work, and
// writes nothing. It needs no more than memory that can be read.
//
// Invariants that it rests on: those of the ring, and that a producer writes a
// message only after it has published all before it.
//
// Ownership: none. Everything that it reads may be anything; it leads no
// access out of the memory, and every method ends whatever is there.
//
// Who may die where: see the ring. A View does not mind.
type View struct{ ring ring }

// ViewOf makes a view of the ring at mem, which has n bytes. Errors wrap
// ErrCorrupt.
func ViewOf(mem unsafe.Pointer, n uintptr) (View, error) {
	g, err := Read(mem, n)
	if err != nil {
		return View{}, err
	}
	r, err := attach(mem, n, g)
	return View{r}, err
}

// Cap returns the capacity in messages.
func (v *View) Cap() int { return v.ring.Cap() }

// Size returns the size of a message in bytes.
func (v *View) Size() uintptr { return v.ring.size }

// Tail returns the position of the next message to be published: one that the
// ring had at some instant of the call. Positions count as Producer.Position
// does.
func (v *View) Tail() uint64 { return (v.least(tailStamp(&v.ring)) + v.ring.lap) >> 1 }

// Head returns the position of the next message to be taken, likewise.
func (v *View) Head() uint64 { return v.least(headStamp) >> 1 }

// Check tells whether the sequences are those of a ring, by a look at each.
// Errors wrap ErrCorrupt.
func (v *View) Check() error {
	if _, err := v.ring.scanTail(); err != nil {
		return err
	}
	_, err := v.ring.scanHead()
	return err
}

// least is scan in a number of looks that is logarithmic in the capacity: the
// least stamp of the window that the slots form.
//
// The window's stamps ascend from slot 0 up to its end and are a lap behind
// from there on. A slot that has caught up with slot 0 stays so, so what was
// in front of the end stays in front; and the end is searched between a slot
// that was in front and one that was not, each at the time of its look. So it
// was where it is found, at an instant between the two looks.
func (v *View) least(stampOf func(seq uint64) uint64) uint64 {
	r := &v.ring
	first := stampOf(r.seq(r.slot(0)).Load()) // pairs, as the others, with the stores in Publish and Release
	front, behind := uint64(0), r.mask+1
	for behind-front > 1 {
		mid := front + (behind-front)/2
		if int64(stampOf(r.seq(r.slot(2*mid)).Load())-first) >= 0 {
			front = mid
		} else {
			behind = mid
		}
	}
	return first + 2*behind - r.lap
}

// Message copies the message at a position to buf, as many bytes as fit, and
// reports whether buf has it now: false if it is not published yet, or was
// overwritten, or could have been while it was copied. A position before the
// ring's first, which is 0 in a channel, must not be asked for.
//
// It is a seqlock of which the ends know nothing. A message that is published
// and not taken is whole if its sequence is the same before and after the
// copy. One that was taken still lies in its slot until the producer comes
// round, and that does not write there before it has published the message of
// the slot before; so it is whole if that is not published after the copy. The
// latter needs the stores of the producer to be seen in the order of its
// program, also within a batch: x86 keeps it, arm64 does not, and there only
// messages that were not taken are given.
func (v *View) Message(pos uint64, buf []byte) bool {
	return v.sample(pos, func(message unsafe.Pointer) {
		copy(buf, unsafe.Slice((*byte)(message), v.ring.size))
	})
}

// sample is Message with the copying left to the caller.
func (v *View) sample(pos uint64, read func(message unsafe.Pointer)) bool {
	r, stamp := &v.ring, 2*pos
	slot := r.slot(stamp)
	seq := r.seq(slot).Load() // pairs with the store in Publish, or that in Release
	switch {
	case seq == stamp+1:
	case seq == stamp+r.lap && word.NeedsFence:
	default:
		return false
	}
	read(Message(slot))
	word.Fence() // the copy is done before the looks below
	if r.seq(slot).Load() != seq {
		return false
	}
	if seq == stamp+1 {
		return true
	}
	before := stamp + r.lap - 2
	return int64(r.seq(r.slot(before)).Load()-before) <= 0 // pairs with the store in Publish
}
