package waiter

import (
	"runtime"
	"time"
)

// turns is when a goroutine that parks last let others run.
//
// A goroutine that only ever goes from one park into the next is never scheduled
// anew. After 10 ms of that the runtime's monitor takes it for one that hogs its P,
// takes the P away at its first look into each park, starts a thread to have the P
// searched for work, and sleeps, so that the wake-up has to wake the monitor too:
// three more switches of threads and 25 µs of CPU time for each message. With a
// Gosched every few milliseconds the monitor lets an idle process's P be, and still
// takes it where others are waiting for it.
//
// Ownership: of the goroutine that parks.
type turns struct{ last time.Time }

// fresh is how long a goroutine counts as scheduled anew: half of the 10 ms.
const fresh = 5 * time.Millisecond

// stir calls Gosched if that was long ago. It comes before the sequence is read and
// the context looked at, since others may run for long here.
func (t *turns) stir() {
	if now := time.Now(); now.Sub(t.last) > fresh {
		t.last = now
		runtime.Gosched()
	}
}
