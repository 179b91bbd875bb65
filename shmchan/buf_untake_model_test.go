//go:build modelcheck

package shmchan

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/slabpool"
)

// untakeOnce is an Untake that tries once, of the one block in x: the state word
// is the first record's. It loses to a sender that returns the block's token.
func (x *bufWorld) untakeOnce(h slabpool.Handle) {
	const queued, flight, owners = 1, 4, 0xffff00
	state := (*word.U64)(unsafe.Pointer(&x.mem[640]))
	if w := state.Load(); w&^queued == h.Generation()<<24|1<<(8+roleReceiver) {
		state.CompareAndSwap(w, w&^owners|1<<(8+roleSender)|flight)
	}
}

// untakeWorld: the receiver frees a block that still is on the way to the list,
// and dies between Take of the block's next use and giving back the slot. Its
// successor's Untake meets the sender, who pops the token and finds the block in
// use. The pool is as an attach leaves it: it may have hidden blocks.
func untakeWorld(once bool) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		x := newBufWorld(w, 2, 1)
		tx, rx, next := x.seat(roleSender), x.seat(roleReceiver), x.seat(roleReceiver)
		p, c := x.producer(), x.consumer()
		sweepSender(tx, &p)
		h, err := tx.TryAlloc(modelSize)
		if err == nil {
			err = tx.Post(h)
		}
		if err == nil {
			err = rx.Take(h)
		}
		if err != nil {
			panic(err)
		}
		w.Go("receiver", func() {
			rx.Free(h)
			if at := c.Slot(); at != nil {
				rx.Take(*(*bufMessage)(at).handle())
				c.Release()
			}
		})
		w.Go("sender", func() {
			h, err := tx.TryAlloc(modelSize)
			if err != nil {
				return
			}
			m := (*bufMessage)(p.Slot())
			tx.Post(h)
			m.Head = kindBlock
			*m.handle() = h
			p.Publish()
			tx.TryAlloc(modelSize)
		})
		w.Go("next receiver", func() {
			w.AwaitDeath("receiver")
			c := x.consumer()
			at := c.Slot()
			if once && at != nil {
				x.untakeOnce(*(*bufMessage)(at).handle())
				next.Sweep(roleReceiver, func() (func(slabpool.Handle) bool, bool) { return nil, true }, false)
			} else {
				sweepReceiver(next, &c)
			}
			if at = c.Slot(); at == nil {
				return
			}
			if err := next.Take(*(*bufMessage)(at).handle()); err != nil {
				panic(fmt.Sprintf("the next message has no block: %v", err))
			}
		})
	}
}

func TestModelUntake(t *testing.T) {
	s := suite.New(t)
	for _, m := range suite.Models {
		cfg := modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(3_000, 300_000)} // for each step
		s.Sweep("receiver dies before it gives the slot back", cfg, "receiver", untakeWorld(false))
	}
	s.SweepBug("an Untake that tries once", modelcheck.Config{MaxExecutions: 3_000}, "receiver", untakeWorld(true), modelcheck.Panic, 0)
}

// offerWorld: the receiver offers the first message and takes the offer back, as
// a Chan that is cancelled does, before it receives all. It may die meanwhile,
// and have a successor.
func offerWorld(w *modelcheck.World) {
	x := newBufWorld(w, 2, 1)
	tx, rx, next := x.seat(roleSender), x.seat(roleReceiver), x.seat(roleReceiver)
	p, c := x.producer(), x.consumer()
	sweepSender(tx, &p)
	none := func() {}
	w.Go("sender", func() { x.send(tx, &p, none) })
	w.Go("receiver", func() {
		var at unsafe.Pointer
		spin(func() bool { at = c.Slot(); return at != nil })
		h := *(*bufMessage)(at).handle()
		if err := rx.Take(h); err != nil {
			panic(err)
		}
		if !rx.Untake(h, roleSender) {
			panic("an offer cannot be taken back")
		}
		x.recv(rx, &c, none)
	})
	w.Go("next receiver", func() {
		w.AwaitDeath("receiver")
		c := x.consumer()
		sweepReceiver(next, &c)
		x.recv(next, &c, none)
	})
}

func TestModelOffer(t *testing.T) {
	s := suite.New(t)
	for _, m := range suite.Models {
		s.Explore("an offer is taken back", modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(5_000, 300_000)}, offerWorld)
		cfg := modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(200, 20_000)} // for each step
		s.Sweep("receiver dies around an offer", cfg, "receiver", offerWorld)
	}
}
