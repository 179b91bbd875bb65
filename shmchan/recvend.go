package shmchan

import (
	"context"
	"io"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan/spsc"
	"github.com/shmkit/shm/waiter"
)

// A recvEnd is a Receiver without its type.
type recvEnd struct {
	end
	ring spsc.Consumer
}

func newRecvEnd(r *region.Region, p *plan) (*recvEnd, error) {
	e := &recvEnd{}
	err := attached(r, func() (err error) {
		if e.ring, err = spsc.ConsumerIn(r); err == nil {
			e.init(r, roleReceiver, p)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// release takes the message in the slot out of the channel, wakes the sender, and
// ends the call.
func (e *recvEnd) release() {
	e.ring.Release()
	if !e.wake.Quiet() {
		e.wake.Notify()
	}
	e.leave()
}

// ready waits for a message and returns how many can be taken, 1 to limit. The
// call has begun; after an error it has ended.
func (e *recvEnd) ready(ctx context.Context, limit int) (n int, err error) {
	n = e.ring.Ready(limit)
	if n == 0 {
		if _, err = e.slot(ctx); err != nil {
			return 0, err
		}
		n = max(1, e.ring.Ready(limit)) // 1 was seen, whatever a peer does to it meanwhile
	}
	return n, nil
}

// run returns slots that lie one behind the other: the first, its stamp, the
// bytes from each to the next, and how many, 1 to limit.
func (e *recvEnd) run(limit int) (slot unsafe.Pointer, stamp uint64, stride uintptr, n int) {
	slot, stamp, n = e.ring.Run(limit)
	return slot, stamp, e.ring.Stride(), n
}

// take takes the message in a slot of a run. The slots are taken in order; then
// comes releaseAll. It is here so that it inlines into RecvBatch; see put.
func (e *recvEnd) take(slot unsafe.Pointer, stamp uint64) { e.ring.Take(slot, stamp) }

// releaseAll ends a run of n messages that were taken, and wakes the sender.
func (e *recvEnd) releaseAll(n int) {
	e.ring.Advance(n)
	e.wake.Notify()
}

// slot waits for a message. The call has begun; after an error it has ended.
func (e *recvEnd) slot(ctx context.Context) (unsafe.Pointer, error) {
	if s := e.ring.Slot(); s != nil {
		return s, nil
	}
	e.count.waited()
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
		err := e.empty()
		if err == nil {
			err = e.sleep.Wait(ctx, streaming, e.stir)
			if e.sleep.Slept() {
				e.count.seen(e.ring.Len()) // what has come while this side was woken
			}
			if err == nil && e.ring.Blocked() {
				err = waiter.ContextError(ctx) // news only: a peer that makes some all the time must not keep us
			}
		}
		if err != nil {
			e.leave()
			return nil, err
		}
	}
}

// stir tells whether slot has something to look at.
func (e *recvEnd) stir() bool { return !e.ring.Blocked() || e.news() }

// empty tells why there is no point in waiting for a message; nil if there is,
// or if one has come.
func (e *recvEnd) empty() error {
	st, err := e.look()
	if err != nil {
		return err
	}
	if !e.ring.Blocked() { // after the look: the last message before a Close or a death
		return e.ring.Empty()
	}
	if st.Phase == region.Closed {
		return io.EOF
	}
	return e.death(st)
}

// try is slot without waiting.
func (e *recvEnd) try() (unsafe.Pointer, error) {
	if s := e.ring.Slot(); s != nil {
		return s, nil
	}
	err := e.empty()
	if err == nil {
		err = ErrEmpty
		if s := e.ring.Slot(); s != nil { // came just now
			return s, nil
		}
		e.count.giveUp()
	}
	e.leave()
	return nil, err
}

func (e *recvEnd) peek(ctx context.Context) (unsafe.Pointer, error) {
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

func (e *recvEnd) releaseLease() error {
	if err := e.resume(); err != nil {
		return err
	}
	e.release()
	return nil
}

// keep ends a Peek without a Release: the message stays the next one.
func (e *recvEnd) keep() {
	if e.resume() == nil {
		e.leave()
	}
}

// canProceed is for goroutines that have borrowed the end.
func (e *recvEnd) canProceed() bool {
	return !e.ring.BlockedAnywhere() || e.settled()
}

func (e *recvEnd) len() int {
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
