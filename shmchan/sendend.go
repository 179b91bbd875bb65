package shmchan

import (
	"context"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan/spsc"
	"github.com/shmkit/shm/waiter"
)

// A sendEnd is a Sender without its type.
type sendEnd struct {
	end
	ring spsc.Producer
}

func newSendEnd(r *region.Region, p *plan) (*sendEnd, error) {
	e := &sendEnd{}
	err := attached(r, func() (err error) {
		if e.ring, err = spsc.ProducerIn(r); err == nil {
			e.init(r, roleSender, p)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// announce publishes the message in the slot, wakes the receiver, and ends the
// call. A receiver that closes at this moment may have taken the message or not.
func (e *sendEnd) announce() {
	e.ring.Publish()
	if !e.wake.Quiet() {
		e.wake.Notify()
	}
	e.leave()
}

// room waits for room, and returns slots that lie one behind the other: the
// first, its stamp, the bytes from each to the next, and how many, 1 to limit.
// The call has begun; after an error it has ended.
func (e *sendEnd) room(ctx context.Context, limit int) (slot unsafe.Pointer, stamp uint64, stride uintptr, n int, err error) {
	n = e.ring.Room(limit)
	if n > 0 && n < limit && limit <= e.ring.Cap()/crowded {
		// The receiver has plenty to do, and right behind it we would only
		// fight with it for the lines that it is about to release.
		e.sleep.Hold()
		n = e.ring.Room(limit)
	}
	if n == 0 || e.wake.Over() {
		if _, err = e.slot(ctx); err != nil {
			return nil, 0, 0, 0, err
		}
		n = max(1, e.ring.Room(limit)) // 1 was seen, whatever a peer does to it meanwhile
	}
	slot, stamp, n = e.ring.Run(n)
	return slot, stamp, e.ring.Stride(), n, nil
}

// put publishes the message in a slot of room's. The slots are put in order;
// then comes announceAll.
//
// It is here so that it inlines into SendBatch, which the compiler makes in the
// package that uses it. There it has the bodies of this package's functions, but
// not those of spsc's, unless ordinary code of this package has them inlined. A
// call for each message would halve the rate (TestHotPathsInline).
func (e *sendEnd) put(slot unsafe.Pointer, stamp uint64) { e.ring.Put(slot, stamp) }

// announceAll ends a batch of n messages that were put, and wakes the receiver.
func (e *sendEnd) announceAll(n int) {
	e.ring.Advance(n)
	e.wake.Notify()
}

// commit ends a lease: the call has begun.
func (e *sendEnd) commit() error {
	if e.wake.Over() {
		e.leave()
		return ErrClosed
	}
	e.announce()
	return nil
}

// slot waits for room. The call has begun; after an error it has ended.
func (e *sendEnd) slot(ctx context.Context) (unsafe.Pointer, error) {
	if e.wake.Over() {
		e.leave()
		return nil, ErrClosed
	}
	if s := e.ring.Slot(); s != nil {
		return s, nil
	}
	e.count.waited()
	e.count.seen(e.ring.Cap())
	streaming := e.ring.Position()-e.mark > streak
	e.mark = e.ring.Position()
	for range e.sleep.Looks(streaming) {
		if s := e.ring.Slot(); s != nil {
			return s, nil
		}
		word.Pause(1)
	}
	for {
		if s := e.ring.Slot(); s != nil {
			return s, nil
		}
		err := e.full()
		if err == nil {
			err = e.sleep.Wait(ctx, streaming, e.stir)
			if err == nil && e.ring.Blocked() {
				err = waiter.ContextError(ctx) // news only: a peer that makes some all the time must not keep us
			}
			if streaming {
				e.sleep.Yield() // where both share a CPU, let the receiver make room for more than one
			}
		}
		if err != nil {
			e.leave()
			return nil, err
		}
	}
}

// crowded: a batch of at most this part of the capacity that has no room waits a
// moment for all of it.
const crowded = 4

// streak is how many messages without a wait make a stream.
const streak = 8

// stir tells whether slot has something to look at.
func (e *sendEnd) stir() bool { return !e.ring.Blocked() || e.news() }

// full tells why there is no point in waiting for room; nil if there is.
func (e *sendEnd) full() error {
	st, err := e.look()
	if err != nil {
		return err
	}
	if !e.ring.Blocked() {
		return e.ring.Full()
	}
	if st.Phase == region.Closed {
		return ErrClosed
	}
	return e.death(st)
}

// try is slot without waiting.
func (e *sendEnd) try() (unsafe.Pointer, error) {
	if e.wake.Over() {
		e.leave()
		return nil, ErrClosed
	}
	if s := e.ring.Slot(); s != nil {
		return s, nil
	}
	err := e.full()
	if err == nil {
		err = ErrFull
		if !e.ring.Blocked() { // a message was taken just now
			if s := e.ring.Slot(); s != nil {
				return s, nil
			}
		}
		e.count.giveUp()
		e.count.seen(e.ring.Cap())
	}
	e.leave()
	return nil, err
}

func (e *sendEnd) reserve(ctx context.Context) (unsafe.Pointer, error) {
	if ctx == nil {
		return nil, errContext
	}
	if e.use.Load() == leased && e.gone.Load() == 0 {
		return e.ring.Held(), nil // whatever the peer has done to its sequence
	}
	if !e.enter() {
		return nil, e.refused()
	}
	s, err := e.slot(ctx)
	if err == nil {
		e.use.StoreRelease(leased)
	}
	return s, err
}

func (e *sendEnd) commitLease() error {
	if err := e.resume(); err != nil {
		return err
	}
	return e.commit()
}

// canProceed is for goroutines that have borrowed the end.
func (e *sendEnd) canProceed() bool {
	return !e.ring.BlockedAnywhere() || e.settled()
}

func (e *sendEnd) len() int {
	if !e.borrow() {
		return 0
	}
	defer e.giveBack()
	n := 0
	guarded(func() error {
		n = e.ring.Len()
		return nil
	})
	return n
}
