package shmchan

import (
	"fmt"
	"reflect"
	"runtime"
	"unsafe"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan/spsc"
	"github.com/shmkit/shm/slabpool"
)

// A Buf channel is a channel of bufMessages, and a pool beside it whose owners
// are the two roles. A message lies in the slot if it is short, else in a block
// whose handle is in the slot.
//
// Invariants. A block that has left the pool is
//
//	held by the sender      loaned, not sent
//	posted by the sender    sent: its handle is in the ring, or about to be
//	held by the receiver    received: its handle is in the ring no more, or
//	                        the receiver is about to give the slot back, or
//	                        Chan offers the message
//
// Send posts the block and then publishes the slot; Recv takes the block and
// then gives the slot back. So a posted block is published exactly if its handle
// is in the ring, and one that the receiver holds while its handle is at the
// head of the ring was not given to the program yet, or, by Chan, just now: it is
// not free before the slot is given back, since Chan has a hold of its own.
//
// Ownership: see package slabpool. The program has a Buf for each block that
// its process holds, and no way to get two for one.
//
// Who may die where: either end anywhere. A successor sweeps its own role
// before anything else: the receiver first posts again what its predecessor was
// about to receive, so that it is delivered. The survivor sweeps when it is told
// of the death, and when it needs a block; see slabpool's sweep.go for why the
// two do not disturb each other. The sender's sweep spares what is in the ring,
// whichever role it sweeps.

// inlineSize is how many bytes travel in the slot: as many as keep it within
// one cache line, with its sequence and the head. See docs/performance.md for
// what that is worth.
const inlineSize = 48

// A bufMessage is what is in a slot.
type bufMessage struct {
	Head uint64           // kind, and for an inline message its length from bit 8 on
	Body [inlineSize]byte // the message, or the handle of its block
}

const (
	kindInline = 1
	kindBlock  = 2
)

var (
	_ [56]byte                                            = [unsafe.Sizeof(bufMessage{})]byte{}
	_ [inlineSize - unsafe.Sizeof(slabpool.Handle{})]byte // a handle fits
)

// handle is where a block's handle lies in the message.
func (m *bufMessage) handle() *slabpool.Handle { return (*slabpool.Handle)(unsafe.Pointer(&m.Body)) }

// newBufPlan is newPlan for a Buf channel.
func newBufPlan(opts []Option) (*plan, error) {
	o, err := gather(opts)
	if err != nil {
		return nil, err
	}
	p, err := planOf(o, reflect.TypeFor[bufMessage]())
	if err != nil {
		return nil, err
	}
	g, err := slabpool.Plan(o.classes...)
	if err != nil {
		return nil, fmt.Errorf("shmchan: %w", err)
	}
	p.pool = &g
	return p, nil
}

// checkPool is the part of check that looks at the pool.
func (p *plan) checkPool(r *region.Region) error {
	_, _, _, has := r.Section(region.KindPool)
	switch {
	case !has && p.pool == nil:
		return nil
	case !has:
		return fmt.Errorf("shmchan: the channel is one of a type, not of Bufs; use OpenSender and OpenReceiver, or Remove it: %w", ErrMismatch)
	case p.pool == nil:
		return fmt.Errorf("shmchan: the channel is one of Bufs; use OpenBufSender and OpenBufReceiver, or Remove it: %w", ErrMismatch)
	}
	_, err := p.readPool(r)
	return err
}

// readPool returns the shape of the pool in r, if it is the one that p has in mind.
func (p *plan) readPool(r *region.Region) (slabpool.Geometry, error) {
	there, err := slabpool.ReadIn(r)
	if err != nil {
		return there, fmt.Errorf("shmchan: %w", err)
	}
	if p.classes != nil && !there.Equal(*p.pool) {
		return there, fmt.Errorf("shmchan: the channel has a pool of %v, this program asks for %v; leave WithPool out to take what is there: %w",
			there.Classes(), p.pool.Classes(), ErrMismatch)
	}
	return there, nil
}

// A bufSide is what an endpoint's Bufs need of it and keep alive.
type bufSide struct {
	e     *end
	pool  *slabpool.Raw
	base  unsafe.Pointer // of the pool
	chunk []Buf          // not used yet
	swept uint32         // how many deaths of the peer were swept after
}

// newBufSide attaches to the pool of r, whose role is claimed. After an error
// r has ended.
func newBufSide(r *region.Region, p *plan, role int) (*bufSide, error) {
	s := &bufSide{}
	s.base, _, _, _ = r.Section(region.KindPool)
	err := attached(r, func() error {
		g, err := p.readPool(r) // a peer may have changed it since check
		if err != nil {
			return err
		}
		if s.pool, err = slabpool.AttachIn(r, g, slabpool.Seat{Owner: role, Event: event(r, roleSender)}); err != nil {
			return fmt.Errorf("shmchan: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// begin ties the side to its end.
func (s *bufSide) begin(e *end) {
	s.e = e
	runtime.AddCleanup(s, forgetBufsLater, e)
}

// forgetBufsLater is forgetLater, unless the program may still use a block: then
// the endpoint stays as it is until the process ends.
func forgetBufsLater(e *end) {
	if e.holds.Load() == 1 {
		go e.forget()
	}
}

// target returns the Buf that is to have a message: b, or, if that is nil, one
// that was never used. No such Buf is used again unless the program itself gives
// it to RecvInto or LoanInto: a pointer that was kept after Release must not reach
// another message.
func (s *bufSide) target(b *Buf) *Buf {
	if b == nil {
		if len(s.chunk) == 0 {
			s.chunk = make([]Buf, bufChunk)
		}
		b = &s.chunk[0]
		s.chunk = s.chunk[1:]
		b.self = b
	}
	b.side = s
	return b
}

// bufChunk is how many Bufs are allocated at once: 4 KiB, of which the runtime has
// one word.
const bufChunk = (4<<10 - 8) / unsafe.Sizeof(Buf{})

// large puts the block that this endpoint has just got into b, or into a new Buf
// if that is nil.
func (s *bufSide) large(b *Buf, h slabpool.Handle) (*Buf, error) {
	room, err := s.pool.Bytes(h)
	if err != nil {
		return nil, fmt.Errorf("shmchan: a block was changed under its holder: %w: %w", err, ErrCorrupt)
	}
	b = s.target(b)
	b.inline, b.n = false, len(room)
	at := uintptr(unsafe.Pointer(unsafe.SliceData(room))) - uintptr(s.base)
	*b.block() = bufBlock{handle: h, at: at, room: cap(room)}
	s.e.holds.Add(1)
	b.uses.StoreRelease(1)
	return b, nil
}

// busy tells why the role cannot be given up.
func (s *bufSide) busy() error {
	if n := s.e.holds.Load(); n > 1 && s.e.gone.Load() == 0 {
		return fmt.Errorf("shmchan: %d Bufs of this endpoint are held; send or release them first: %w", n-1, ErrBusy)
	}
	return nil
}

// inRing returns a function that tells whether a block's handle is in the ring.
func inRing(published func(func(unsafe.Pointer))) func(slabpool.Handle) bool {
	type block struct {
		class, index int
		generation   uint64
	}
	there := map[block]bool{}
	name := func(h slabpool.Handle) block { return block{h.Class(), h.Index(), h.Generation()} }
	published(func(at unsafe.Pointer) {
		if m := (*bufMessage)(at); m.Head&0xff == kindBlock {
			there[name(*m.handle())] = true
		}
	})
	return func(h slabpool.Handle) bool { return there[name(h)] }
}

// sweepPeer gives back what a peer has left that died in st. The caller is
// within a call. It reports whether there was anything to do.
func (s *bufSide) sweepPeer(st region.State, published func(func(unsafe.Pointer))) bool {
	if st.Phase != region.Dead || st.Deaths == s.swept {
		return false
	}
	s.swept = st.Deaths
	s.pool.Sweep(s.e.peer(), func() (func(slabpool.Handle) bool, bool) {
		kept := inRing(published)
		now := s.e.reg.State(s.e.peer()) // after the look at the ring
		return kept, now.Phase == region.Dead && now.Epoch == st.Epoch
	}, false)
	return true
}

// sweepSender gives back what a predecessor of this sender has left.
func sweepSender(pool *slabpool.Raw, ring *spsc.Producer) {
	pool.Sweep(roleSender, func() (func(slabpool.Handle) bool, bool) { return inRing(ring.Published), true }, false)
}

// sweepReceiver gives back what a predecessor of this receiver has left, but
// for what it was about to receive.
func sweepReceiver(pool *slabpool.Raw, ring *spsc.Consumer) {
	if at := ring.Slot(); at != nil {
		if m := (*bufMessage)(at); m.Head&0xff == kindBlock {
			pool.Untake(*m.handle(), roleSender)
		}
	}
	pool.Sweep(roleReceiver, func() (func(slabpool.Handle) bool, bool) { return nil, true }, false)
}
