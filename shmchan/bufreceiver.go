package shmchan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"unsafe"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/slabpool"
	"github.com/shmkit/shm/waiter"
)

// A BufReceiver is the receiving end of a Buf channel. It belongs to one
// goroutine at a time; only Close, Len, Cap, Ready and WaitPeer may be called
// from any. A second goroutine is told ErrBusy where that can be seen. It may
// hold any number of Bufs, and they are released in any order, from any
// goroutine; the sender waits when it finds no free block.
//
// A BufReceiver that the program drops without Close or Detach is cleaned up
// when the garbage collector finds it and no Buf of it; to the sender that is a
// death. If a Buf was dropped without Release, that comes when the process ends.
type BufReceiver struct {
	e    *recvEnd
	side *bufSide
	feed feed
}

// newBufReceiver makes a BufReceiver of r, whose role is claimed. After an
// error r has ended.
func newBufReceiver(r *region.Region, p *plan) (*BufReceiver, error) {
	side, err := newBufSide(r, p, roleReceiver)
	if err != nil {
		return nil, err
	}
	e, err := newRecvEnd(r, p)
	if err != nil {
		return nil, err
	}
	err = attached(r, func() error {
		sweepReceiver(side.pool, &e.ring)
		return nil
	})
	if err != nil {
		return nil, err
	}
	side.begin(&e.end)
	return &BufReceiver{e: e, side: side}, nil
}

// Recv takes the next message out of the channel. It waits while there is
// none, and looks at ctx only then. The Buf is the caller's until Release. If
// this process dies, its block goes back to the pool, and the message is lost.
//
// Errors are those of (*Receiver).Recv.
func (r *BufReceiver) Recv(ctx context.Context) (*Buf, error) { return r.recv(ctx, nil) }

// RecvInto is Recv into a Buf of the caller's: it allocates nothing. b holds no
// message: it is the zero Buf, or one that was sent or released; see [Buf]. With
// an error it is left so.
//
// Errors: those of Recv; ErrBusy if b holds a message, which it keeps;
// fs.ErrInvalid if b is nil.
func (r *BufReceiver) RecvInto(ctx context.Context, b *Buf) error {
	return b.fill(func() error {
		_, err := r.recv(ctx, b)
		return err
	})
}

// recv is Recv into b, or into a new Buf if that is nil.
func (r *BufReceiver) recv(ctx context.Context, b *Buf) (*Buf, error) {
	if ctx == nil {
		return nil, errContext
	}
	e := r.e
	if !e.quick() && !e.enter() {
		return nil, e.refused()
	}
	at := e.ring.Slot()
	if at == nil {
		var err error
		at, err = e.slot(ctx)
		runtime.KeepAlive(r.side)
		if err != nil {
			r.told(err)
			return nil, err
		}
	}
	return r.get(at, b)
}

// TryRecv is Recv that does not wait: it gives ErrEmpty when there is no
// message. It never blocks.
func (r *BufReceiver) TryRecv() (*Buf, error) { return r.tryRecv(nil) }

// TryRecvInto is TryRecv into a Buf of the caller's, as RecvInto is Recv.
func (r *BufReceiver) TryRecvInto(b *Buf) error {
	return b.fill(func() error {
		_, err := r.tryRecv(b)
		return err
	})
}

func (r *BufReceiver) tryRecv(b *Buf) (*Buf, error) {
	if !r.e.enter() {
		return nil, r.e.refused()
	}
	at, err := r.e.try()
	if err != nil {
		r.told(err)
		return nil, err
	}
	return r.get(at, b)
}

// told sweeps after a death that was just told. The call has ended.
func (r *BufReceiver) told(err error) {
	if errors.Is(err, ErrPeerDied) && r.e.enter() {
		r.side.sweepPeer(r.e.reg.State(roleSender), r.e.ring.Published)
		r.e.leave()
	}
}

// get takes the message out of the slot, and ends the call.
func (r *BufReceiver) get(at unsafe.Pointer, b *Buf) (*Buf, error) {
	b, err := r.take(at, b)
	if err != nil {
		r.e.leave()
		return nil, err
	}
	r.e.release()
	return b, nil
}

// take puts the message in the slot, which stays as it is, into b, or into a new
// Buf if that is nil.
func (r *BufReceiver) take(at unsafe.Pointer, b *Buf) (*Buf, error) {
	m := (*bufMessage)(at)
	head := m.Head // once: a peer may change it
	switch n := head >> 8; {
	case head&0xff == kindInline && n <= inlineSize:
		b = r.side.target(b)
		b.inline, b.n, b.body = true, int(n), m.Body
		b.uses.StoreRelease(1)
		return b, nil
	case head == kindBlock:
		h := *m.handle()
		err := r.side.pool.Take(h)
		if err == nil {
			if b, err = r.side.large(b, h); err == nil {
				return b, nil
			}
		}
		return nil, fmt.Errorf("shmchan: the next message has no block: %w: %w", err, ErrCorrupt)
	}
	return nil, fmt.Errorf("shmchan: the next message begins with %#x, which no sender writes: %w", head, ErrCorrupt)
}

// All returns the messages for a range loop, which ends when the sender has
// closed. Any other error, those of Recv, comes as the last pair, with a nil
// Buf. It looks at ctx at every message. The body of the loop releases each Buf,
// which is a new one, as that of Recv: a loop over RecvInto allocates nothing.
func (r *BufReceiver) All(ctx context.Context) iter.Seq2[*Buf, error] {
	return func(yield func(*Buf, error) bool) {
		for {
			b, err := r.next(ctx)
			if err == io.EOF {
				return
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// next is Recv that looks at ctx first.
func (r *BufReceiver) next(ctx context.Context) (*Buf, error) {
	if ctx == nil {
		return nil, errContext
	}
	if err := waiter.ContextError(ctx); err != nil {
		return nil, err
	}
	return r.Recv(ctx)
}

// Chan returns a Go channel that gets the messages, from a goroutine that owns
// the BufReceiver until the channel is closed: at the end of the messages or of
// ctx, or at an error, which Err tells. Whoever takes a Buf out of it releases
// it. Each is a new one; RecvInto and LoanInto may give ErrBusy for it for a moment
// after its Release. Chan never takes a message that it cannot deliver: when ctx
// ends, what was not delivered stays in the channel.
func (r *BufReceiver) Chan(ctx context.Context) <-chan *Buf {
	ch := make(chan *Buf)
	r.feed.begin()
	go func() {
		defer close(ch)
		r.feed.end(Guard(func() error { return r.deliver(ctx, ch) }))
	}()
	return ch
}

func (r *BufReceiver) deliver(ctx context.Context, ch chan<- *Buf) error {
	if ctx == nil {
		return errContext
	}
	for {
		if err := waiter.ContextError(ctx); err != nil {
			return err
		}
		b, err := r.lease(ctx)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			r.putBack(b)
			return waiter.ContextError(ctx)
		case <-r.e.stop:
			r.putBack(b)
			return ErrClosed
		case ch <- b:
		}
		if err := r.finish(b); err != nil {
			return err
		}
	}
}

// finish ends the lease of a message that was delivered, and then our own hold of
// b: its block must not be free while its handle is in the ring.
func (r *BufReceiver) finish(b *Buf) error {
	defer b.Release() // also after a fault
	return r.e.releaseLease()
}

// lease is Recv that leaves the message in its slot, until finish or
// putBack. A Buf with a block has two holds, the receiver's and our own.
func (r *BufReceiver) lease(ctx context.Context) (*Buf, error) {
	e := r.e
	if !e.enter() {
		return nil, e.refused()
	}
	at, err := e.slot(ctx)
	if err != nil {
		r.told(err)
		return nil, err
	}
	b, err := r.take(at, nil) // within the call: Close waits for it
	if err != nil {
		e.leave()
		return nil, err
	}
	b.uses.StoreRelease(2)
	e.use.StoreRelease(leased)
	return b, nil
}

// putBack undoes lease: nobody has seen b.
func (r *BufReceiver) putBack(b *Buf) {
	h, inline := b.block().handle, b.inline
	b.empty()
	if !inline {
		guarded(func() error {
			r.side.pool.Untake(h, roleSender)
			return nil
		})
		r.e.letGo() // not the last: the lease is one too
	}
	r.e.keep()
}

// Err returns why the channel of Chan was closed: nil if the sender closed and
// all was delivered, or while it is open. Any goroutine may call it.
func (r *BufReceiver) Err() error { return r.feed.why() }

func (r *BufReceiver) waitable() waitable {
	if r == nil {
		return nil
	}
	return r.e
}

// Ready is (*Receiver).Ready.
func (r *BufReceiver) Ready() <-chan struct{} { return r.e.readyChan(r.e.canProceed) }

// WaitPeer is (*Receiver).WaitPeer.
func (r *BufReceiver) WaitPeer(ctx context.Context) error {
	defer runtime.KeepAlive(r.side)
	return r.e.waitPeer(ctx)
}

// Len returns how many messages are in the channel, 0 after Close. Any
// goroutine may call it.
func (r *BufReceiver) Len() int { return r.e.len() }

// Cap returns the capacity in messages. Any goroutine may call it.
func (r *BufReceiver) Cap() int { return r.e.ring.Cap() }

// Stats returns what is in use of each class of the pool, nil after Close. Any
// goroutine may call it.
func (r *BufReceiver) Stats() []slabpool.Stats { return r.side.stats() }

// File is (*Receiver).File. While Bufs are held it gives ErrBusy, and nothing
// has changed.
func (r *BufReceiver) File() (*os.File, error) {
	if err := r.side.busy(); err != nil {
		return nil, err
	}
	return r.e.file()
}

// Detach is (*Receiver).Detach. While Bufs are held it gives ErrBusy, and
// nothing has changed: a successor could not tell them from those of the dead.
func (r *BufReceiver) Detach() error {
	if err := r.side.busy(); err != nil {
		return err
	}
	return r.e.detach()
}

// Close is (*Receiver).Close. Bufs that are held stay valid until they are
// released.
func (r *BufReceiver) Close() error { return r.e.close() }
