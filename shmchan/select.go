package shmchan

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/waiter"
)

// A Case is an endpoint in a Select: every Sender and Receiver is one, typed or
// not. A nil one, of whatever type, is never chosen, as a nil channel is not.
type Case interface {
	// waitable returns the end, nil for a case that is disabled.
	waitable() waitable
}

// A waitable is an end, as Ready and Select see it.
type waitable interface {
	base() *end
	canProceed() bool // for goroutines that have borrowed the end
}

func (e *end) base() *end { return e }

func (s *Sender[T]) waitable() waitable {
	if s == nil {
		return nil
	}
	return s.e
}

func (r *Receiver[T]) waitable() waitable {
	if r == nil {
		return nil
	}
	return r.e
}

// Select waits until one of the cases can proceed and returns its index: a
// Receiver that has a message, a Sender that has room, and either if its next
// call returns at once with an error, because the peer has closed or died, or it
// is closed itself. If several can, each is chosen with the same probability.
// Nothing is sent or taken: do that with TryRecv or TrySend, which succeed unless
// another goroutine was faster, or the state is an error to be told. A Receiver
// with a message in place (Peek) counts as one that has a message, though TryRecv
// gives ErrBusy until Release; so does a Sender after Reserve if there is room.
//
// It looks at ctx at every call: with a ctx that is done it returns its error
// (and its cause) and -1. Without a case that is not nil it waits for that.
//
// However many cases there are, it parks once for all; with default options it
// spins for a while before. Any goroutine may call it, also while another one
// works with the endpoints. A Selector does the same again and again without
// allocating.
func Select(ctx context.Context, cases ...Case) (int, error) {
	s := selectors.Get().(*Selector)
	s.set(cases)
	s.uniform = true
	i, err := s.wait(ctx)
	runtime.KeepAlive(cases)
	s.group.End()
	s.set(nil)
	selectors.Put(s)
	return i, err
}

var selectors = sync.Pool{New: func() any { return NewSelector() }}

// A Selector is a Select that is used again and again. It allocates nothing once
// it has parked. It belongs to one goroutine at a time.
//
// Invariant: next is behind the case that was chosen last, so no case that can
// proceed is passed over more than once for each other case.
type Selector struct {
	cases []Case // keep the endpoints reachable
	ends  []waitable
	next  int

	uniform bool // choose at random
	group   *waiter.Group
	lent    []*end      // borrowed while wait is blocked
	stirs   func() bool // what group asks
	chosen  int
}

// NewSelector makes a Selector for cases, which keep their index.
func NewSelector(cases ...Case) *Selector {
	s := &Selector{group: waiter.NewGroup()}
	s.stirs = func() bool {
		s.chosen = s.choose()
		return s.chosen >= 0
	}
	s.set(cases)
	runtime.AddCleanup(s, (*waiter.Group).End, s.group) // a context that lives on knows the group
	return s
}

// Set replaces the i-th case; nil disables it. An index that there is not, it
// ignores.
func (s *Selector) Set(i int, c Case) {
	if i >= 0 && i < len(s.cases) {
		s.cases[i], s.ends[i] = c, endOf(c)
	}
}

// Select is the function Select for the Selector's cases, but for the choice:
// the cases take turns, beginning behind the one that was chosen last. Errors are
// those of ctx.
func (s *Selector) Select(ctx context.Context) (int, error) {
	i, err := s.wait(ctx)
	runtime.KeepAlive(s)
	return i, err
}

func endOf(c Case) waitable {
	if c == nil {
		return nil
	}
	return c.waitable()
}

func (s *Selector) set(cases []Case) {
	clear(s.cases)
	clear(s.ends)
	s.cases, s.ends, s.next = append(s.cases[:0], cases...), s.ends[:0], 0
	for _, c := range cases {
		s.ends = append(s.ends, endOf(c))
	}
}

// choose returns a case that can proceed, or -1.
func (s *Selector) choose() int {
	if s.uniform {
		return s.any()
	}
	return s.first()
}

// first returns the first case from next on that can proceed, or -1.
func (s *Selector) first() int {
	for k := range s.ends {
		i := s.next + k
		if i >= len(s.ends) {
			i -= len(s.ends)
		}
		if s.can(i) {
			s.next = (i + 1) % len(s.ends)
			return i
		}
	}
	return -1
}

// any returns one of the cases that can proceed, or -1.
func (s *Selector) any() int {
	chosen := -1
	n := 0
	for i := range s.ends {
		if !s.can(i) {
			continue
		}
		if n++; n == 1 || rand.IntN(n) == 0 {
			chosen = i
		}
	}
	return chosen
}

// can tells whether a case can proceed.
func (s *Selector) can(i int) bool {
	w := s.ends[i]
	if w == nil {
		return false
	}
	e := w.base()
	if len(s.lent) > 0 { // all are
		return e.gone.Load() != 0 || w.canProceed()
	}
	if !e.borrow() {
		return true // a call gives ErrClosed at once
	}
	defer e.giveBack()
	return w.canProceed()
}

// wait is look where a case's file may be cut off: that case can proceed, since its
// next call returns at once.
func (s *Selector) wait(ctx context.Context) (i int, err error) {
	// Guard, since look gives the ends back before it returns, and may be the last to
	// have them.
	r, gone := region.Guard(func() { i, err = s.look(ctx) })
	if r == nil {
		return i, err
	}
	for i, w := range s.ends {
		if w != nil && w.base().reg == r {
			return i, nil
		}
	}
	return -1, fmt.Errorf("shmchan: select: %w", gone)
}

// look returns a case that can proceed, or waits for one.
func (s *Selector) look(ctx context.Context) (int, error) {
	if ctx == nil {
		return -1, errContext
	}
	if err := waiter.ContextError(ctx); err != nil {
		return -1, err
	}
	if i := s.choose(); i >= 0 {
		return i, nil
	}
	return s.block(ctx)
}

// block borrows all ends, so that they stay mapped, and waits for them.
func (s *Selector) block(ctx context.Context) (int, error) {
	defer s.unlend()
	s.group.Reset()
	for i, w := range s.ends {
		if w == nil {
			continue
		}
		e := w.base()
		if !e.borrow() {
			return i, nil
		}
		s.lent = append(s.lent, e)
		s.group.Add(e.sleep)
	}
	if err := s.group.Wait(ctx, s.stirs); err != nil {
		return -1, err
	}
	return s.chosen, nil
}

// unlend gives the ends back. The group forgets them first: who waits for that
// unmaps them.
func (s *Selector) unlend() {
	s.group.Reset()
	for _, e := range s.lent {
		e.giveBack()
	}
	clear(s.lent)
	s.lent = s.lent[:0]
}
