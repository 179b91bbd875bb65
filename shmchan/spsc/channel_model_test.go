//go:build modelcheck

package spsc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
	"unsafe"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/waiter"
)

// The models of a channel: ring, event counts and the state of the peers,
// put together as in sendend.go and recvend.go of package shmchan. The ring
// and the event counts are the source that ships; the blocking loops here are
// theirs, line for line, without regions, leases and errors of other kinds.

// What a Sleeper measures once in a process is measured before any model runs.
func init() { waiter.NewSleeper(new(waiter.Event), waiter.Park).End() }

// States of a role: the phase, with the deaths above it.
const (
	attached = 0
	closed   = 1
	phase    = 3
	death    = 4
)

var (
	errClosed = errors.New("closed")
	errDied   = errors.New("died")
)

// A channel is what both processes map.
type channel struct {
	*shared
	roles *[2]role
	total int   // messages to send
	await bool  // successors are waited for: WithAwaitSuccessor
	quits bool  // the receiver may close; if not, no send asks whether it has
	taken []int // how often each message was received
}

const (
	sender = iota
	receiver
)

type role struct {
	state word.U32
	quit  word.U32 // this side's context is done
	ev    waiter.Event
}

func newChannel(w *modelcheck.World, capacity, total int) *channel {
	return &channel{shared: newShared(w, capacity, 0), roles: modelcheck.Alloc[[2]role](w, "role"), total: total, taken: make([]int, total)}
}

// end is shmchan's end.
type modelEnd struct {
	me, peer *role
	wake     waiter.Waker
	sleep    *waiter.Sleeper
	seen     uint32
	told     uint32
	await    bool
	quits    bool
	ctx      context.Context
	calls    *calls // if another goroutine may close
}

func (c *channel) end(which int) modelEnd {
	me, peer := &c.roles[which], &c.roles[1-which]
	e := modelEnd{me: me, peer: peer, await: c.await, quits: c.quits, ctx: context.Background()}
	e.sleep = waiter.NewSleeper(&me.ev, waiter.Park)
	e.wake = waiter.NewWaker(&peer.ev)
	return e
}

// claim is what a successor does first and the last step of an open.
func (e *modelEnd) claim() {
	for s := e.me.state.Load(); !e.me.state.CompareAndSwap(s, s&^phase|attached); s = e.me.state.Load() {
	}
	e.peer.ev.Kick()
}

func (e *modelEnd) news() bool { return e.gone() || e.peer.state.Load() != e.seen }

func (e *modelEnd) look() uint32 {
	e.seen = e.peer.state.Load()
	return e.seen
}

func (e *modelEnd) died(st uint32) error {
	if e.await || st/death == e.told {
		return nil
	}
	e.told = st / death
	return errDied
}

func (e *modelEnd) close() {
	e.sleep.Over()
	for s := e.me.state.Load(); !e.me.state.CompareAndSwap(s, s&^phase|closed); s = e.me.state.Load() {
	}
	e.peer.ev.Kick()
}

type sendSide struct {
	modelEnd
	ring *Producer
}

func (s *sendSide) slot() (unsafe.Pointer, error) {
	if s.quits && s.wake.Over() {
		return nil, errClosed
	}
	for {
		if at := s.ring.Slot(); at != nil {
			return at, nil
		}
		err := s.full()
		if err == nil {
			err = s.sleep.Wait(s.ctx, false, func() bool { return !s.ring.Blocked() || s.news() })
			if err == nil && s.ring.Blocked() {
				err = waiter.ContextError(s.ctx)
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

func (s *sendSide) full() error {
	st := s.look()
	if s.gone() {
		return errClosed
	}
	if !s.ring.Blocked() {
		return s.ring.Full()
	}
	if st&phase == closed {
		return errClosed
	}
	return s.died(st)
}

// send sends the message of the next position, by the shortcut of
// (*Sender).Send if there is room.
func (s *sendSide) send(c *channel) error {
	at := s.ring.Slot()
	if at == nil || s.wake.Over() {
		var err error
		if at, err = s.slot(); err != nil {
			return err
		}
	}
	c.write(at, s.ring.Position(), false)
	s.ring.Publish()
	if !s.wake.Quiet() {
		s.wake.Notify()
	}
	return nil
}

type recvSide struct {
	modelEnd
	ring *Consumer
}

func (r *recvSide) slot() (unsafe.Pointer, error) {
	for {
		if at := r.ring.Slot(); at != nil {
			return at, nil
		}
		err := r.empty()
		if err == nil {
			err = r.sleep.Wait(r.ctx, false, func() bool { return !r.ring.Blocked() || r.news() })
			if err == nil && r.ring.Blocked() {
				err = waiter.ContextError(r.ctx)
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

func (r *recvSide) empty() error {
	st := r.look()
	if r.gone() {
		return errClosed
	}
	if !r.ring.Blocked() {
		return r.ring.Empty()
	}
	if st&phase == closed {
		return io.EOF
	}
	return r.died(st)
}

// recv takes the next message, by the shortcut of (*Receiver).Recv if there is
// one.
func (r *recvSide) recv(c *channel) error {
	at := r.ring.Slot()
	if at == nil {
		var err error
		if at, err = r.slot(); err != nil {
			return err
		}
	}
	c.read(at, r.ring.Position(), false)
	c.taken[r.ring.Position()]++
	r.ring.Release()
	if !r.wake.Quiet() {
		r.wake.Notify()
	}
	return nil
}

func (c *channel) sendSide() *sendSide {
	return &sendSide{modelEnd: c.end(sender), ring: c.producer()}
}

func (c *channel) recvSide() *recvSide {
	return &recvSide{modelEnd: c.end(receiver), ring: c.consumer()}
}

// rest sends what was not sent yet.
func (s *sendSide) rest(c *channel) error {
	for s.ring.Position() < uint64(c.total) {
		if err := s.send(c); err != nil {
			return err
		}
	}
	return nil
}

func (r *recvSide) rest(c *channel) error {
	for r.ring.Position() < uint64(c.total) {
		if err := r.recv(c); err != nil {
			return err
		}
	}
	return nil
}

// firstSender returns a function that gives the first sender. It is attached
// before the threads start, which saves steps, unless it is to find out in its
// thread that it cannot register.
func (c *channel) firstSender(cfg modelcheck.Config) func() *sendSide {
	if len(cfg.NoRegister) > 0 {
		return c.sendSide
	}
	s := c.sendSide()
	return func() *sendSide { return s }
}

func (c *channel) firstReceiver(cfg modelcheck.Config) func() *recvSide {
	if len(cfg.NoRegister) > 0 {
		return c.recvSide
	}
	r := c.recvSide()
	return func() *recvSide { return r }
}

// nextSender adds a successor of a sender that dies.
func (c *channel) nextSender(w *modelcheck.World, name string, of ...string) {
	w.Go(name, func() {
		for _, dead := range of {
			w.AwaitDeath(dead)
		}
		s := c.sendSide()
		s.claim()
		must(s.rest(c))
	})
}

func (c *channel) nextReceiver(w *modelcheck.World, name string, of ...string) {
	w.Go(name, func() {
		for _, dead := range of {
			w.AwaitDeath(dead)
		}
		r := c.recvSide()
		r.claim()
		must(r.rest(c))
	})
}

// add adds the first sender and receiver.
func (c *channel) add(w *modelcheck.World, cfg modelcheck.Config) {
	s, r := c.firstSender(cfg), c.firstReceiver(cfg)
	w.Go("sender", func() { must(s().rest(c)) })
	w.Go("receiver", func() { must(r().rest(c)) })
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// watch is the kernel, and the peer's watch on it: it marks a death and kicks
// the peer.
func (c *channel) watch(w *modelcheck.World, which int, name string) {
	w.Go("watch of the "+name, func() {
		w.AwaitDeath(name)
		r := &c.roles[which]
		for s := r.state.Load(); s&phase != closed && !r.state.CompareAndSwap(s, s+death); s = r.state.Load() {
		}
		c.roles[1-which].ev.Kick()
	})
}

// all checks that each message was received; a receiver that died may have
// looked at the one that its successor received again.
func (c *channel) all(again int) error {
	for i, n := range c.taken {
		if n < 1 || n > 1+again {
			return fmt.Errorf("message %d was received %d times", i, n)
		}
	}
	return nil
}

// each runs f for each memory model and, under TSO, for each way in which the
// fence can be had or not.
func each(f func(cfg modelcheck.Config)) {
	senders := []string{"sender", "next sender", "third sender"}
	receivers := []string{"receiver", "next receiver"}
	all := append(receivers, senders...)
	tso := modelcheck.TSO
	f(modelcheck.Config{})
	f(modelcheck.Config{Model: tso})
	f(modelcheck.Config{Model: tso, NoMembarrier: receivers})
	f(modelcheck.Config{Model: tso, NoMembarrier: senders})
	f(modelcheck.Config{Model: tso, NoRegister: senders})
	f(modelcheck.Config{Model: tso, NoMembarrier: all, NoRegister: all})
}

// TestModelChannel: a sender and a receiver that park.
func TestModelChannel(t *testing.T) {
	models := suite.New(t)
	each(func(cfg modelcheck.Config) {
		for _, x := range []struct{ capacity, total, early int }{{1, 2, 0}, {1, 2, 1}, {2, 3, 0}} {
			cfg.Spurious, cfg.Timeouts = x.early, x.early
			cfg.MaxExecutions = suite.UpTo(20_000, 150_000)
			if x.total == 2 && (x.early == 0 || cfg.Model == modelcheck.SC) {
				cfg.MaxExecutions = 150_000
			}
			models.Explore(fmt.Sprintf("channel of %d, %d sent, early returns %d", x.capacity, x.total, x.early), cfg, func(w *modelcheck.World) {
				c := newChannel(w, x.capacity, x.total)
				c.add(w, cfg)
				w.Final(func() error { return c.all(0) })
			})
		}
	})
}

// TestModelChannelCloses: the sender closes after its last message, the
// receiver gets all and then EOF; the receiver closes after the first, the
// sender is told and does not park for ever.
func TestModelChannelCloses(t *testing.T) {
	models := suite.New(t)
	each(func(cfg modelcheck.Config) {
		cfg.MaxExecutions = suite.UpTo(20_000, 400_000)
		models.Explore("sender closes", cfg, func(w *modelcheck.World) {
			c := newChannel(w, 1, 1)
			first, second := c.firstSender(cfg), c.firstReceiver(cfg)
			w.Go("sender", func() {
				s := first()
				must(s.send(c))
				s.close()
			})
			w.Go("receiver", func() {
				r := second()
				must(r.recv(c))
				if _, err := r.slot(); err != io.EOF {
					panic(err)
				}
			})
			w.Final(func() error { return c.all(0) })
		})
		models.Explore("receiver closes", cfg, func(w *modelcheck.World) {
			c := newChannel(w, 1, 4)
			c.quits = true
			first, second := c.firstSender(cfg), c.firstReceiver(cfg)
			w.Go("sender", func() {
				s := first()
				for {
					if err := s.send(c); err == errClosed {
						return
					} else if err != nil {
						panic(err)
					}
				}
			})
			w.Go("receiver", func() {
				r := second()
				must(r.recv(c))
				r.close()
			})
		})
	})
}

// modelContext is a context that a word of the model ends.
type modelContext struct{ done *word.U32 }

func (c modelContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c modelContext) Done() <-chan struct{}       { return nil }
func (c modelContext) Value(any) any               { return nil }
func (c modelContext) Err() error {
	if c.done.Load() != 0 {
		return context.Canceled
	}
	return nil
}

// TestModelChannelCancels: a receive is cancelled while a message comes. It
// has taken nothing, or the message, never both or neither.
func TestModelChannelCancels(t *testing.T) {
	models := suite.New(t)
	each(func(cfg modelcheck.Config) {
		cfg.MaxExecutions = 20_000
		models.Explore("receive cancelled", cfg, func(w *modelcheck.World) {
			c := newChannel(w, 1, 1)
			first, second := c.firstSender(cfg), c.firstReceiver(cfg)
			w.Go("sender", func() { must(first().rest(c)) })
			w.Go("receiver", func() {
				r := second()
				r.ctx = modelContext{&r.me.quit}
				err := r.recv(c)
				if err != nil && !errors.Is(err, context.Canceled) {
					panic(err)
				}
				if err != nil {
					r.ctx = context.Background()
					must(r.recv(c))
				}
			})
			w.Go("canceller", func() {
				c.roles[receiver].quit.Store(1)
				c.roles[receiver].ev.Kick()
			})
			w.Final(func() error { return c.all(0) })
		})
	})
}

// perStep bounds sweeps of a sender and a receiver, and of those and a
// successor. Under SC the former are exhausted.
func perStep(cfg modelcheck.Config) (two, three int) {
	two, three = suite.UpTo(600, 1_500), suite.UpTo(600, 1_500)
	if cfg.Model == modelcheck.SC {
		two, three = 3_000, suite.UpTo(600, 3_000)
	}
	return two, three
}

// TestModelSenderDies: at each step; the receiver is told after it has got
// what was published, or a successor goes on while it is at work.
func TestModelSenderDies(t *testing.T) {
	models := suite.New(t)
	each(func(cfg modelcheck.Config) {
		two, three := perStep(cfg)
		cfg.MaxExecutions = two
		models.Sweep("sender dies", cfg, "sender", func(w *modelcheck.World) {
			c := newChannel(w, 1, 2)
			first, second := c.firstSender(cfg), c.firstReceiver(cfg)
			w.Go("sender", func() { must(first().rest(c)) })
			c.watch(w, sender, "sender")
			w.Go("receiver", func() {
				r := second()
				for r.ring.Position() < 2 {
					if err := r.recv(c); err == errDied {
						if p := c.producer(); p.Position() != r.ring.Position() {
							panic(fmt.Sprintf("told of the death at %d, but %d were published", r.ring.Position(), p.Position()))
						}
						return
					} else if err != nil {
						panic(err)
					}
				}
			})
		})
		cfg.MaxExecutions = three
		models.Sweep("sender dies, successor", cfg, "sender", func(w *modelcheck.World) {
			c := newChannel(w, 1, 2)
			c.await = true
			c.add(w, cfg)
			c.watch(w, sender, "sender")
			c.nextSender(w, "next sender", "sender")
			w.Final(func() error { return c.all(0) })
		})
		cfg.MaxExecutions = two
		models.SweepStop("sender stops", cfg, "sender", func(w *modelcheck.World) {
			c := newChannel(w, 1, 2)
			c.add(w, cfg)
			w.Final(func() error { return c.all(0) })
		})
	})
}

// TestModelReceiverDies: at each step; what it did not release is received
// again by its successor, nothing is lost.
func TestModelReceiverDies(t *testing.T) {
	models := suite.New(t)
	each(func(cfg modelcheck.Config) {
		two, three := perStep(cfg)
		cfg.MaxExecutions = two
		models.Sweep("receiver dies", cfg, "receiver", func(w *modelcheck.World) {
			c := newChannel(w, 1, 2)
			first, second := c.firstSender(cfg), c.firstReceiver(cfg)
			w.Go("sender", func() {
				if err := first().rest(c); err != nil && err != errDied {
					panic(err)
				}
			})
			w.Go("receiver", func() { must(second().rest(c)) })
			c.watch(w, receiver, "receiver")
		})
		cfg.MaxExecutions = three
		models.Sweep("receiver dies, successor", cfg, "receiver", func(w *modelcheck.World) {
			c := newChannel(w, 1, 2)
			c.await = true
			c.add(w, cfg)
			c.watch(w, receiver, "receiver")
			c.nextReceiver(w, "next receiver", "receiver")
			w.Final(func() error { return c.all(1) })
		})
		cfg.MaxExecutions = two
		models.SweepStop("receiver stops", cfg, "receiver", func(w *modelcheck.World) {
			c := newChannel(w, 1, 2)
			c.add(w, cfg)
			w.Final(func() error { return c.all(0) })
		})
	})
}

// TestModelFewSwitches: the same deaths, with a successor, in all schedules of
// few preemptions. The searches above stop in the middle of a deep tree; this
// one is shallow everywhere.
func TestModelFewSwitches(t *testing.T) {
	models := suite.New(t)
	cfg := modelcheck.Config{Search: modelcheck.Bounded, Preemptions: suite.UpTo(1, 2)}
	for which, name := range []string{"sender", "receiver"} {
		world := func(w *modelcheck.World) {
			c := newChannel(w, 1, 2)
			c.await = true
			c.add(w, cfg)
			c.watch(w, which, name)
			if which == sender {
				c.nextSender(w, "next sender", name)
			} else {
				c.nextReceiver(w, "next receiver", name)
			}
			w.Final(func() error { return c.all(which) })
		}
		models.Sweep(name+" dies, successor, few switches", cfg, name, world)
		models.SweepStop(name+" stops, few switches", cfg, name, world)
	}
}

// TestModelBothEndsDie: sender and receiver at each pair of steps, with a
// successor for each; and a sender and its successor, with a third.
func TestModelBothEndsDie(t *testing.T) {
	models := suite.New(t)
	each(func(cfg modelcheck.Config) {
		cfg.MaxExecutions = suite.UpTo(40, 200) // for each pair of steps
		models.SweepPair("both ends die", cfg, "sender", "receiver", func(w *modelcheck.World) {
			c := newChannel(w, 1, 1)
			c.await = true
			c.add(w, cfg)
			c.watch(w, sender, "sender")
			c.watch(w, receiver, "receiver")
			c.nextSender(w, "next sender", "sender")
			c.nextReceiver(w, "next receiver", "receiver")
			w.Final(func() error { return c.all(1) })
		})
		models.SweepPair("successor dies too", cfg, "sender", "next sender", func(w *modelcheck.World) {
			c := newChannel(w, 1, 1)
			c.await = true
			c.add(w, cfg)
			c.watch(w, sender, "sender")
			c.nextSender(w, "next sender", "sender")
			c.watch(w, sender, "next sender")
			c.nextSender(w, "third sender", "sender", "next sender") // it may die before it looks
			w.Final(func() error { return c.all(0) })
		})
	})
}
