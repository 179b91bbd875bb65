package region

import (
	"fmt"
	"io/fs"
	"os"
	"time"
)

// The state of a role is one word:
//
//	63      40 39         8 7       0
//	[ deaths ][   epoch    ][ phase ]
//
// epoch counts claims, deaths counts claims that ended in a death. Both wrap.
//
// Invariants:
//   - while the word is Attached, or is being changed into it, the holder has
//     the role's lock, or it has died;
//   - while the word is Transit, a description that travels has the role's
//     transit lock, or every copy of it is gone;
//   - a holder changes the word first and lets the lock go after, so a free
//     lock under an unchanged Attached or Transit word means a death.
//
// Ownership: the holder of the role's lock stores what it likes. An observer
// changes exactly one word into another, Attached(e) or Transit(e) into
// Dead(e), by compare-and-swap, and only if it read the word before it saw
// the lock free. Then
//   - a holder that left in good order changed the word before the lock was
//     free, so the swap fails;
//   - a successor that took the lock in between either stores its word first
//     (the swap fails: the epoch is another one) or second (it finds Dead(e)
//     and goes on from there);
//   - two observers write the same, and one of them counts the death.
//
// The epoch would have to wrap, 2^32 claims, between an observer's load and
// its swap to break this.
//
// Who may die where: a holder anywhere. One that dies between taking the lock
// and storing its word has changed nothing. One that dies between storing
// Detached or Closed and unlocking has left in good order.

// A Phase is what a role is doing.
type Phase uint8

// The phases of a role.
const (
	Free     Phase = iota // nobody came yet
	Attached              // a process holds it
	Detached              // left in good order; a successor may go on
	Transit               // on its way to another process; see (*Region).File
	Closed                // over for good
	Dead                  // its holder died; a successor may go on
)

func (p Phase) String() string {
	names := [...]string{"free", "attached", "detached", "in transit", "closed", "dead"}
	if int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// A State is what one load of a role's word says.
type State struct {
	Phase  Phase
	Epoch  uint32 // number of the claim, from 1; 0 if there was none
	Deaths uint32 // claims that ended in a death, modulo 2^24
	PID    int    // process id of the last holder, as it sees itself; a record for people
}

const maxDeaths = 1<<24 - 1

func (s State) pack() uint64 {
	return uint64(s.Deaths&maxDeaths)<<40 | uint64(s.Epoch)<<8 | uint64(s.Phase)
}

// unpack maps a phase that there is not to Dead: whoever wrote it is no peer
// to wait for, and the role can be claimed.
func unpack(w uint64) State {
	s := State{Phase: Phase(w), Epoch: uint32(w >> 8), Deaths: uint32(w >> 40)}
	if s.Phase > Dead {
		s.Phase = Dead
	}
	return s
}

// died is the state after a death in s.
func (s State) died() State {
	s.Phase = Dead
	s.Deaths = (s.Deaths + 1) & maxDeaths
	return s
}

// State returns the state of a role as it is recorded: no system call, no
// waiting, and a death that nobody has noticed yet does not show. A role that
// the region does not have is Free.
func (r *Region) State(role int) State {
	if role < 0 || role >= len(r.roles) {
		return State{}
	}
	s := unpack(r.roles[role].word.Load()) // pairs with the swaps in claim, leave and probe
	s.PID = int(r.roles[role].pid.Load())
	return s
}

// Probe returns the state of a role after asking the kernel whether its
// holder lives, and marks it Dead if it does not. It may be called from any
// goroutine and does not block. After Detach, Close, File or Abandon there is
// no lock to ask through and Probe is State.
func (r *Region) Probe(role int) State {
	r.fds.RLock()
	defer r.fds.RUnlock()
	return r.probe(role)
}

// probe is Probe with r.fds held.
func (r *Region) probe(role int) State {
	s := r.State(role)
	if r.locks == nil || role == r.role {
		return s
	}
	for range 8 { // more turns than a sound peer can cause
		var b int64
		switch s.Phase {
		case Attached:
			b = roleByte(role)
		case Transit:
			b = transitByte(role)
		default:
			return s
		}
		if held(r.locks, b) {
			return s
		}
		if r.roles[role].word.CompareAndSwap(s.pack(), s.died().pack()) { // pairs with the load in State
			return s.died()
		}
		s = r.State(role)
	}
	return s
}

// claim takes a role for this attachment. transit is the received
// description that holds the role's transit lock, nil if there is none. The
// caller holds r.life.
func (r *Region) claim(role int, transit locker) error {
	if role < 0 || role >= len(r.roles) {
		return fmt.Errorf("region: role %d, this region has %d: %w", role, len(r.roles), ErrMismatch)
	}
	if r.locks == nil {
		return fmt.Errorf("region: claim role %d: %w", role, fs.ErrClosed)
	}
	if r.role >= 0 {
		return fmt.Errorf("region: claim role %d: this attachment has role %d already: %w", role, r.role, fs.ErrInvalid)
	}
	inTransit := func() bool {
		if r.State(role).Phase != Transit {
			return false
		}
		if transit != nil { // do not take the lock that we were given for another's
			return held(transit, transitByte(role))
		}
		return held(r.locks, transitByte(role))
	}

	step := 50 * time.Microsecond
	for deadline := time.Now().Add(time.Second); ; step = min(2*step, 5*time.Millisecond) {
		// Look before taking the lock, so as not to stand in the way of the
		// rightful attacher.
		if inTransit() {
			return r.busy(role, "is on its way to another process")
		}
		ok, err := r.locks.try(roleByte(role))
		if err != nil {
			return fmt.Errorf("region: lock role %d: %w", role, err)
		}
		if ok {
			break
		}
		// Whoever holds the lock while the word still says Transit either is
		// about to store Attached, or has no right and is about to let go.
		if transit == nil || r.State(role).Phase != Transit || time.Now().After(deadline) {
			return r.busy(role, "is held")
		}
		time.Sleep(step)
	}
	// The lock is ours: from here on nobody but observers changes the word.
	if r.State(role).Phase == Closed {
		r.locks.unlock(roleByte(role))
		return fmt.Errorf("region: role %d was closed: %w", role, ErrRoleClosed)
	}
	if inTransit() {
		r.locks.unlock(roleByte(role))
		return r.busy(role, "is on its way to another process")
	}
	ep := &r.roles[role]
	ep.pid.Store(uint32(os.Getpid()))
	ep.start.Store(startTime())
	for range 64 {
		w := ep.word.Load()
		s := unpack(w)
		if s.Phase == Attached || s.Phase == Transit && transit == nil {
			s = s.died() // and nobody has noticed
		}
		s.Phase, s.Epoch = Attached, s.Epoch+1
		if ep.word.CompareAndSwap(w, s.pack()) { // pairs with the load in State
			r.fds.Lock()
			r.role, r.epoch = role, s.Epoch
			r.fds.Unlock()
			return nil
		}
	}
	r.locks.unlock(roleByte(role))
	return fmt.Errorf("region: role %d changes under its lock: %w", role, ErrCorrupt)
}

func (r *Region) busy(role int, what string) error {
	return fmt.Errorf("region: role %d %s (by process %d): %w", role, what, r.State(role).PID, ErrBusy)
}

// leave stores the last word of our own claim. The caller holds the role's
// lock and lets it go after.
func (r *Region) leave(p Phase) {
	ep := &r.roles[r.role]
	s := unpack(ep.word.Load())
	s.Phase, s.Epoch = p, r.epoch
	ep.word.Store(s.pack()) // pairs with the load in State
}
