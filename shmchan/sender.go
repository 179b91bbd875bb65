package shmchan

import (
	"context"
	"os"
	"runtime"
	"unsafe"

	"github.com/shmkit/shm/shmchan/spsc"
	"github.com/shmkit/shm/waiter"
)

// A Sender is the sending end of a channel of T. It belongs to one goroutine
// at a time; only Close, Len, Cap, Ready and WaitPeer may be called from any.
// A second goroutine is told ErrBusy where that can be seen.
//
// A Sender that the program drops without Close or Detach is cleaned up when
// the garbage collector finds it; to the receiver that is a death.
type Sender[T any] struct{ e *sendEnd }

func newSender[T any](e *sendEnd) *Sender[T] {
	s := &Sender[T]{e}
	runtime.AddCleanup(s, forgetLater, &e.end)
	return s
}

// Send puts v into the channel. It waits while the channel is full, and looks
// at ctx only then, so a channel that has room costs no check. When it returns
// nil, v is published: the receiver will find it whatever happens to this
// process. When it returns an error, v was not sent.
//
// Errors: ErrClosed after Close of either side or Remove; ErrPeerDied, once for
// each death, if it would wait and the receiver has died; ctx's error (and its
// cause) if ctx ends while it waits; ErrCorrupt. A receiver that has not come
// yet is no error: Send fills the channel and then waits. A Send that runs at
// the same time as the Close of the receiver may publish a message that nobody
// receives.
//
// Send synchronizes before the Recv that returns v.
func (s *Sender[T]) Send(ctx context.Context, v T) error {
	e := s.e
	if ctx == nil || !e.quick() {
		return s.send(ctx, v)
	}
	slot := e.ring.Slot()
	if slot == nil || e.wake.Over() {
		return s.sendInto(ctx, v)
	}
	*(*T)(slot) = v
	e.ring.Publish()
	if !e.wake.Quiet() {
		e.wake.Notify()
	}
	e.leave()
	return nil
}

// send is Send without the shortcut.
func (s *Sender[T]) send(ctx context.Context, v T) error {
	if ctx == nil {
		return errContext
	}
	if !s.e.enter() {
		return s.e.refused()
	}
	return s.sendInto(ctx, v)
}

// sendInto is the rest of send, after the call has begun.
func (s *Sender[T]) sendInto(ctx context.Context, v T) error {
	slot, err := s.e.slot(ctx)
	runtime.KeepAlive(s)
	if err != nil {
		return err
	}
	*(*T)(slot) = v
	s.e.announce()
	return nil
}

// TrySend is Send that does not wait: it gives ErrFull when there is no room.
// It never blocks.
func (s *Sender[T]) TrySend(v T) error {
	e := s.e
	if !e.enter() {
		return e.refused()
	}
	slot, err := e.try()
	if err != nil {
		return err
	}
	*(*T)(slot) = v
	e.announce()
	return nil
}

// SendBatch sends all of vs, in order, and waits while the channel is full. It
// returns how many were sent; if that is less than all, err tells why, as for
// Send. It looks at ctx at every call. The receiver is woken once for many.
func (s *Sender[T]) SendBatch(ctx context.Context, vs []T) (n int, err error) {
	if ctx == nil {
		return 0, errContext
	}
	if err := waiter.ContextError(ctx); err != nil {
		return 0, err
	}
	e := s.e
	if !e.enter() {
		return 0, e.refused()
	}
	for n < len(vs) {
		slot, stamp, stride, room, err := e.room(ctx, len(vs)-n)
		runtime.KeepAlive(s)
		if err != nil {
			return n, err
		}
		in := vs[n : n+room]
		for i := range in {
			*(*T)(spsc.Message(slot)) = in[i] // not by way of a variable: that is one more copy
			e.put(slot, stamp)
			slot, stamp = unsafe.Add(slot, stride), stamp+2
		}
		e.announceAll(room)
		n += room
	}
	e.leave()
	return n, nil
}

// Reserve returns the place of the next message in the channel, to be filled
// there and published by Commit. It waits as Send does. The bytes there are
// undefined. Until Commit, a further Reserve returns the same pointer, and
// other sends give ErrBusy. The pointer stays valid until Commit, whatever is
// closed or collected meanwhile, and must not be used after.
func (s *Sender[T]) Reserve(ctx context.Context) (*T, error) {
	e := s.e
	if ctx != nil && e.quick() {
		if slot := e.ring.Slot(); slot != nil && !e.wake.Over() {
			e.use.StoreRelease(leased)
			return (*T)(slot), nil
		}
		e.leave()
	}
	slot, err := e.reserve(ctx)
	runtime.KeepAlive(s)
	return (*T)(slot), err
}

// Commit publishes what Reserve returned. It never blocks. Without a Reserve
// it gives fs.ErrInvalid; after Close or Detach, or if the receiver has closed,
// ErrClosed.
func (s *Sender[T]) Commit() error {
	e := s.e
	if !e.again() {
		return e.commitLease()
	}
	return e.commit()
}

// Ready returns a channel for select. There is a token in it while a send
// could succeed or the receiver's state makes it return at once. Tokens may be
// spurious, so use TrySend; none is missed. The channel is never closed; after
// Close it has one last token. The first call starts a goroutine, which ends
// with the endpoint. Any goroutine may call it.
func (s *Sender[T]) Ready() <-chan struct{} { return s.e.readyChan(s.e.canProceed) }

// WaitPeer waits until a receiver is attached. It gives ErrClosed if either side
// is closed, ErrPeerDied if the receiver dies meanwhile (or the descriptor that
// carries its role is lost), or ctx's error. Any goroutine may call it.
func (s *Sender[T]) WaitPeer(ctx context.Context) error {
	defer runtime.KeepAlive(s)
	return s.e.waitPeer(ctx)
}

// Len returns how many messages are in the channel, 0 after Close. Any
// goroutine may call it.
func (s *Sender[T]) Len() int { return s.e.len() }

// Cap returns the capacity in messages. Any goroutine may call it.
func (s *Sender[T]) Cap() int { return s.e.ring.Cap() }

// File detaches, and returns a descriptor that carries the role to another
// process: through exec.Cmd.ExtraFiles or SCM_RIGHTS, then SenderFromFile
// there. The messages stay. If all copies of the descriptor are closed before
// anybody attached, the receiver is told ErrPeerDied. The caller closes f. The
// Sender is closed for use even if File fails.
func (s *Sender[T]) File() (f *os.File, err error) { return s.e.file() }

// Detach leaves without ending the channel: the messages stay, and a successor
// may attach and go on. The receiver waits as for a sender that has not come
// yet. After Detach the Sender gives ErrClosed.
func (s *Sender[T]) Detach() error { return s.e.detach() }

// Close ends the channel. What was sent can still be received; then Recv gives
// io.EOF. A call that another goroutine is blocked in returns ErrClosed. When
// both ends are closed, the name is removed. Close after Close, Detach or File
// does nothing and returns nil. Any goroutine may call it.
func (s *Sender[T]) Close() error { return s.e.close() }
