package shmchan

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan/spsc"
	"github.com/shmkit/shm/waiter"
)

// openEnd creates or attaches the named channel and claims a role.
func openEnd(name string, role int, p *plan) (*region.Region, error) {
	if p.heap {
		return nil, errHeap
	}
	c := p.config()
	c.Accept = func(r *region.Region) (region.Verdict, error) { return p.accept(r, role) }
	r, err := region.Open(name, role, c)
	if err != nil {
		return nil, fmt.Errorf("shmchan: open %s of %q: %w", roleNames[role], name, err)
	}
	return r, nil
}

var errHeap = fmt.Errorf("shmchan: WithHeap goes with Pair only: %w", fs.ErrInvalid)

// accept decides about a channel that is there, under its name's lock:
//
//   - all its users are gone and nothing lies in it: it is made anew;
//   - it is closed: finished for a sender while a receiver is attached or
//     messages lie in it, drained by a receiver, else made anew;
//   - otherwise it must be the one that p has in mind, and its messages stay.
func (p *plan) accept(r *region.Region, role int) (region.Verdict, error) {
	mismatch := p.check(r)
	states := [roles]region.State{}
	live := false
	for i := range min(roles, r.Roles()) {
		states[i] = r.Probe(i)
		live = live || holds(states[i])
	}
	if r.Roles() != roles {
		return region.Keep, mismatch
	}
	sender, receiver := states[roleSender].Phase, states[roleReceiver].Phase
	if !live {
		n, err := pending(r)
		if err != nil {
			return region.Keep, fmt.Errorf("shmchan: %w", err)
		}
		if receiver == region.Closed || n == 0 { // nobody will ever receive what is there
			return region.Remake, nil
		}
	}
	switch {
	case receiver == region.Closed, sender == region.Closed && role == roleSender:
		return region.Keep, fmt.Errorf("shmchan: the channel is closed, and its other end or messages are still there: %w", ErrClosed)
	}
	if mismatch == nil && !holds(states[role]) {
		mismatch = sound(r, role) // before the role is claimed, so that the peer sees no death
	}
	return region.Keep, mismatch
}

// holds tells whether a living process has or carries the role.
func holds(s region.State) bool { return s.Phase == region.Attached || s.Phase == region.Transit }

// whole is sound for a role that is on its way. A damaged ring is found before the
// descriptor is used up. If another copy of it is faster, and at work, a scan means
// nothing, and the claim gives ErrBusy.
func whole(r *region.Region, role int) error {
	err := sound(r, role)
	if r.Probe(role).Phase != region.Transit {
		return nil
	}
	return err
}

// sound tells whether one end of the ring can be attached, and writes nothing.
func sound(r *region.Region, role int) (err error) {
	if role == roleSender {
		_, err = spsc.TailIn(r)
	} else {
		_, err = spsc.HeadIn(r)
	}
	if err != nil {
		err = fmt.Errorf("shmchan: %w", err)
	}
	return err
}

// pending counts the messages in the channel by a scan, which is right while
// neither end is at work.
func pending(r *region.Region) (int, error) {
	tail, err := spsc.TailIn(r)
	if err != nil {
		return 0, err
	}
	head, err := spsc.HeadIn(r)
	if err != nil {
		return 0, err
	}
	return int(tail - head), nil
}

// pairEnds makes a channel and claims both its roles.
func pairEnds(p *plan) (s, r *region.Region, err error) {
	if p.mode != 0 {
		return nil, nil, fmt.Errorf("shmchan: WithMode goes with named channels only: %w", fs.ErrInvalid)
	}
	create := region.Memfd
	if p.heap {
		create = region.Heap
	}
	if s, err = create(p.config()); err != nil {
		return nil, nil, fmt.Errorf("shmchan: pair: %w", err)
	}
	if err = s.Claim(roleSender); err == nil {
		r, err = s.Attach(roleReceiver)
	}
	if err != nil {
		s.Unmap()
		return nil, nil, fmt.Errorf("shmchan: pair: %w", err)
	}
	return s, r, nil
}

// endFromFile attaches through a descriptor that File made.
func endFromFile(f *os.File, role int, p *plan) (*region.Region, error) {
	if f == nil {
		return nil, fmt.Errorf("shmchan: %s from file: the file is nil: %w", roleNames[role], fs.ErrInvalid)
	}
	if p.heap {
		return nil, errHeap
	}
	r, err := region.FromFile(f, role, func(r *region.Region) error {
		if r.Retired() {
			return errRemoved
		}
		if err := p.check(r); err != nil {
			return err
		}
		return whole(r, role)
	})
	if err != nil {
		return nil, fmt.Errorf("shmchan: %s from file: %w", roleNames[role], err)
	}
	return r, nil
}

// Remove takes the name of a channel away, also of one that is corrupt.
// Whoever is attached gets ErrClosed from then on, a receiver when it has taken
// what is there. Whoever opens the name next makes a new channel. A name that is
// not there gives fs.ErrNotExist. Remove may be called from any process that is
// allowed to unlink the file.
func Remove(name string) error {
	err := region.Remove(name, func(r *region.Region) {
		if _, size, _, ok := r.Section(region.KindEvents); ok && size >= roles*waiter.Size {
			for role := range roles {
				e := event(r, role)
				waiter.NewSleeper(e, waiter.Park).Over() // a sender that finds room looks at nothing else
				e.Kick()
			}
		}
	})
	if err != nil {
		return fmt.Errorf("shmchan: remove %q: %w", name, err)
	}
	return nil
}
