package waiter

import (
	"runtime"
	"time"

	"github.com/shmkit/shm/internal/fault"
	"github.com/shmkit/shm/internal/word"
)

// A poller waits for many words on behalf of goroutines that block without a
// thread.
//
// The waiting goroutine does what it does before it parks directly (read seq,
// raise, fence, look) and then hands over the word with the seq that it has read.
// The poller compares the two itself, so nothing that came meanwhile is missed,
// and the kernel compares them once more. Whoever wakes knows nothing of pollers:
// it bumps the word and wakes who waits on it.
//
// Invariants:
//   - a ticket is with its poller from take until out is set, and only the
//     poller sets it. A seat's owner blocks until all its tickets are out, so the
//     words that a poller looks at, in the kernel too, are mapped;
//   - asleep is set only with nothing in incoming and nothing to hand out, and
//     after control was read; whoever clears it bumps and wakes control.
//
// Ownership: list, at, limit, out, called, waiters and late belong to the
// poller's goroutine; load to the lot; control to anybody; the rest is guarded by
// mu, as are withdrawn and out of its tickets. No word is touched with mu held.
//
// Who may die where: nobody alone. A word's file may be cut off: the poller gives
// the ticket back, and its owner meets the fault, under a guard or not.
type poller struct {
	lot     *lot
	load    int
	control *word.U32 // changes when there is something in incoming, or withdrawn

	mu       latch
	incoming []*ticket
	asleep   bool // in the kernel, or on the way there

	list    []*ticket
	at      int           // of list, where scan is
	limit   time.Duration // of the tickets that scan has seen; negative: none
	woken   int           // of waiters; negative: none
	scan    func()        // look and
	wait    func()        // doze, made once
	out     []*ticket     // left the list
	called  []*seat       // whose tickets they were
	waiters *word.Waiters
	late    bool // the last wait ended by its limit, or for no reason
}

// A ticket is a word that its seat's owner waits for.
type ticket struct {
	word  *word.U32
	value uint32        // while the word is this
	limit time.Duration // for at most as long, unless negative
	seat  *seat
	at    *poller

	withdrawn bool
	out       bool
}

// A seat is a goroutine that blocks until one of some words changes.
//
// Ownership: of one goroutine, but for what a poller does to its tickets.
type seat struct {
	tickets []ticket
	baton   baton
}

func newSeat() *seat { return &seat{baton: newBaton()} }

// add adds a word to wait for, while no ticket is with a poller.
func (s *seat) add(w *word.U32, value uint32, limit time.Duration) {
	s.tickets = append(s.tickets, ticket{word: w, value: value, limit: limit, seat: s})
}

// takeBack makes the seat empty: it withdraws the tickets that are still with
// pollers and waits until those have let go of them.
func (s *seat) takeBack() {
	for i := range s.tickets {
		t := &s.tickets[i]
		t.at.withdraw(t)
	}
	for i := range s.tickets {
		t := &s.tickets[i]
		for !t.at.isOut(t) {
			s.baton.take()
		}
	}
	clear(s.tickets)
	s.tickets = s.tickets[:0]
}

func newPoller(l *lot) *poller {
	p := &poller{lot: l, control: newControl(), waiters: word.NewWaiters()}
	p.scan, p.wait = p.look, p.doze
	return p
}

// take gives tickets to the poller.
func (p *poller) take(ts []ticket) {
	p.mu.Lock()
	for i := range ts {
		ts[i].at = p
		p.incoming = append(p.incoming, &ts[i])
	}
	p.unlockAndCall()
}

// withdraw asks for a ticket back. It is when it is out.
func (p *poller) withdraw(t *ticket) {
	p.mu.Lock()
	if t.out {
		p.mu.Unlock()
		return
	}
	t.withdrawn = true
	p.unlockAndCall()
}

// unlockAndCall ends a change that the poller is to see. If it is awake, it
// looks by itself before it sleeps.
func (p *poller) unlockAndCall() {
	wake := p.asleep
	p.asleep = false
	p.mu.Unlock()
	if wake {
		p.control.Add(1) // pairs with the load in turn
		p.control.Wake(1)
	}
}

func (p *poller) isOut(t *ticket) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return t.out
}

// turn hands out what has changed, or else waits. It reports whether there will
// be another turn.
func (p *poller) turn() bool {
	c := p.control.Load() // before asleep is set: pairs with the Add in unlockAndCall
	p.mu.Lock()
	p.asleep = false
	p.list = append(p.list, p.incoming...)
	clear(p.incoming)
	p.incoming = p.incoming[:0]
	p.mu.Unlock()

	p.at, p.limit = 0, -1
	for {
		if _, gone := fault.Catch(p.scan, nil); !gone {
			break
		}
		p.drop(p.at)
	}
	p.late = false

	p.mu.Lock()
	for i := 0; i < len(p.list); {
		if p.list[i].withdrawn {
			p.drop(i)
		} else {
			i++
		}
	}
	for _, t := range p.out {
		p.called = append(p.called, t.seat)
		t.out = true
	}
	p.asleep = len(p.out) == 0 && len(p.incoming) == 0
	sleep := p.asleep
	p.mu.Unlock()

	if !sleep {
		if p.handOut() {
			for range yields {
				runtime.Gosched()
			}
		}
		return true
	}
	runtime.Gosched()
	if len(p.list) == 0 {
		return p.rest(c)
	}
	p.waiters.Reset()
	p.waiters.Add(p.control, c)
	for _, t := range p.list {
		p.waiters.Add(t.word, t.value)
	}
	p.woken = -1
	fault.Catch(p.wait, nil) // a look follows
	p.late = p.woken < 0
	if p.woken > 0 { // also if the word is as it was: a peer may write into it what it likes
		p.drop(p.woken - 1)
	}
	return true
}

// doze waits for a word of waiters. Where it polls, it may meet a fault.
func (p *poller) doze() { p.woken = p.waiters.Wait(p.limit) }

// look takes out what has changed, from at on.
func (p *poller) look() {
	for p.at < len(p.list) {
		t := p.list[p.at]
		switch {
		case t.word.Load() != t.value, t.limit >= 0 && p.late: // pairs with the Add in (*Event).Kick
			p.drop(p.at)
			continue
		case t.limit >= 0 && (p.limit < 0 || t.limit < p.limit):
			p.limit = t.limit
		}
		p.at++
	}
}

// drop moves a ticket from list to out.
func (p *poller) drop(i int) {
	last := len(p.list) - 1
	p.out = append(p.out, p.list[i])
	p.list[i], p.list[last] = p.list[last], nil
	p.list = p.list[:last]
}

// handOut wakes the goroutines whose tickets are out, and may be in use again.
func (p *poller) handOut() bool {
	if len(p.called) == 0 {
		return false
	}
	p.lot.gone(p, len(p.called))
	for _, s := range p.called {
		s.baton.give()
	}
	clear(p.out)
	clear(p.called)
	p.out, p.called = p.out[:0], p.called[:0]
	return true
}

// rest waits for a ticket, and ends the poller if none comes for a while.
func (p *poller) rest(c uint32) bool {
	p.control.Wait(c, linger)
	if p.control.Load() != c || !p.lot.retire(p) {
		return true
	}
	return false
}
