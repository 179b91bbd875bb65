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

// The models of the ring, run from the source that ships. A message holds its
// position and the complement of that, written and read in two halves with a
// step in between, so that one that is lost, doubled, out of order, too early
// or torn is found at once.

type message struct{ position, complement uint64 }

const messageSize = unsafe.Sizeof(message{})

// starts are positions to begin at. From the second the stamps wrap within the
// first two laps.
var starts = []uint64{0, 1<<63 - 1}

// shared is a ring of a model.
type shared struct {
	mem  unsafe.Pointer
	n    uintptr
	g    Geometry
	tick *word.U32 // a step of no meaning
}

func newShared(w *modelcheck.World, capacity int, at uint64) *shared {
	g, err := Plan(capacity, messageSize)
	if err != nil {
		panic(err)
	}
	b := w.Bytes(int(g.Bytes()), "ring")
	s := &shared{mem: unsafe.Pointer(&b[0]), n: uintptr(len(b)), g: g, tick: modelcheck.Alloc[word.U32](w, "tick")}
	if err := initAt(s.mem, s.n, g, at); err != nil {
		panic(err)
	}
	return s
}

func (s *shared) producer() *Producer {
	p, err := AttachProducer(s.mem, s.n, s.g)
	if err != nil {
		panic(err)
	}
	return &p
}

func (s *shared) consumer() *Consumer {
	c, err := AttachConsumer(s.mem, s.n, s.g)
	if err != nil {
		panic(err)
	}
	return &c
}

// write fills the slot for a position, in two steps if slow.
func (s *shared) write(at unsafe.Pointer, position uint64, slow bool) {
	m := (*message)(at)
	word.Writes(at, messageSize)
	m.position = position
	if slow {
		s.tick.Load()
	}
	m.complement = ^position
}

// read checks that the slot has the message of a position.
func (s *shared) read(at unsafe.Pointer, position uint64, slow bool) {
	m := (*message)(at)
	word.Reads(at, messageSize)
	if m.position != position {
		panic(fmt.Sprintf("position %d holds the message of %d", position, m.position))
	}
	if slow {
		s.tick.Load()
	}
	if m.complement != ^position {
		panic(fmt.Sprintf("the message of %d is torn", position))
	}
}

// spin looks until ready reports true.
func spin(ready func() bool) {
	for !ready() {
		word.Pause(1)
	}
}

// position masks a count like the ring's own.
func position(at uint64, i int) uint64 { return (at + uint64(i)) & (1<<63 - 1) }

// check is the last state of a ring after n messages.
func (s *shared) check(p *Producer, c *Consumer, at uint64, n int) error {
	switch {
	case p.Position() != position(at, n) || c.Position() != position(at, n):
		return fmt.Errorf("producer at %d, consumer at %d, want %d", p.Position(), c.Position(), position(at, n))
	case p.Len() != 0 || c.Len() != 0:
		return fmt.Errorf("%d left", p.Len())
	case p.Blocked() || p.BlockedAnywhere() || !c.Blocked() || !c.BlockedAnywhere():
		return fmt.Errorf("not blocked as it should be")
	case p.Full() != nil || c.Empty() != nil:
		return fmt.Errorf("corrupt: %v, %v", p.Full(), c.Empty())
	case s.producer().stamp != p.stamp || s.consumer().stamp != c.stamp:
		return fmt.Errorf("a scan finds %d and %d", s.producer().stamp>>1, s.consumer().stamp>>1)
	}
	return nil
}

// sendAll sends one at a time up to the n-th message.
func (s *shared) sendAll(p *Producer, at uint64, n int, slow bool) {
	for i := p.Position() - at; i&(1<<63-1) < uint64(n); i++ {
		var slot unsafe.Pointer
		spin(func() bool { slot = p.Slot(); return slot != nil })
		s.write(slot, p.Position(), slow)
		p.Publish()
	}
}

func (s *shared) recvAll(c *Consumer, at uint64, n int, slow bool) {
	for i := c.Position() - at; i&(1<<63-1) < uint64(n); i++ {
		var slot unsafe.Pointer
		spin(func() bool { slot = c.Slot(); return slot != nil })
		s.read(slot, c.Position(), slow)
		c.Release()
	}
}

func (s *shared) sendBatches(p *Producer, n, batch int) {
	for sent := 0; sent < n; {
		room := 0
		spin(func() bool { room = p.Room(min(batch, n-sent)); return room > 0 })
		sent += room
		for room > 0 {
			slot, stamp, n := p.Run(room)
			for i := range n {
				at := unsafe.Add(slot, uintptr(i)*p.Stride())
				s.write(Message(at), position(p.Position(), i), false)
				p.Put(at, stamp+2*uint64(i))
			}
			p.Advance(n)
			room -= n
		}
	}
}

func (s *shared) recvBatches(c *Consumer, n, batch int) {
	for taken := 0; taken < n; {
		ready := 0
		spin(func() bool { ready = c.Ready(min(batch, n-taken)); return ready > 0 })
		taken += ready
		for ready > 0 {
			slot, stamp, n := c.Run(ready)
			for i := range n {
				at := unsafe.Add(slot, uintptr(i)*c.Stride())
				s.read(Message(at), position(c.Position(), i), false)
				c.Take(at, stamp+2*uint64(i))
			}
			c.Advance(n)
			ready -= n
		}
	}
}

// TestModelRing: one at a time, in place with the slot held over steps, and in
// batches, at the wraps of positions and of laps.
func TestModelRing(t *testing.T) {
	models := suite.New(t)
	for _, m := range suite.Models {
		for _, capacity := range []int{1, 2} {
			for _, start := range starts {
				n := suite.UpTo(2*capacity, 2*capacity+2)
				if capacity == 1 {
					n++
				}
				for _, how := range []struct {
					name string
					send func(*shared, *Producer)
					recv func(*shared, *Consumer)
				}{
					{"single",
						func(s *shared, p *Producer) { s.sendAll(p, start, n, false) },
						func(s *shared, c *Consumer) { s.recvAll(c, start, n, false) }},
					{"in place",
						func(s *shared, p *Producer) { s.sendAll(p, start, n, true) },
						func(s *shared, c *Consumer) { s.recvAll(c, start, n, true) }},
					{"batches",
						func(s *shared, p *Producer) { s.sendBatches(p, n, 3) },
						func(s *shared, c *Consumer) { s.recvBatches(c, n, 3) }},
				} {
					models.Explore(fmt.Sprintf("ring of %d, %s", capacity, how.name), modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(100_000, 400_000)}, func(w *modelcheck.World) {
						s := newShared(w, capacity, start)
						p, c := s.producer(), s.consumer()
						w.Go("producer", func() { how.send(s, p) })
						w.Go("consumer", func() { how.recv(s, c) })
						w.Final(func() error { return s.check(p, c, start, n) })
					})
				}
			}
		}
	}
}

// TestModelRingWatched: a third goroutine looks at Len and BlockedAnywhere.
func TestModelRingWatched(t *testing.T) {
	models := suite.New(t)
	for _, m := range suite.Models {
		for _, capacity := range []int{1, 2} {
			models.Explore(fmt.Sprintf("ring of %d, watched", capacity), modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(50_000, 500_000)}, func(w *modelcheck.World) {
				n := suite.UpTo(2, 3)
				s := newShared(w, capacity, 1<<63-1)
				p, c := s.producer(), s.consumer()
				w.Go("producer", func() { s.sendAll(p, 1<<63-1, n, false) })
				w.Go("consumer", func() { s.recvAll(c, 1<<63-1, n, false) })
				w.Go("watcher", func() {
					if l := p.Len(); l < 0 || l > capacity {
						panic(fmt.Sprintf("Len is %d of %d", l, capacity))
					}
					p.BlockedAnywhere()
					c.BlockedAnywhere()
				})
				w.Final(func() error { return s.check(p, c, 1<<63-1, n) })
			})
		}
	}
}

// TestModelLevel: who is blocked for ever looks blocked from anywhere, and who
// is not does not. This is what makes a token that Ready owes come.
func TestModelLevel(t *testing.T) {
	models := suite.New(t)
	for _, m := range suite.Models {
		models.Explore("level of a full ring", modelcheck.Config{Model: m}, func(w *modelcheck.World) {
			s := newShared(w, 1, 0)
			p, c := s.producer(), s.consumer()
			w.Go("producer", func() { s.sendAll(p, 0, 3, false) })
			w.Go("consumer", func() { s.recvAll(c, 0, 2, false) })
			w.Final(func() error {
				if !p.Blocked() || !p.BlockedAnywhere() || c.Blocked() || c.BlockedAnywhere() || p.Len() != 1 {
					return fmt.Errorf("a full ring does not look full")
				}
				return nil
			})
		})
	}
}

// TestModelScanAtWork: while the other end works, a successor's scan finds the
// position that the dead end had, whatever the other does meanwhile.
func TestModelScanAtWork(t *testing.T) {
	models := suite.New(t)
	for _, m := range suite.Models {
		for _, capacity := range []int{1, 2, 4} {
			for before := 0; before <= capacity; before++ { // messages already in it
				for _, start := range starts {
					world := func(scanHead bool) func(*modelcheck.World) {
						return func(w *modelcheck.World) {
							s := newShared(w, capacity, start)
							p, c := s.producer(), s.consumer()
							for range before {
								s.write(p.Slot(), p.Position(), false)
								p.Publish()
							}
							w.Go("other", func() {
								if scanHead {
									s.sendAll(p, start, capacity, false)
								} else {
									s.recvAll(c, start, before, false)
								}
							})
							w.Go("successor", func() {
								if scanHead {
									if x := s.consumer(); x.stamp != c.stamp {
										panic(fmt.Sprintf("the scan finds head %d, want %d", x.Position(), c.Position()))
									}
								} else if x := s.producer(); x.stamp != p.stamp {
									panic(fmt.Sprintf("the scan finds tail %d, want %d", x.Position(), p.Position()))
								}
							})
						}
					}
					for _, scanHead := range []bool{false, true} {
						models.Explore(fmt.Sprintf("scans at work, ring of %d", capacity), modelcheck.Config{Model: m}, world(scanHead))
					}
				}
			}
		}
	}
}

// TestModelRingDies: an end dies at each step of its batches, in place or
// not; its successor finds its position by the scan while the other end works,
// and goes on. A message that was published is received once, in its place.
func TestModelRingDies(t *testing.T) {
	models := suite.New(t)
	const capacity = 2
	n := suite.UpTo(3, 4)
	for _, m := range suite.Models {
		for _, batch := range []int{1, 2} {
			for _, start := range starts {
				cfg := modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(3_000, 50_000)} // for each step
				models.Sweep(fmt.Sprintf("producer dies in batches of %d", batch), cfg, "producer", func(w *modelcheck.World) {
					s := newShared(w, capacity, start)
					p, c := s.producer(), s.consumer()
					w.Go("producer", func() { s.sendBatches(p, n, batch) })
					w.Go("consumer", func() { s.recvAll(c, start, n, true) })
					w.Go("successor", func() {
						w.AwaitDeath("producer")
						next := s.producer()
						if next.stamp-p.stamp > 2*uint64(batch) {
							panic("the scan does not find what was published")
						}
						s.sendAll(next, start, n, false)
					})
				})
				models.Sweep(fmt.Sprintf("consumer dies in batches of %d", batch), cfg, "consumer", func(w *modelcheck.World) {
					s := newShared(w, capacity, start)
					p, c := s.producer(), s.consumer()
					w.Go("producer", func() { s.sendAll(p, start, n, false) })
					w.Go("consumer", func() { s.recvBatches(c, n, batch) })
					w.Go("successor", func() {
						w.AwaitDeath("consumer")
						next := s.consumer()
						if next.stamp-c.stamp > 2*uint64(batch) {
							panic("the scan does not find what was released")
						}
						s.recvAll(next, start, n, false)
					})
				})
			}
		}
	}
}
