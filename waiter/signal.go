package waiter

import "time"

// LongestPark is how long somebody who waits on an Event with several signallers
// stays in the kernel at most before he looks for himself: how late his wake-up
// can be because one of them was stopped, or has died unnoticed, in the middle of
// waking him. It has lowered the flag, and so nobody else wakes.
const LongestPark = 100 * time.Millisecond

// Signal wakes whoever is parked on e, if somebody is. It is Notify for
// publishers that are many, and whose last write is a read-modify-write: that
// is a fence, so that the sleeper need not pay for one. Any goroutine of any
// process may call it, and it never blocks.
//
// A process that is stopped between lowering the flag and the wake leaves a
// sleeper parked with nothing raised, and no other Signal wakes that: sleepers on
// an Event with several signallers park for LongestPark at a time (AwaitWith,
// WaitWith).
func (e *Event) Signal() {
	if e.flag.Load()&raised != 0 { // pairs with the compare-and-swap in raise
		e.signal()
	}
}

// signal is the part of Signal that need not be inlined.
func (e *Event) signal() {
	if e.lower() {
		e.Kick()
	}
}
