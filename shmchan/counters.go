package shmchan

import (
	"unsafe"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/waiter"
)

// Counters of a channel, for tools: an optional section with one record a
// role. How much was sent and received is not counted, since the ring says it;
// takeovers and deaths are in the endpoint table. What is counted happens when
// a call has to wait or gives up, so a message that flows costs nothing.
//
// A nil *counters counts nothing: that of a region without the section, or with
// another version of it.
//
// Invariants: nothing is ever decided by a counter.
//
// Ownership: the endpoint that has the role writes its record, anybody reads.
// A successor counts on.
//
// Who may die where: anywhere.
type counters struct {
	waiting waiter.Counts
	refused word.U64 // Try calls that found no room, no message, or no block
	high    word.U64 // most messages that this side has seen in the channel when it waited or gave up
	_       [64 - 16]byte
}

const (
	countersSize    = 128
	countersVersion = 1
)

// This does not compile if counters has another size.
var _ [countersSize]byte = [unsafe.Sizeof(counters{})]byte{}

// countersSection asks for the counters in a new region.
func countersSection() region.Section {
	return region.Section{Kind: region.KindCounters, Version: countersVersion, Size: roles * countersSize, Align: countersSize}
}

// countersOf returns the record of a role, nil if the region has none.
func countersOf(r *region.Region, role int) *counters {
	mem, size, version, ok := r.Section(region.KindCounters)
	if !ok || version != countersVersion || size < roles*countersSize {
		return nil
	}
	return (*counters)(unsafe.Add(mem, role*countersSize))
}

// countIn makes an endpoint's sleeper and waker count in c.
func (c *counters) countIn(e *end) {
	if c != nil {
		e.sleep.CountIn(&c.waiting)
		e.wake.CountIn(&c.waiting)
	}
}

// waited counts a call that has to wait.
func (c *counters) waited() {
	if c != nil {
		c.waiting.Waited()
	}
}

// giveUp counts a Try call that found nothing to do.
func (c *counters) giveUp() {
	if c != nil {
		waiter.Bump(&c.refused)
	}
}

// seen notes how many messages are in the channel.
func (c *counters) seen(n int) {
	if c != nil && uint64(n) > c.high.Load() {
		c.high.StoreRelease(uint64(n)) // pairs with the load in (*Observer).Stats
	}
}
