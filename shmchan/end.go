package shmchan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/waiter"
)

// An end is what a Sender and a Receiver have in common: a role in a region,
// the event that this role sleeps on, and the one that its peer sleeps on.
//
// Invariants:
//   - use is working while the owning goroutine is inside a call, leased while
//     a message is in place between two calls, else idle;
//   - once gone is set, no call begins; the mapping ends after that, when use
//     is idle, others is 0, and no block of a pool is held here.
//
// Ownership: use, seen, mark and the ring's end belong to the goroutine that
// works with the endpoint; gone to shutdown; told to whoever reports a death.
// The fields under mu are anybody's.
//
// A call enters by: use = working; look at gone. shutdown says: gone = 1; look
// at use. Both would miss each other if the call's load could overtake its
// store, so shutdown makes the other threads pass a fence in between
// (membarrier), or, where that is not to be had, each call fences.
type end struct {
	use    word.U32
	gone   word.U32
	free   uint32       // the use that quick accepts: idle, or none if each call fences
	fences bool         // each call fences
	wake   waiter.Waker // the peer

	reg   *region.Region
	role  int
	sleep *waiter.Sleeper
	count *counters
	await bool // WithAwaitSuccessor

	seen region.State // of the peer, when a call last looked
	mark uint64       // position when a call last waited
	told word.U32     // how many deaths of the peer were told
	born uint32       // how many there were when we attached

	holds word.U32 // the endpoint, and the blocks of a pool that it has: the mapping stays

	life   sync.Mutex // one shutdown at a time
	parted bool       // the endpoint's own hold has ended; under life
	mu     sync.Mutex
	others int // calls of other goroutines that are under way
	ready  chan struct{}
	stop   chan struct{} // closed by shutdown
}

// How long a shutdown waits for a call whose memory has gone away: cutTime if it is
// deferred because of that, callTime if the call may be another goroutine's.
const (
	cutTime  = 100 * time.Millisecond
	callTime = 50 * cutTime
)

const (
	idle = iota
	working
	leased
	never
)

func (e *end) init(r *region.Region, role int, p *plan) {
	e.reg, e.role, e.await = r, role, p.successor
	e.holds.Store(1)
	if word.NeedsFence && !word.RegisterMembarrier() {
		e.fences, e.free = true, never
	}
	e.sleep = waiter.NewSleeper(event(r, role), p.wait)
	e.wake = waiter.NewWaker(event(r, e.peer()))
	e.count = countersOf(r, role)
	e.count.countIn(e)
	e.stop = make(chan struct{})
	st := r.Probe(e.peer())
	e.born = st.Deaths
	e.told.Store(st.Deaths)
	if st.Phase == region.Dead {
		e.told.Store(st.Deaths - 1) // one that nobody here was told of
	}
	e.seen = st
	sleep := e.sleep
	e.enroll()
	r.Watch(sleep.Rouse)
	e.kickPeer()
}

func (e *end) peer() int { return roles - 1 - e.role }

// kickPeer makes a parked peer look at our state. The region is still mapped.
func (e *end) kickPeer() {
	guarded(func() error {
		event(e.reg, e.peer()).Kick()
		return nil
	})
}

// quick is enter where it inlines: for an idle endpoint that needs no fence. If
// it reports false, nothing has begun, and enter is to be asked.
func (e *end) quick() bool {
	if e.use.Load() != e.free {
		return false
	}
	e.use.StoreRelease(working)
	if e.gone.Load() == 0 { // pairs with the store in shutdown
		return true
	}
	e.use.StoreRelease(idle)
	return false
}

// again is quick for the call that ends a lease. If it reports false, resume is
// to be asked.
func (e *end) again() bool {
	if e.use.Load() != leased || e.fences {
		return false
	}
	e.use.StoreRelease(working)
	if e.gone.Load() == 0 { // pairs with the store in shutdown
		return true
	}
	e.use.StoreRelease(leased)
	return false
}

// enter begins a call of the owning goroutine. If it reports false, refused
// tells why.
func (e *end) enter() bool {
	if e.use.Load() != idle {
		return false
	}
	e.use.StoreRelease(working)
	if e.fences {
		word.Fence()
	}
	if e.gone.Load() == 0 { // pairs with the store in shutdown
		return true
	}
	e.leave()
	return false
}

func (e *end) refused() error {
	if e.gone.Load() != 0 {
		return ErrClosed
	}
	if e.use.Load() == leased {
		return errLeased
	}
	return errShared
}

// leave ends a call.
func (e *end) leave() { e.use.StoreRelease(idle) } // pairs with the load in shutdown

// resume begins the call that ends a lease.
func (e *end) resume() error {
	if e.use.Load() != leased {
		if e.gone.Load() != 0 {
			return ErrClosed
		}
		return errNoLease
	}
	e.use.StoreRelease(working)
	if e.fences {
		word.Fence()
	}
	if e.gone.Load() == 0 {
		return nil
	}
	// The endpoint was closed under the lease: shutdown left the mapping to us.
	e.use.StoreRelease(leased)
	e.life.Lock()
	defer e.life.Unlock()
	e.leave()
	e.part()
	return ErrClosed
}

// news tells whether something happened to the peer that a call has not looked
// at yet, or to this endpoint.
func (e *end) news() bool {
	return e.gone.Load() != 0 || e.reg.State(e.peer()) != e.seen || e.reg.Retired()
}

// look takes note of the peer's state and returns it, with an error if this
// endpoint or the channel is gone.
//
// What the peer published before it changed its state is visible to a look at
// the ring that comes after this one.
func (e *end) look() (st region.State, err error) {
	st = e.reg.State(e.peer())
	e.seen = st
	if e.gone.Load() != 0 {
		return st, ErrClosed
	}
	return st, e.void()
}

// void returns an error if the channel is over. One that is cut off is retired too,
// and either may happen between the two looks.
func (e *end) void() error {
	switch {
	case e.reg.Cut():
		return errCut
	case !e.reg.Retired():
		return nil
	case e.reg.Cut():
		return errCut
	}
	return errRemoved
}

// death returns ErrPeerDied if st has a death that was not told yet. Any
// goroutine may call it.
func (e *end) death(st region.State) error {
	told := e.told.Load()
	if e.await || st.Deaths == told || !e.told.CompareAndSwap(told, st.Deaths) {
		return nil
	}
	return fmt.Errorf("shmchan: %s; messages stay, and where others can open the channel a successor goes on: %w",
		e.obituary(st, st.Deaths-told), ErrPeerDied)
}

// obituary says who died, of which the record keeps the last holder only.
func (e *end) obituary(st region.State, deaths uint32) string {
	who := "the " + roleNames[e.peer()]
	if name := e.reg.Name(); name != "" {
		who += " of " + name
	}
	switch {
	case deaths > 1 && deaths < 1<<16: // modulo what the count holds
		return fmt.Sprintf("%s ended without Close %d times; the last to have that end was process %d", who, deaths, st.PID)
	case st.Phase == region.Dead:
		return fmt.Sprintf("%s, process %d, ended without Close", who, st.PID)
	}
	return fmt.Sprintf("%s ended without Close, and process %d has come in its place", who, st.PID)
}

// borrow lets another goroutine than the owning one use the region. It reports
// false after the end.
func (e *end) borrow() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone.Load() != 0 {
		return false
	}
	e.others++
	return true
}

func (e *end) giveBack() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.others--
}

// lent tells whether calls of other goroutines are under way.
func (e *end) lent() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.others > 0
}

func (e *end) waitPeer(ctx context.Context) error {
	if ctx == nil {
		return errContext
	}
	if !e.borrow() {
		return ErrClosed
	}
	defer e.giveBack()
	var err error
	waitErr := guarded(func() error { return e.sleep.Await(ctx, func() bool { return e.peerCame(&err) }) })
	if waitErr != nil {
		return waitErr
	}
	return err
}

// peerCame tells whether a WaitPeer is over, and how.
func (e *end) peerCame(err *error) bool {
	st := e.reg.State(e.peer())
	*err = e.void()
	if e.gone.Load() != 0 {
		*err = ErrClosed
	}
	switch {
	case *err != nil:
	case st.Phase == region.Closed:
		*err = fmt.Errorf("shmchan: the %s has closed: %w", roleNames[e.peer()], ErrClosed)
	case st.Phase == region.Dead && st.Deaths != e.born:
		*err = e.death(st) // one that came after us: nobody may ever come in its place
		return *err != nil
	case st.Phase != region.Attached:
		return false
	}
	return true
}

// press wakes the calls that a shutdown has been waiting for so long.
func (e *end) press(took time.Duration) {
	e.sleep.Kick()
	if took > cutTime { // a peer may have moved who sleeps to another word
		word.Interrupt()
		time.Sleep(cutTime / 10)
	}
}

// shutdown ends the endpoint: no call is under way or begins any more, and
// then finish does with the role what is to be done. After that the peer looks.
func (e *end) shutdown(finish func() error) error {
	e.life.Lock()
	defer e.life.Unlock()
	if e.gone.Load() != 0 {
		return nil
	}
	e.mu.Lock()
	e.gone.Store(1) // pairs with the loads in enter and borrow
	e.mu.Unlock()
	if word.NeedsFence && !e.fences && !word.Membarrier() {
		time.Sleep(time.Millisecond) // forbidden since we attached: a store does not stay unseen that long
	}
	close(e.stop)
	// A call that begins from now on says working for a moment, sees gone, and
	// touches nothing; so the first value that is not working is the one that
	// counts.
	use := e.use.Load()
	began := time.Now()
	patience := callTime // somebody whom a deferred function waits for may have called us
	faulted := use == working && inCall()
	if faulted {
		patience = cutTime // the call was ended by a fault, and this is deferred
	}
	for step := time.Microsecond; use == working; step = min(2*step, time.Millisecond) {
		took := time.Since(began)
		if took > patience && e.reg.Cut() || took > callTime && faulted { // the latter if the fault has left no trace
			break // faulted unmaps
		}
		e.press(took)
		time.Sleep(step)
		use = e.use.Load() // pairs with the stores in leave and resume
	}
	e.sleep.Kick()
	for step := time.Microsecond; e.lent(); step = min(2*step, time.Millisecond) {
		time.Sleep(step)
		e.press(time.Since(began)) // again: a peer may have put the sequence back, or cut the file off
	}
	e.mu.Lock()
	if e.ready != nil {
		offer(e.ready)
	}
	e.mu.Unlock()

	err := finish()
	e.kickPeer()
	e.sleep.End()
	if use == idle {
		if uerr := e.part(); err == nil {
			err = uerr
		}
	}
	return err
}

// part ends the endpoint's own hold of the mapping, once. The caller holds e.life.
func (e *end) part() error {
	if e.parted {
		return nil
	}
	e.parted = true
	return e.letGo()
}

// letGo ends one hold of the mapping, and the mapping with the last.
func (e *end) letGo() error {
	if e.holds.Add(^uint32(0)) > 0 {
		return nil
	}
	return e.unmap()
}

func (e *end) close() error {
	return e.shutdown(func() error {
		guarded(func() error {
			e.sleep.Over()
			return nil
		})
		return e.reg.Close(func() bool {
			if e.reg.Cut() {
				return true // nobody can use it any more
			}
			switch e.reg.Probe(e.peer()).Phase {
			case region.Attached, region.Transit:
				return false
			case region.Closed:
				return true
			}
			if e.role == roleReceiver {
				return true
			}
			n, err := pending(e.reg) // neither end is at work
			return err == nil && n == 0
		})
	})
}

func (e *end) detach() error {
	return e.shutdown(e.reg.Detach)
}

func (e *end) file() (f *os.File, err error) {
	if e.reg.Backing() == region.BackingHeap {
		return nil, fmt.Errorf("shmchan: memory on the Go heap cannot leave the process: %w", errors.ErrUnsupported)
	}
	err = e.shutdown(func() (err error) {
		f, err = e.reg.File()
		if err != nil {
			e.reg.Detach()
		}
		return err
	})
	if err == nil && f == nil {
		err = ErrClosed // another goroutine's Close was first
	}
	return f, err
}

// forget ends an endpoint that the program has dropped. The peer finds a
// death.
func (e *end) forget() {
	e.shutdown(func() error {
		e.reg.Abandon()
		return nil
	})
}

// forgetLater is for runtime.AddCleanup, whose functions must not block.
func forgetLater(e *end) { go e.forget() }
