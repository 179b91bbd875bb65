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
	ring, err := spsc.ConsumerIn(r)
	if err != nil {
		r.Abandon()
		r.Unmap()
		return nil, err
	}
	e := &recvEnd{ring: ring}
	e.init(r, roleReceiver, p)
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

// slot waits for a message. The call has begun; after an error it has ended.
func (e *recvEnd) slot(ctx context.Context) (unsafe.Pointer, error) {
	if s := e.ring.Slot(); s != nil {
		return s, nil
	}
	e.count.waiting.Waited()
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
	return e.ring.Len()
}
