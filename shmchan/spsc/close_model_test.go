//go:build modelcheck

package spsc

import (
	"fmt"
	"io"
	"testing"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
)

// The models of an endpoint that another goroutine closes while its owner sends
// or receives, and the peer works on: the handshake of end.go around the
// channel of channel_model_test.go. (That the mapping does not end under a call
// is in the models of package waiter.)

// calls are end's words for calls under way and for the end.
type calls struct{ use, end word.U32 }

const (
	idle = iota
	working
)

// gone tells whether the endpoint was closed.
func (e *modelEnd) gone() bool { return e.calls != nil && e.calls.end.Load() != 0 }

// enter begins a call.
func (e *modelEnd) enter() bool {
	e.calls.use.StoreRelease(working)
	if !e.gone() {
		return true
	}
	e.leave()
	return false
}

func (e *modelEnd) leave() { e.calls.use.StoreRelease(idle) }

// A closeBug is a seeded one.
type closeBug struct {
	silent bool // nobody kicks the call that is parked
	early  bool // closes before the call under way has ended
}

// closeBeside is Close in another goroutine than the owner's. (It kicks once
// here, where shutdown does again and again.)
func (e *modelEnd) closeBeside(b closeBug) {
	e.calls.end.Store(1)
	if word.NeedsFence {
		word.Membarrier()
	}
	if b.early {
		e.close()
	}
	if !b.silent {
		e.me.ev.Kick()
	}
	for e.calls.use.Load() == working {
		word.Pause(1)
	}
	if !b.early {
		e.close()
	}
}

// closing is a sender of up to total messages and a receiver that receives until
// it is told of an end, of which a third thread closes one.
func closing(which, total int, b closeBug) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		c := newChannel(w, 1, total)
		c.quits = which == receiver
		s, r := c.sendSide(), c.recvSide()
		sent := 0
		send, recv := &s.modelEnd, &r.modelEnd
		victim := []*modelEnd{send, recv}[which]
		victim.calls = modelcheck.Alloc[calls](w, "calls")
		call := func(e *modelEnd, f func() error) error {
			if e.calls == nil {
				return f()
			}
			if !e.enter() {
				return errClosed
			}
			defer e.leave()
			return f()
		}
		w.Go("sender", func() {
			for ; sent < total; sent++ {
				if err := call(send, func() error { return s.send(c) }); err == errClosed {
					return
				} else if err != nil {
					panic(err)
				}
			}
		})
		w.Go("receiver", func() {
			for {
				switch err := call(recv, func() error { return r.recv(c) }); {
				case err == io.EOF && which == sender, err == errClosed && which == receiver:
					return
				case err != nil:
					panic(err)
				}
			}
		})
		w.Go("closer", func() { victim.closeBeside(b) })
		w.Final(func() error {
			if c.roles[which].state.Load()&phase != closed {
				return fmt.Errorf("not closed")
			}
			got := 0
			for i, n := range c.taken {
				if n > 1 || n == 1 && i > got {
					return fmt.Errorf("message %d was received %d times, and %d before it", i, n, got)
				}
				got += n
			}
			// Nothing that was sent is lost to a close of the sender; one of
			// the receiver leaves what is in the ring.
			if got > sent || got < sent-1 || which == sender && got < sent {
				return fmt.Errorf("%d were sent and %d received", sent, got)
			}
			return nil
		})
	}
}

// TestModelChannelClosedBeside: in the ways in which the peer can have the
// fence or not.
func TestModelChannelClosedBeside(t *testing.T) {
	models := suite.New(t)
	for which, name := range []string{"sender", "receiver"} {
		for _, cfg := range []modelcheck.Config{
			{},
			{Model: modelcheck.TSO},
			{Model: modelcheck.TSO, NoMembarrier: []string{[]string{"receiver", "sender"}[which]}},
		} {
			cfg.MaxExecutions = suite.UpTo(20_000, 300_000)
			models.Explore("a third goroutine closes the "+name+", 1 sent", cfg, closing(which, 1, closeBug{}))
			cfg.MaxExecutions = suite.UpTo(20_000, 100_000)
			models.Explore("a third goroutine closes the "+name+", 2 sent", cfg, closing(which, 2, closeBug{}))
			cfg.Search, cfg.Preemptions = modelcheck.Bounded, 1
			models.Explore("a third goroutine closes the "+name+", 2 sent, few switches", cfg, closing(which, 2, closeBug{}))
		}
	}
	sc := modelcheck.Config{}
	models.Bug("close does not kick the call under way", sc, closing(receiver, 1, closeBug{silent: true}), modelcheck.Deadlock, 1)
	models.Bug("close before the call under way has ended", sc, closing(sender, 1, closeBug{early: true}), modelcheck.Final, 279)
}
