package shmchan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/slabpool"
	"github.com/shmkit/shm/waiter"
)

// A BufSender is the sending end of a Buf channel: messages of any size, up to
// the largest class of its pool, written in place and never copied. It belongs
// to one goroutine at a time; only Close, Len, Cap, Ready and WaitPeer may be
// called from any. A second goroutine is told ErrBusy where that can be seen.
//
// A BufSender that the program drops without Close or Detach is cleaned up when
// the garbage collector finds it and no Buf of it; to the receiver that is a
// death. If a Buf was dropped without Send or Release, that comes when the
// process ends.
type BufSender struct {
	e    *sendEnd
	side *bufSide

	// Of a Loan that waits: bytes, and what the last try gave.
	want int
	got  slabpool.Handle
	err  error
	stir func() bool // made once, so that waiting allocates nothing
}

// newBufSender makes a BufSender of r, whose role is claimed. After an error r
// has ended.
func newBufSender(r *region.Region, p *plan) (*BufSender, error) {
	side, err := newBufSide(r, p, roleSender)
	if err != nil {
		return nil, err
	}
	e, err := newSendEnd(r, p)
	if err != nil {
		return nil, err
	}
	err = attached(r, func() error {
		sweepSender(side.pool, &e.ring)
		return nil
	})
	if err != nil {
		return nil, err
	}
	side.begin(&e.end)
	s := &BufSender{e: e, side: side}
	s.stir = func() bool { return s.retry() || s.e.news() }
	return s, nil
}

// Loan gives a Buf of n bytes, to be filled and sent. Its contents are
// undefined. It waits until the pool has a free block that is large enough, and
// looks at ctx only then. Up to 48 bytes travel with the message itself, and
// need no block.
//
// Errors: fs.ErrInvalid if n is not positive; ErrTooLarge; ErrClosed after Close
// of either side or Remove; ErrPeerDied, once for each death, if it would wait
// and the receiver has died; ctx's error (and its cause) if ctx ends while it
// waits; ErrCorrupt. What a dead receiver held is free again before it is told, or,
// if a successor has come already, once that one has attached.
func (s *BufSender) Loan(ctx context.Context, n int) (*Buf, error) { return s.loan(ctx, n, nil) }

// LoanInto is Loan into a Buf of the caller's: it allocates nothing. b holds no
// message: it is the zero Buf, or one that was sent or released; see [Buf]. With
// an error it is left so.
//
// Errors: those of Loan; ErrBusy if b holds a message, which it keeps;
// fs.ErrInvalid if b is nil.
func (s *BufSender) LoanInto(ctx context.Context, n int, b *Buf) error {
	return b.fill(func() error {
		_, err := s.loan(ctx, n, b)
		return err
	})
}

// loan is Loan into b, or into a new Buf if that is nil.
func (s *BufSender) loan(ctx context.Context, n int, b *Buf) (*Buf, error) {
	if ctx == nil {
		return nil, errContext
	}
	e := s.e
	if !e.quick() && !e.enter() {
		return nil, e.refused()
	}
	if e.wake.Over() {
		e.leave()
		return nil, ErrClosed
	}
	if uint(n-1) < inlineSize {
		b = s.small(b, n)
		e.leave()
		return b, nil
	}
	h, err := s.side.pool.TryAlloc(n)
	if err != nil {
		if errors.Is(err, slabpool.ErrExhausted) {
			h, err = s.block(ctx, n)
		} else {
			err = fmt.Errorf("shmchan: %w", err)
		}
		runtime.KeepAlive(s.side)
		if err != nil {
			e.leave()
			return nil, err
		}
	}
	b, err = s.side.large(b, h)
	e.leave()
	return b, err
}

// TryLoan is Loan that does not wait: it gives ErrFull when no block is free.
func (s *BufSender) TryLoan(n int) (*Buf, error) { return s.tryLoan(n, nil) }

// TryLoanInto is TryLoan into a Buf of the caller's, as LoanInto is Loan.
func (s *BufSender) TryLoanInto(n int, b *Buf) error {
	return b.fill(func() error {
		_, err := s.tryLoan(n, b)
		return err
	})
}

func (s *BufSender) tryLoan(n int, b *Buf) (*Buf, error) {
	e := s.e
	if !e.enter() {
		return nil, e.refused()
	}
	defer e.leave()
	if e.wake.Over() {
		return nil, ErrClosed
	}
	if uint(n-1) < inlineSize {
		return s.small(b, n), nil
	}
	h, err := s.side.pool.TryAlloc(n)
	if errors.Is(err, slabpool.ErrExhausted) {
		st, lerr := e.look()
		if lerr != nil {
			return nil, lerr
		}
		if s.side.sweepPeer(st, e.ring.Published) {
			h, err = s.side.pool.TryAlloc(n)
		}
	}
	switch {
	case err == nil:
		return s.side.large(b, h)
	case errors.Is(err, slabpool.ErrExhausted):
		e.count.giveUp()
		return nil, errNoBlock
	}
	return nil, fmt.Errorf("shmchan: %w", err)
}

// small puts a message of n bytes into b, or into a new Buf if that is nil.
func (s *BufSender) small(b *Buf, n int) *Buf {
	b = s.side.target(b)
	b.inline, b.n = true, n
	b.uses.StoreRelease(1)
	return b
}

// block waits for a block. The call has begun, and found none. Each look before a
// park is an allocation, so a peer that writes a free list which only seems to have
// blocks gets a park for each try. Who gives a block back signals, the receiver or a
// goroutine of this process, so a park is limited.
func (s *BufSender) block(ctx context.Context, n int) (slabpool.Handle, error) {
	e := s.e
	s.want, s.err = n, slabpool.ErrExhausted
	e.count.waited()
	for {
		st, gone := e.look()
		switch {
		case gone != nil:
			return slabpool.Handle{}, gone
		case e.wake.Over() || st.Phase == region.Closed:
			return slabpool.Handle{}, ErrClosed
		}
		if !s.side.sweepPeer(st, e.ring.Published) || !s.retry() {
			if err := e.death(st); err != nil {
				return slabpool.Handle{}, err
			}
			if err := e.sleep.WaitWith(ctx, waiter.LongestPark, false, s.stir); err != nil {
				return slabpool.Handle{}, err
			}
		}
		if s.err == nil {
			return s.got, nil
		}
		if !errors.Is(s.err, slabpool.ErrExhausted) {
			return slabpool.Handle{}, fmt.Errorf("shmchan: %w", s.err)
		}
		if err := waiter.ContextError(ctx); err != nil { // news only: a peer that makes some all the time must not keep us
			return slabpool.Handle{}, err
		}
	}
}

// retry tries to get a block, and reports whether it is over: with got, or err.
func (s *BufSender) retry() bool {
	s.got, s.err = s.side.pool.Retry(s.want)
	return !errors.Is(s.err, slabpool.ErrExhausted)
}

// Send puts b into the channel. The block is the receiver's from then on, and b
// is stale. Send waits while the channel is full, and looks at ctx only then.
// When it returns an error, b was not sent and is still the caller's.
//
// Errors: those of (*Sender).Send; ErrStaleHandle if b was sent or released
// before; ErrBusy if it was retained; fs.ErrInvalid if it is no loan of this
// sender.
//
// Send synchronizes before the Recv that returns the message.
func (s *BufSender) Send(ctx context.Context, b *Buf) error {
	if ctx == nil {
		return errContext
	}
	if err := s.mine(b); err != nil {
		return err
	}
	e := s.e
	if !e.quick() && !e.enter() {
		return e.refused()
	}
	at := e.ring.Slot()
	if at == nil || e.wake.Over() {
		var err error
		at, err = e.slot(ctx)
		runtime.KeepAlive(s.side)
		if err != nil {
			s.told(err)
			return err
		}
	}
	return s.put((*bufMessage)(at), b)
}

// TrySend is Send that does not wait: it gives ErrFull when the channel is full.
func (s *BufSender) TrySend(b *Buf) error {
	if err := s.mine(b); err != nil {
		return err
	}
	if !s.e.enter() {
		return s.e.refused()
	}
	at, err := s.e.try()
	if err != nil {
		s.told(err)
		return err
	}
	return s.put((*bufMessage)(at), b)
}

// mine tells whether b can be sent here.
func (s *BufSender) mine(b *Buf) error {
	if b == nil {
		return errForeign
	}
	if !b.held() {
		return errStale
	}
	if b.side != s.side {
		return errForeign
	}
	return nil
}

// told sweeps after a death that was just told. The call has ended.
func (s *BufSender) told(err error) {
	if errors.Is(err, ErrPeerDied) && s.e.enter() {
		s.side.sweepPeer(s.e.reg.State(roleReceiver), s.e.ring.Published)
		s.e.leave()
	}
}

// put publishes b in the slot at m, and ends the call.
func (s *BufSender) put(m *bufMessage, b *Buf) error {
	if !b.uses.CompareAndSwap(1, moving) {
		s.e.leave()
		if !b.held() {
			return errStale
		}
		return errRetained
	}
	n := b.n
	if b.inline {
		body := b.body
		b.empty() // before the memory can fault
		m.Head = kindInline | uint64(n)<<8
		m.Body = body
	} else {
		h := b.block().handle.WithLen(n)
		b.empty()
		if err := s.side.pool.Post(h); err != nil {
			if b.claim() == nil { // still the caller's
				b.side = s.side
				b.uses.StoreRelease(1)
			}
			s.e.leave()
			return fmt.Errorf("shmchan: a block was changed under its holder: %w: %w", err, ErrCorrupt)
		}
		m.Head = kindBlock
		*m.handle() = h
		s.e.holds.Add(^uint32(0)) // not the last: the call is under way
		runtime.KeepAlive(s.side) // as in (*Buf).free
	}
	s.e.announce()
	return nil
}

func (s *BufSender) waitable() waitable {
	if s == nil {
		return nil
	}
	return s.e
}

// Ready is (*Sender).Ready: a Send could succeed. A Loan may still have to wait.
func (s *BufSender) Ready() <-chan struct{} { return s.e.readyChan(s.e.canProceed) }

// WaitPeer is (*Sender).WaitPeer.
func (s *BufSender) WaitPeer(ctx context.Context) error {
	defer runtime.KeepAlive(s.side)
	return s.e.waitPeer(ctx)
}

// Len returns how many messages are in the channel, 0 after Close. Any
// goroutine may call it.
func (s *BufSender) Len() int { return s.e.len() }

// Cap returns the capacity in messages. Any goroutine may call it.
func (s *BufSender) Cap() int { return s.e.ring.Cap() }

// Stats returns what is in use of each class of the pool, nil after Close. Any
// goroutine may call it.
func (s *BufSender) Stats() []slabpool.Stats { return s.side.stats() }

// File is (*Sender).File. While loans are held it gives ErrBusy, and nothing
// has changed.
func (s *BufSender) File() (*os.File, error) {
	if err := s.side.busy(); err != nil {
		return nil, err
	}
	return s.e.file()
}

// Detach is (*Sender).Detach. While loans are held it gives ErrBusy, and nothing
// has changed.
func (s *BufSender) Detach() error {
	if err := s.side.busy(); err != nil {
		return err
	}
	return s.e.detach()
}

// Close is (*Sender).Close. Loans that are held stay valid until they are
// released; they cannot be sent any more.
func (s *BufSender) Close() error { return s.e.close() }
