package shmchan_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// A model is what a channel is, said as slowly and plainly as can be.
type model struct {
	cap      int
	queue    []int
	sender   seat
	receiver seat
}

// A seat is one end of it.
type seat struct {
	open   bool // our endpoint is usable
	closed bool // for good, by Close
	leased bool
}

func (m *model) trySend(v int) error {
	switch {
	case !m.sender.open:
		return shmchan.ErrClosed
	case m.sender.leased:
		return shmchan.ErrBusy
	case m.receiver.closed:
		return shmchan.ErrClosed
	case len(m.queue) == m.cap:
		return shmchan.ErrFull
	}
	m.queue = append(m.queue, v)
	return nil
}

func (m *model) tryRecv() (int, error) {
	switch {
	case !m.receiver.open:
		return 0, shmchan.ErrClosed
	case m.receiver.leased:
		return 0, shmchan.ErrBusy
	case len(m.queue) > 0:
		v := m.queue[0]
		m.queue = m.queue[1:]
		return v, nil
	case m.sender.closed:
		return 0, io.EOF
	}
	return 0, shmchan.ErrEmpty
}

// waits turns the answer of a Try into that of a call whose context has ended.
func waits(err error) error {
	if err == shmchan.ErrFull || err == shmchan.ErrEmpty {
		return context.Canceled
	}
	return err
}

// sendBatch is told whether the context has ended before the call, or ends
// when the call waits.
func (m *model) sendBatch(vs []int, before bool) (int, error) {
	if before {
		return 0, context.Canceled
	}
	if !m.sender.open || m.sender.leased {
		return 0, m.trySend(0)
	}
	for i, v := range vs {
		if err := m.trySend(v); err != nil {
			return i, waits(err)
		}
	}
	return len(vs), nil
}

// recvBatch is told how many the channel gave: at least one, but it need not be
// all that are there.
func (m *model) recvBatch(limit, gave int, before bool) (got []int, err error) {
	if before {
		return nil, context.Canceled
	}
	if limit == 0 && m.receiver.open && !m.receiver.leased {
		return nil, nil
	}
	for len(got) < max(gave, 1) {
		v, err := m.tryRecv()
		if err != nil {
			if len(got) > 0 {
				return got, nil
			}
			return nil, waits(err)
		}
		got = append(got, v)
	}
	return got, nil
}

func (m *model) len(s *seat) int {
	if !s.open {
		return 0
	}
	return len(m.queue)
}

// endsAtWait is a context that ends between the look at the beginning of a
// call and the next one.
type endsAtWait struct {
	context.Context
	looked bool
}

func (c *endsAtWait) Err() error {
	if !c.looked {
		c.looked = true
		return nil
	}
	return c.Context.Err()
}

// A rig is a channel that a random walk works on, with the model beside it.
type rig struct {
	model
	rnd  *rand.Rand
	next int // message
	tx   *shmchan.Sender[int]
	rx   *shmchan.Receiver[int]

	place *int // of a Reserve
	peek  *int
	log   []string

	// How an end is left, and comes back; nil where it cannot.
	leave  func(r *rig, sender bool) error
	reopen func(r *rig, sender bool) error
	atOnce bool // it comes back before anything else happens
	renew  bool // coming back to a channel that is empty and that nobody has makes a new one
}

func (r *rig) note(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf(format, args...))
	if len(r.log) > 60 {
		r.log = r.log[1:]
	}
}

func same(got, want error) bool {
	if want == nil || want == io.EOF {
		return got == want
	}
	return errors.Is(got, want)
}

// step does one random thing to both and returns how they differ.
func (r *rig) step() error {
	differ := func(what string, got, want any) error {
		return fmt.Errorf("%s: got %v, the model says %v", what, got, want)
	}
	switch r.rnd.IntN(16) {
	case 0, 1:
		got, want := r.tx.TrySend(r.next), r.trySend(r.next)
		r.note("TrySend(%d): %v", r.next, got)
		r.next++
		if !same(got, want) {
			return differ("TrySend", got, want)
		}
	case 2:
		got, want := r.tx.Send(cancelled(), r.next), waits(r.trySend(r.next))
		r.note("Send(%d): %v", r.next, got)
		r.next++
		if !same(got, want) {
			return differ("Send", got, want)
		}
	case 3, 4:
		v, got := r.rx.TryRecv()
		w, want := r.tryRecv()
		r.note("TryRecv: %d, %v", v, got)
		if v != w || !same(got, want) {
			return differ("TryRecv", fmt.Sprint(v, got), fmt.Sprint(w, want))
		}
	case 5:
		v, got := r.rx.Recv(cancelled())
		w, want := r.tryRecv()
		r.note("Recv: %d, %v", v, got)
		if v != w || !same(got, waits(want)) {
			return differ("Recv", fmt.Sprint(v, got), fmt.Sprint(w, want))
		}
	case 6:
		vs := make([]int, r.rnd.IntN(2*r.cap+2))
		for i := range vs {
			vs[i] = r.next
			r.next++
		}
		before := r.rnd.IntN(4) == 0
		k, got := r.tx.SendBatch(&endsAtWait{cancelled(), before}, vs)
		j, want := r.sendBatch(vs, before)
		r.note("SendBatch(%d): %d, %v", vs, k, got)
		if k != j || !same(got, want) {
			return differ("SendBatch", fmt.Sprint(k, got), fmt.Sprint(j, want))
		}
	case 7:
		buf := make([]int, r.rnd.IntN(2*r.cap+2))
		before := r.rnd.IntN(4) == 0
		k, got := r.rx.RecvBatch(&endsAtWait{cancelled(), before}, buf)
		vs, want := r.recvBatch(len(buf), k, before)
		r.note("RecvBatch(%d): %d, %v", len(buf), buf[:k], got)
		if !slices.Equal(buf[:k], vs) || !same(got, want) {
			return differ("RecvBatch", fmt.Sprint(buf[:k], got), fmt.Sprint(vs, want))
		}
	case 8:
		p, got := r.tx.Reserve(cancelled())
		r.note("Reserve: %v", got)
		switch {
		case r.sender.open && r.sender.leased:
			if got != nil || p != r.place {
				return differ("second Reserve", fmt.Sprint(p, got), r.place)
			}
		case r.sender.open && r.receiver.closed && got == nil: // there was room: Commit will tell
			r.place, r.sender.leased = p, true
		default:
			queue := r.queue
			want := waits(r.trySend(0))
			r.queue = queue
			if !same(got, want) || (p != nil) != (got == nil) {
				return differ("Reserve", got, want)
			}
			if got == nil {
				r.place, r.sender.leased = p, true
			}
		}
	case 9:
		if r.place != nil {
			*r.place = r.next
		}
		got := r.tx.Commit()
		want := error(errInvalid)
		if !r.sender.open {
			want = shmchan.ErrClosed
		} else if r.sender.leased {
			r.sender.leased = false
			want = r.trySend(r.next)
		}
		r.note("Commit %d: %v", r.next, got)
		r.next++
		r.place = nil
		if !same(got, want) {
			return differ("Commit", got, want)
		}
	case 10:
		p, got := r.rx.Peek(cancelled())
		r.note("Peek: %v", got)
		if r.receiver.open && r.receiver.leased {
			if got != nil || p != r.peek {
				return differ("second Peek", fmt.Sprint(p, got), r.peek)
			}
			break
		}
		queue := r.queue
		w, want := r.tryRecv()
		r.queue = queue
		if !same(got, waits(want)) || (p != nil) != (got == nil) || p != nil && *p != w {
			return differ("Peek", got, want)
		}
		if got == nil {
			r.peek, r.receiver.leased = p, true
		}
	case 11:
		if r.peek != nil && r.receiver.leased && *r.peek != r.queue[0] {
			return differ("what Peek points to", *r.peek, r.queue[0])
		}
		got := r.rx.Release()
		want := error(errInvalid)
		if !r.receiver.open {
			want = shmchan.ErrClosed
		} else if r.receiver.leased {
			r.receiver.leased = false
			_, want = r.tryRecv()
		}
		r.note("Release: %v", got)
		r.peek = nil
		if !same(got, want) {
			return differ("Release", got, want)
		}
	case 12, 13:
		if got, want := r.rx.Len(), r.len(&r.receiver); got != want {
			return differ("receiver's Len", got, want)
		}
		// What is sent to a closed receiver may count or not.
		if got, want := r.tx.Len(), r.len(&r.sender); got != want && !r.receiver.closed {
			return differ("sender's Len", got, want)
		}
		if r.tx.Cap() != r.cap || r.rx.Cap() != r.cap {
			return differ("Cap", fmt.Sprint(r.tx.Cap(), r.rx.Cap()), r.cap)
		}
	case 14:
		if r.leave == nil {
			break
		}
		for _, sender := range []bool{true, false} {
			s := &r.receiver
			if sender {
				s = &r.sender
			}
			if r.rnd.IntN(2) == 0 || s.closed {
				continue
			}
			if s.open {
				r.note("leave, sender %v", sender)
				if err := r.leave(r, sender); err != nil {
					return err
				}
				s.open = false
				if !r.atOnce {
					continue
				}
			}
			if err := r.comeBack(sender, s); err != nil {
				return err
			}
		}
	case 15:
		if r.rnd.IntN(20) > 0 { // else the walk would be short
			break
		}
		if r.rnd.IntN(2) == 0 {
			r.note("close the sender")
			if err := r.tx.Close(); err != nil {
				return err
			}
			if r.sender.open {
				r.sender = seat{closed: true}
			}
		} else {
			r.note("close the receiver")
			if err := r.rx.Close(); err != nil {
				return err
			}
			if r.receiver.open {
				r.receiver = seat{closed: true}
			}
		}
	}
	return nil
}

// comeBack opens an end that was left.
func (r *rig) comeBack(sender bool, s *seat) error {
	other := &r.sender
	if sender {
		other = &r.receiver
	}
	want := error(nil)
	fresh := r.renew && !other.open && (r.receiver.closed || len(r.queue) == 0)
	if !fresh && sender && r.receiver.closed && r.renew {
		want = shmchan.ErrClosed // we cannot come back before its user has gone
	}
	got := r.reopen(r, sender)
	r.note("come back, sender %v, fresh %v: %v", sender, fresh, got)
	if !same(got, want) {
		return fmt.Errorf("come back, sender %v: got %v, the model says %v", sender, got, want)
	}
	if got != nil {
		return nil
	}
	*s = seat{open: true}
	if fresh {
		r.queue = nil
		*other = seat{}
	}
	// A message in place was left with the old endpoint. It is not released,
	// so its memory stays.
	if sender {
		r.place = nil
	} else {
		r.peek = nil
	}
	return nil
}

// over tells whether nothing more can happen.
func (r *rig) over() bool { return r.sender.closed && r.receiver.closed }

func TestAgainstTheModel(t *testing.T) {
	kinds := map[string]func(t *testing.T, r *rig, o options){
		"heap": func(t *testing.T, r *rig, o options) {
			r.tx, r.rx = pair[int](t, o.with(shmchan.WithHeap()))
		},
		"handed on": handedOn,
		"named":     named,
	}
	for name, setup := range kinds {
		t.Run(name, func(t *testing.T) {
			for i := range n(160) {
				c := 1 << (i % 4)
				seed := rand.Uint64()
				r := &rig{rnd: rand.New(rand.NewPCG(seed, 0))}
				r.cap = c
				r.sender.open, r.receiver.open = true, true
				p := waiter.Park
				if i%16 == 0 {
					p = waiter.Adaptive
				}
				setup(t, r, options{shmchan.WithCapacity(c), shmchan.WithWait(p)})
				for step := 0; step < 1500 && !r.over(); step++ {
					if err := r.step(); err != nil {
						for _, l := range r.log {
							t.Log(l)
						}
						t.Fatalf("capacity %d, seed %d, step %d: %v", c, seed, step, err)
					}
				}
				must(t, r.tx.Close())
				must(t, r.rx.Close())
			}
		})
	}
}

// handedOn goes through descriptors, as between processes.
func handedOn(t *testing.T, r *rig, o options) {
	needsFiles(t)
	r.tx, r.rx = pair[int](t, o)
	r.atOnce = true
	var f *os.File
	r.leave = func(r *rig, sender bool) (err error) {
		if sender {
			f, err = r.tx.File()
		} else {
			f, err = r.rx.File()
		}
		return err
	}
	r.reopen = func(r *rig, sender bool) (err error) {
		if sender {
			r.tx, err = shmchan.SenderFromFile[int](f, o...)
		} else {
			r.rx, err = shmchan.ReceiverFromFile[int](f, o...)
		}
		return err
	}
}

// named leaves by Detach and comes back by the name.
func named(t *testing.T, r *rig, o options) {
	needsFiles(t)
	name := filepath.Join(t.TempDir(), "name")
	var err error
	r.tx, err = shmchan.OpenSender[int](name, o...)
	must(t, err)
	r.rx, err = shmchan.OpenReceiver[int](name)
	must(t, err)
	r.renew = true
	r.leave = func(r *rig, sender bool) error {
		if sender {
			return r.tx.Detach()
		}
		return r.rx.Detach()
	}
	r.reopen = func(r *rig, sender bool) error {
		if sender {
			tx, err := shmchan.OpenSender[int](name, o...)
			if err == nil {
				r.tx = tx
			}
			return err
		}
		rx, err := shmchan.OpenReceiver[int](name, o...)
		if err == nil {
			r.rx = rx
		}
		return err
	}
	t.Cleanup(func() {
		r.tx.Close()
		r.rx.Close()
	})
}
