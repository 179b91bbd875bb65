package waiter

import (
	"math"

	"github.com/shmkit/shm/internal/word"
)

// An Event is an event count in shared memory: what a Sleeper parks on until
// a Waker has published something. Zeroed memory is a valid one. Align it to
// Size bytes.
//
// Invariants. flag is
//
//	epoch<<3 | fence<<2 | over<<1 | raised
//
// raised: somebody may be parked on seq, or about to. over: the sleeping side
// is gone for good. fence: it wants each publish to be followed by a fence, and
// epoch tells which such wish it is. ack is the wish (epoch and fence) that the
// waking side follows.
//
// The order that loses no wake-up:
//
//	Sleeper: read seq, raise, fence, look, park on the seq that was read.
//	Waker:   publish, [fence], read flag; if raised: lower, bump seq, wake all.
//
// With bump and lower the other way round, a sleeper that raises in between
// has its flag lowered and parks on the bumped seq: a wake-up is lost, even
// under sequential consistency.
//
// Ownership: raised is set by sleepers and cleared by the waker; epoch, fence
// and over are the sleeping side's; ack is the waking side's; seq is bumped by
// anybody.
//
// Who may die where: a sleeper anywhere (a wake that wakes nobody follows). A
// waker that dies between lower and wake leaves a sleeper parked with nothing
// raised, so whoever notices a death calls Kick, which asks no flag. Nobody
// notices one that is stopped there: see Signal.
type Event struct {
	seq  word.U32
	flag word.U32
	_    [56]byte
	ack  word.U32
	_    [60]byte
}

// Size is the size of an Event in bytes, and its alignment.
const Size = 128

const (
	raised = 1 << 0
	over   = 1 << 1
	fence  = 1 << 2
	wish   = ^uint32(raised | over)
	epoch  = 1 << 3 // added for each new wish
)

// Kick wakes everybody who is parked on e, whatever the flag says: after a
// change of state that no publish announces, and on behalf of the dead.
func (e *Event) Kick() {
	e.seq.Add(1)
	e.seq.Wake(math.MaxInt32)
}

// raise sets raised and returns the wish beside it. It is a full fence.
func (e *Event) raise() uint32 {
	for {
		f := e.flag.Load()
		if e.flag.CompareAndSwap(f, f|raised) { // pairs with the load in (*Waker).Notify
			return f & wish
		}
	}
}

// lower clears raised and reports whether it was set.
func (e *Event) lower() bool {
	for {
		f := e.flag.Load()
		if f&raised == 0 {
			return false
		}
		if e.flag.CompareAndSwap(f, f&^raised) {
			return true
		}
	}
}
