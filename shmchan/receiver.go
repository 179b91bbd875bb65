package shmchan

import (
	"context"
	"io"
	"iter"
	"os"
	"runtime"
	"unsafe"

	"github.com/shmkit/shm/shmchan/spsc"
	"github.com/shmkit/shm/waiter"
)

// A Receiver is the receiving end of a channel of T. It belongs to one
// goroutine at a time; only Close, Len, Cap, Ready, Err and WaitPeer may be
// called from any. A second goroutine is told ErrBusy where that can be seen.
//
// A Receiver that the program drops without Close or Detach is cleaned up when
// the garbage collector finds it; to the sender that is a death.
type Receiver[T any] struct {
	e    *recvEnd
	feed feed
}

func newReceiver[T any](e *recvEnd) *Receiver[T] {
	r := &Receiver[T]{e: e}
	runtime.AddCleanup(r, forgetLater, &e.end)
	return r
}

// Recv takes the next message out of the channel. It waits while there is
// none, and looks at ctx only then, so a channel with messages costs no check.
// A process that dies right after Recv loses the message; Peek and Release
// keep it.
//
// Errors: io.EOF when the sender has closed and all was received; ErrPeerDied,
// once for each death, when the sender has died and all was received;
// ErrClosed after the receiver's own Close, or Remove; ctx's error (and its
// cause) if ctx ends while it waits; ErrCorrupt. With an error nothing was
// taken. A sender that has not come yet is waited for.
func (r *Receiver[T]) Recv(ctx context.Context) (v T, err error) {
	e := r.e
	if ctx == nil || !e.quick() {
		return r.recv(ctx)
	}
	slot := e.ring.Slot()
	if slot == nil {
		return r.recvFrom(ctx)
	}
	v = *(*T)(slot)
	e.ring.Release()
	if !e.wake.Quiet() {
		e.wake.Notify()
	}
	e.leave()
	return v, nil
}

// recv is Recv without the shortcut.
func (r *Receiver[T]) recv(ctx context.Context) (v T, err error) {
	if ctx == nil {
		return v, errContext
	}
	if !r.e.enter() {
		return v, r.e.refused()
	}
	return r.recvFrom(ctx)
}

// recvFrom is the rest of recv, after the call has begun.
func (r *Receiver[T]) recvFrom(ctx context.Context) (v T, err error) {
	slot, err := r.e.slot(ctx)
	runtime.KeepAlive(r)
	if err != nil {
		return v, err
	}
	v = *(*T)(slot)
	r.e.release()
	return v, nil
}

// TryRecv is Recv that does not wait: it gives ErrEmpty when there is no
// message. It never blocks.
func (r *Receiver[T]) TryRecv() (v T, err error) {
	e := r.e
	if !e.enter() {
		return v, e.refused()
	}
	slot, err := e.try()
	if err != nil {
		return v, err
	}
	v = *(*T)(slot)
	e.release()
	return v, nil
}

// RecvBatch takes at least one message, and more if they are there and fit into
// buf (at least half of those), and returns how many. It waits for the first as
// Recv does, but looks at ctx at every call. With an error n is 0. An empty buf
// gives 0.
func (r *Receiver[T]) RecvBatch(ctx context.Context, buf []T) (n int, err error) {
	if ctx == nil {
		return 0, errContext
	}
	if err := waiter.ContextError(ctx); err != nil {
		return 0, err
	}
	e := r.e
	if !e.enter() {
		return 0, e.refused()
	}
	if len(buf) > 0 {
		n, err = e.ready(ctx, len(buf))
		runtime.KeepAlive(r)
		if err != nil {
			return 0, err
		}
		for done := 0; done < n; {
			slot, stamp, stride, k := e.run(n - done)
			out := buf[done : done+k]
			for i := range out {
				out[i] = *(*T)(spsc.Message(slot))
				e.take(slot, stamp)
				slot, stamp = unsafe.Add(slot, stride), stamp+2
			}
			e.releaseAll(k)
			done += k
		}
	}
	e.leave()
	return n, nil
}

// Peek returns the next message in its place. It stays in the channel until
// Release, also if this process dies: a successor finds it again. Peek waits as
// Recv does. A further Peek returns the same pointer; other receives give
// ErrBusy until Release. The pointer stays valid until Release, whatever is
// closed or collected meanwhile, and must not be used after. It points into
// memory that the sender can write to.
func (r *Receiver[T]) Peek(ctx context.Context) (*T, error) {
	e := r.e
	if ctx != nil && e.quick() {
		if slot := e.ring.Slot(); slot != nil {
			e.use.StoreRelease(leased)
			return (*T)(slot), nil
		}
		e.leave()
	}
	slot, err := e.peek(ctx)
	runtime.KeepAlive(r)
	return (*T)(slot), err
}

// Release takes the message that Peek returned out of the channel. It never
// blocks. Without a Peek it gives fs.ErrInvalid; after Close or Detach
// ErrClosed, and the message was not taken.
func (r *Receiver[T]) Release() error {
	e := r.e
	if !e.again() {
		return e.releaseLease()
	}
	e.ring.Release()
	if !e.wake.Quiet() {
		e.wake.Notify()
	}
	e.leave()
	return nil
}

// All returns the messages for a range loop, which ends when the sender has
// closed. Any other error, those of Recv, comes as the last pair, with a zero
// T. It looks at ctx at every message. A message is taken before it is yielded.
func (r *Receiver[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, err := r.next(ctx)
			if err == io.EOF {
				return
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// next is Recv that looks at ctx first.
func (r *Receiver[T]) next(ctx context.Context) (v T, err error) {
	if ctx == nil {
		return v, errContext
	}
	if err := waiter.ContextError(ctx); err != nil {
		return v, err
	}
	return r.Recv(ctx)
}

// Ready returns a channel for select. There is a token in it while a receive
// could succeed or the sender's state makes it return at once. Tokens may be
// spurious, so use TryRecv; none is missed: both a loop that drains until
// ErrEmpty and one that takes one message a token are right. The channel is
// never closed; after Close it has one last token. The first call starts a
// goroutine, which ends with the endpoint. Any goroutine may call it.
func (r *Receiver[T]) Ready() <-chan struct{} { return r.e.readyChan(r.e.canProceed) }

// Chan returns a Go channel that gets the messages, from a goroutine that owns
// the Receiver until the channel is closed: at the end of the messages or of
// ctx, or at an error, which Err tells. It never takes a message that it
// cannot deliver: when ctx ends, what was not delivered stays.
//
// Because of this method, T must be smaller than 64 KiB (65,536 bytes): Go has
// no chan of larger elements, and a program with a Receiver of a larger T does
// not compile ("channel element type too large"), whether it calls Chan or not.
func (r *Receiver[T]) Chan(ctx context.Context) <-chan T {
	ch := make(chan T)
	r.feed.begin()
	go func() {
		defer close(ch)
		holds := false
		err := Guard(func() error { return r.deliver(ctx, ch, &holds) })
		if holds {
			r.e.keep()
		}
		r.feed.end(err)
	}()
	return ch
}

// deliver is Chan's work. If holds is true in the end, the next message is in its
// place.
func (r *Receiver[T]) deliver(ctx context.Context, ch chan<- T, holds *bool) error {
	if ctx == nil {
		return errContext
	}
	for {
		if err := waiter.ContextError(ctx); err != nil {
			return err
		}
		p, err := r.Peek(ctx)
		if err != nil {
			return err
		}
		*holds = true
		select {
		case <-ctx.Done():
			return waiter.ContextError(ctx)
		case <-r.e.stop:
			return ErrClosed
		case ch <- *p: // may be a fault
		}
		*holds = false
		if err := r.Release(); err != nil {
			return err
		}
	}
}

// Err returns why the channel of Chan was closed: nil if the sender closed and
// all was delivered, or while it is open. Any goroutine may call it.
func (r *Receiver[T]) Err() error { return r.feed.why() }

// WaitPeer waits until a sender is attached. It gives ErrClosed if either side
// is closed, ErrPeerDied if the sender dies meanwhile (or the descriptor that
// carries its role is lost), or ctx's error. Any goroutine may call it.
func (r *Receiver[T]) WaitPeer(ctx context.Context) error {
	defer runtime.KeepAlive(r)
	return r.e.waitPeer(ctx)
}

// Len returns how many messages are in the channel, 0 after Close. Any
// goroutine may call it.
func (r *Receiver[T]) Len() int { return r.e.len() }

// Cap returns the capacity in messages. Any goroutine may call it.
func (r *Receiver[T]) Cap() int { return r.e.ring.Cap() }

// File detaches, and returns a descriptor that carries the role to another
// process: through exec.Cmd.ExtraFiles or SCM_RIGHTS, then ReceiverFromFile
// there. The messages stay. If all copies of the descriptor are closed before
// anybody attached, the sender is told ErrPeerDied. The caller closes f. The
// Receiver is closed for use even if File fails.
func (r *Receiver[T]) File() (f *os.File, err error) { return r.e.file() }

// Detach leaves without ending the channel: the messages stay, and a successor
// may attach and go on with the first that was not taken. The sender fills the
// channel and then waits, as for a receiver that has not come yet. After
// Detach the Receiver gives ErrClosed.
func (r *Receiver[T]) Detach() error { return r.e.detach() }

// Close ends the channel: Send gives ErrClosed from now on, and what was not
// received is lost. A call that another goroutine is blocked in returns
// ErrClosed. When both ends are closed, the name is removed. Close after
// Close, Detach or File does nothing and returns nil. Any goroutine may call
// it.
func (r *Receiver[T]) Close() error { return r.e.close() }
