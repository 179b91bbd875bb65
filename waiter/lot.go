package waiter

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/shmkit/shm/internal/fault"
	"github.com/shmkit/shm/internal/word"
)

// A lot is where the goroutines of one process park. A goroutine in the futex
// call takes a thread with it, so only the first ones go there themselves: no
// hop lies between the waker and them. All others hand their word to a poller,
// a goroutine that waits for up to 127 words at once (futex_waitv), and block as
// goroutines do, without a thread.
//
// Invariants:
//   - held has the event of each goroutine that parks directly, or its Group, and
//     the Done channel of the context that ends that, from before its last look at
//     the context until it is out of the kernel;
//   - there are at most quota of them when one more begins;
//   - a poller is in pollers from its start until it ends, and load is how many
//     tickets were assigned to it and have not left it.
//
// Ownership: everything is guarded by mu. No word is touched with mu held, but
// for the Kick of an event in held, whose memory is mapped for as long as it is
// there.
//
// Who may die where: nobody alone. All of this is one process's.
type lot struct {
	most  int           // may park directly
	start func(*poller) // runs it on a goroutine of its own

	mu      sync.Mutex
	direct  int
	held    [maxHeld]place
	parks   uint64 // direct ones so far
	pollers []*poller
}

// A place is that of a goroutine that parks directly. done is nil if no context
// ends that park, or if one does so by a word of its own, that of the Group g.
type place struct {
	ev   *Event // of a Group: the first one
	done <-chan struct{}
	g    *Group
	nth  uint64 // of all direct parks
}

const (
	maxDirect  = 32 // goroutines that park themselves,
	maxHeld    = 64 // or this many where there is no futex_waitv and a poller polls
	fewDirect  = 8  // how many are left to them however many pollers there are
	allThreads = 88 // blocked threads of both kinds, if 79 pollers are enough
	fewWords   = 16 // of a poller while there are fewer than somePolls: a short list is waited for sooner
	somePolls  = 32
	fullPoll   = word.MaxWaiters - 1 // the last one is the poller's own

	// A goroutine in the kernel keeps its P until the runtime's monitor takes it
	// away, after 20 µs to 10 ms, and whoever is runnable on it waits. So a poller
	// lets others go first: up to two, who was woken and whom that one wakes
	// (Ready). They come back with their tickets, mostly, before it is asleep. Who
	// parks directly does no such thing each time: if its goroutine is tied to a
	// thread, a Gosched is two switches of threads. It does so every few
	// milliseconds: see turns.go.
	yields = 3

	linger = 500 * time.Millisecond // of a poller with nothing to do
)

// parking is this process's.
var parking = sync.OnceValue(func() *lot {
	l := &lot{most: maxDirect, start: func(p *poller) { go p.run() }}
	if !word.CanWaitAny() {
		l.most = maxHeld
	}
	return l
})

// park blocks while the sequence of s's Event is seq, for at most limit (for ever
// if it is negative). It returns at a Kick, after limit, and now and then for no
// reason; if ctx is done it returns its error at once. *own is the caller's, taken
// when it is first needed.
//
// Who ends ctx finds the call in held, or its seat with s, or else the call finds
// ctx done: it looks after it is there. See (*Sleeper).cancel.
func (l *lot) park(ctx context.Context, s *Sleeper, seq uint32, limit time.Duration, own **seat) error {
	if i := l.enter(place{ev: s.ev, done: ctx.Done()}); i >= 0 {
		defer l.leave(i)
		if err := ContextError(ctx); err != nil {
			return err
		}
		s.countPark()
		s.ev.seq.Wait(seq, limit)
		return nil
	}
	if *own == nil {
		*own = takeSeat()
	}
	s.sit(*own)
	defer s.rise(*own)
	if err := ContextError(ctx); err != nil {
		return err
	}
	s.countPark()
	(*own).add(&s.ev.seq, seq, limit)
	l.share(*own)
	return nil
}

// share hands a seat's tickets to pollers, and blocks until all have come back,
// which they do after the first.
func (l *lot) share(s *seat) {
	for rest := s.tickets; len(rest) > 0; {
		p, n := l.room(len(rest))
		p.take(rest[:n])
		rest = rest[n:]
	}
	s.baton.take()
	s.takeBack()
}

// enter lets a goroutine park directly: it returns its place, or -1.
func (l *lot) enter(p place) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.direct >= l.quota() {
		return -1
	}
	l.direct++
	for i := range l.held {
		if l.held[i].ev == nil {
			l.parks++
			p.nth = l.parks
			l.held[i] = p
			return i
		}
	}
	panic("waiter: no place for a direct park") // direct says that there is one
}

func (l *lot) leave(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[i] = place{}
	l.direct--
}

// has tells whether a goroutine parks on e directly, or is about to, until the
// context of this Done channel ends.
func (l *lot) has(e *Event, done <-chan struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.held[:], func(p place) bool { return p.ev == e && p.done == done })
}

// last returns the number of the last direct park.
func (l *lot) last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parks
}

// since returns who parks directly on s's Event since the nth direct park or before:
// Groups that have it as a member, and whether anybody else does.
func (l *lot) since(s *Sleeper, nth uint64) (groups []*Group, others bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.held {
		switch {
		case p.ev == nil || p.nth > nth:
		case p.g != nil && slices.Contains(p.g.members, s): // it has them while it is here
			groups = append(groups, p.g)
		case p.g == nil && p.ev == s.ev:
			others = true
		}
	}
	return groups, others
}

// quota is how many may park directly: fewer where pollers need the threads.
func (l *lot) quota() int {
	return min(l.most, max(fewDirect, allThreads-len(l.pollers)))
}

// room finds a poller for n tickets, or for as many of them as fit.
func (l *lot) room(n int) (*poller, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var best *poller
	for _, p := range l.pollers {
		if best == nil || p.load < best.load {
			best = p
		}
	}
	limit := fullPoll
	if len(l.pollers) < somePolls {
		limit = fewWords
	}
	if best == nil || best.load >= limit {
		best = newPoller(l)
		l.pollers = append(l.pollers, best)
		l.start(best)
		if l.direct > l.quota() {
			l.evict()
		}
	}
	n = min(n, fullPoll-best.load)
	best.load += n
	return best, n
}

// evict wakes one goroutine that parks directly. It looks, finds nothing, and
// parks again, at a poller. One whose file was cut off cannot be woken: another
// one goes.
func (l *lot) evict() {
	for i, x := range l.held {
		if x.ev == nil || i < fewDirect {
			continue
		}
		if _, gone := fault.Catch(x.ev.Kick, nil); !gone {
			return
		}
	}
}

// gone notes that n tickets have left p.
func (l *lot) gone(p *poller, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.load -= n
}

// retire takes an idle poller out, unless somebody was just sent to it.
func (l *lot) retire(p *poller) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.load > 0 {
		return false
	}
	for i, q := range l.pollers {
		if q == p {
			last := len(l.pollers) - 1
			l.pollers[i], l.pollers[last] = l.pollers[last], nil
			l.pollers = l.pollers[:last]
			break
		}
	}
	return true
}

// run is a poller's goroutine. It takes its thread along when it ends: there may
// have been many, and Go keeps threads for ever.
func (p *poller) run() {
	for p.turn() {
	}
	runtime.LockOSThread()
}
