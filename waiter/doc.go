// Package waiter lets one process wait for what another publishes in shared
// memory: spin for as long as that pays, then park in the kernel.
//
// An Event is an event count that lies in the shared memory beside the data.
// The publishing side has a Waker for it and calls Notify after each publish;
// the waiting side has a Sleeper and calls Wait with a function that looks at
// the data. Nobody parks on the data itself, and nobody who is not parked
// costs the publisher more than one load.
//
// # Who pays for the fence
//
// Publisher: store the data, load the flag. Sleeper: store the flag, load the
// data. On x86 the load of each may overtake its store, and then both miss
// each other. A fence at each publish would cure that at some 20 ns a message.
// Instead the sleeper, when it really is about to park, calls membarrier with
// MEMBARRIER_CMD_GLOBAL_EXPEDITED, which makes every running thread of every
// registered process pass a fence: 0.4 µs if no such thread runs, about 8 µs if
// one does, and a short interrupt on each CPU that runs one, also of processes
// that have nothing to do with this Event. A pair that parks after nearly every
// message moves to a fence at each publish, and back when messages flow. Where
// membarrier is not to be had, the publisher fences if it cannot be fenced; and
// the sleeper that cannot call it asks for fences and parks for at most 1 ms at
// a time until the publisher has answered. On arm64 stores and loads of this
// kind are ordered as they are, and none of this happens.
//
// # Many goroutines
//
// A goroutine in the futex call keeps a thread. The first 32 of a process park
// that way, without a hop between them and whoever wakes them. All others hand
// their word to a goroutine that waits for up to 127 words in one call
// (futex_waitv) and block without a thread; so do 10,000 with fewer than 100
// threads in all. A [Group] waits for several Events at once, with one park.
// Where there is no futex_waitv, 64 park themselves and the rest is looked at
// every 20 µs to 1 ms.
//
// # What it does not do
//
// It knows nothing of processes or their death: whoever finds that a peer is
// dead or has changed its state calls Kick. Elsewhere than on Linux a parked
// call looks every 20 µs to 1 ms instead of being woken.
//
// # Death
//
// A process may be killed at any instruction. What it leaves raised costs its
// successor one wake-up that wakes nobody; what it left lowered but did not
// wake is woken by Kick.
package waiter
