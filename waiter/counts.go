package waiter

import "github.com/shmkit/shm/internal/word"

// Counts is what one side of a pair of Events has done: it waited on its own
// and woke the other. It lies in shared memory, for tools to read, or
// anywhere. Zeroed memory is a valid one; a successor counts on.
//
// Invariants: no word ever decides anything. They wrap, and a hostile peer can
// make them say what it likes.
//
// Ownership: the process that has the role writes: waits, slept and wakes from
// the goroutine that works with the endpoint, parks from any. Anybody reads.
//
// Who may die where: anywhere; the count under way is there or not.
type Counts struct {
	waits word.U64
	slept word.U64
	parks word.U64
	wakes word.U64
	_     [CountsSize - 32]byte
}

// CountsSize is the size of Counts in bytes, and its alignment: a cache line.
const CountsSize = 64

// A Tally is a copy of Counts.
type Tally struct {
	Waits uint64 // calls that found nothing to do and waited, those under way included
	Slept uint64 // of those, the ones that parked in the kernel; the others were served while they spun
	Parks uint64 // times that a goroutine parked: in a wait, again if it was woken for nothing; in an Await; and in a Group, for each member
	Wakes uint64 // times that the other side was woken
}

// Read copies the counts. Each is right for itself; together they may be of
// slightly different instants.
func (c *Counts) Read() Tally {
	return Tally{Waits: c.waits.Load(), Slept: c.slept.Load(), Parks: c.parks.Load(), Wakes: c.wakes.Load()} // pair with the stores in Waited, Wait, park, notify
}

// Waited counts a wait. It is for the goroutine that calls Wait.
func (c *Counts) Waited() { Bump(&c.waits) }

// Bump adds one to a word that only the caller writes: a load and a store of a
// line that it has, where an atomic addition would cost a fence.
func Bump(u *word.U64) { u.StoreRelease(u.Load() + 1) } // pairs with the load in (*Counts).Read

// CountIn makes the Sleeper count its parks. Call it before the first Wait.
func (s *Sleeper) CountIn(c *Counts) { s.counts = c }

// countPark counts a park, of whichever goroutine.
func (s *Sleeper) countPark() {
	if s.counts != nil {
		s.counts.parks.Add(1) // pairs with the load in (*Counts).Read
	}
}

// Slept tells whether the last Wait parked.
func (s *Sleeper) Slept() bool { return s.parked }

// CountIn makes the Waker count whom it wakes. Call it before the first
// Notify.
func (w *Waker) CountIn(c *Counts) { w.counts = c }

// Sleeping tells whether somebody may be parked on e, or about to. It is for
// observers, and only reads.
func (e *Event) Sleeping() bool { return e.flag.Load()&raised != 0 } // pairs with the compare-and-swap in raise
