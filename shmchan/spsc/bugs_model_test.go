//go:build modelcheck

package spsc

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
)

// Seeded bugs: the ring with one step of one end replaced by a wrong one. The
// explorer must find it, in the execution that the test names.

// publishEarly turns the slot over and writes the message after.
func publishEarly(s *shared, p *Producer) {
	var at unsafe.Pointer
	spin(func() bool { at = p.Slot(); return at != nil })
	position := p.Position()
	p.seq(p.next).StoreRelease(p.stamp + 1)
	p.stamp += 2
	p.next = p.after(p.next)
	s.write(at, position, false)
}

// releaseEarly gives the slot back and reads the message after.
func releaseEarly(s *shared, c *Consumer) {
	var at unsafe.Pointer
	spin(func() bool { at = c.Slot(); return at != nil })
	position := c.Position()
	c.seq(c.next).StoreRelease(c.stamp + c.lap)
	c.stamp += 2
	c.next = c.after(c.next)
	s.read(at, position, false)
}

// publishBackwards publishes a batch of two from its end.
func publishBackwards(s *shared, p *Producer) {
	spin(func() bool { return p.Room(2) == 2 })
	slot, stamp, _ := p.Run(2)
	for i := 1; i >= 0; i-- {
		at := unsafe.Add(slot, uintptr(i)*p.Stride())
		s.write(Message(at), position(p.Position(), i), false)
		p.Put(at, stamp+2*uint64(i))
	}
	p.Advance(2)
}

// A flagRing has one bit a slot: full or not. So a successor has to guess from
// the flags where the dead one stopped.
type flagRing struct {
	full  [2]word.U32
	value [2]uint64
}

func (r *flagRing) send(at int, v uint64) {
	f := &r.full[at%2]
	spin(func() bool { return f.Load() == 0 })
	word.Writes(unsafe.Pointer(&r.value[at%2]), 8)
	r.value[at%2] = v
	f.StoreRelease(1)
}

func (r *flagRing) recv(at int) uint64 {
	f := &r.full[at%2]
	spin(func() bool { return f.Load() == 1 })
	word.Reads(unsafe.Pointer(&r.value[at%2]), 8)
	v := r.value[at%2]
	f.StoreRelease(0)
	return v
}

// tail is the first empty slot behind a full one, and 0 where there is none.
func (r *flagRing) tail() int {
	for i := range 2 {
		if r.full[i].Load() == 1 && r.full[1-i].Load() == 0 {
			return 1 - i
		}
	}
	return 0
}

func TestModelSeededBugs(t *testing.T) {
	models := suite.New(t)
	pair := func(capacity, n int, send func(*shared, *Producer), recv func(*shared, *Consumer)) func(*modelcheck.World) {
		return func(w *modelcheck.World) {
			s := newShared(w, capacity, 0)
			p, c := s.producer(), s.consumer()
			w.Go("producer", func() {
				if send == nil {
					s.sendAll(p, 0, n, false)
				} else {
					send(s, p)
				}
			})
			w.Go("consumer", func() {
				if recv == nil {
					s.recvBatches(c, n, 2)
				} else {
					for range n {
						recv(s, c)
					}
				}
			})
		}
	}
	sc := modelcheck.Config{}
	models.Bug("publish before write", sc, pair(1, 1, publishEarly, nil), modelcheck.Race, 1)
	models.Bug("release before read", sc, pair(1, 2, nil, releaseEarly), modelcheck.Race, 1)
	models.Bug("batch published backwards", sc, pair(2, 2, publishBackwards, nil), modelcheck.Race, 1)

	// The successor of a producer that has published two or three messages
	// looks for its place while the consumer takes them.
	lost := func(misread func(r *ring) uint64) func(*modelcheck.World) {
		return func(w *modelcheck.World) {
			s := newShared(w, 2, 0)
			p, c := s.producer(), s.consumer()
			for range 2 {
				s.write(p.Slot(), p.Position(), false)
				p.Publish()
			}
			w.Go("consumer", func() { s.recvAll(c, 0, 2, false) })
			w.Go("successor", func() {
				if tail := misread(&p.ring); tail != p.stamp {
					panic(fmt.Sprintf("the scan finds tail %d, want %d", tail>>1, p.Position()))
				}
			})
		}
	}
	right := func(r *ring) uint64 {
		tail, err := r.scanTail()
		if err != nil {
			panic(err)
		}
		return tail
	}
	firstFree := func(r *ring) uint64 { // the least position that a slot is free for
		least, full := uint64(0), true
		for i := range r.mask + 1 {
			if seq := r.seq(r.slot(2 * i)).Load(); seq&1 == 0 {
				if full || seq < least {
					least = seq
				}
				full = false
			}
		}
		if full {
			return r.lap // the only position that it can be, here
		}
		return least
	}
	ends := func(r *ring) uint64 { // the word that follows the sequences
		return (*control)(r.mem).tail.Load()
	}
	models.Explore("the scan of the ring", sc, lost(right))
	models.Bug("scan for the first free slot", sc, lost(firstFree), modelcheck.Panic, 4)

	// A producer that dies between the sequence and the tail word.
	trust := func(find func(r *ring) uint64) func(*modelcheck.World) {
		return func(w *modelcheck.World) {
			s := newShared(w, 2, 0)
			p, c := s.producer(), s.consumer()
			w.Go("producer", func() { s.sendAll(p, 0, 2, false) })
			w.Go("consumer", func() { s.recvAll(c, 0, 2, false) })
			w.Go("successor", func() {
				w.AwaitDeath("producer")
				n := &Producer{ring: p.ring, stamp: find(&p.ring), tail: p.tail}
				n.next = n.slot(n.stamp)
				s.sendAll(n, 0, 2, false)
			})
		}
	}
	models.Sweep("successor by the scan", sc, "producer", trust(right))
	models.SweepBug("successor trusts the tail word", sc, "producer", trust(ends), modelcheck.Livelock, 9)

	flags := func(crash bool) func(*modelcheck.World) {
		return func(w *modelcheck.World) {
			r := modelcheck.Alloc[flagRing](w, "r")
			sent := modelcheck.Alloc[word.U32](w, "sent")
			w.Go("producer", func() {
				for i := range 3 {
					r.send(i, uint64(i))
					sent.Store(uint32(i + 1))
				}
			})
			w.Go("consumer", func() {
				for i := range 3 {
					if v := r.recv(i); v != uint64(i) {
						panic(fmt.Sprintf("message %d in the place of %d", v, i))
					}
				}
			})
			if crash {
				w.Go("successor", func() {
					w.AwaitDeath("producer")
					// Even if it were told how many there are, the place is a guess.
					for i := int(sent.Load()); i < 3; i++ {
						r.send(r.tail(), uint64(i))
					}
				})
			}
		}
	}
	models.Explore("one bit a slot, nobody dies", sc, flags(false))
	models.SweepBug("one bit a slot, recovery", sc, "producer", flags(true), modelcheck.Livelock, 11)
}
