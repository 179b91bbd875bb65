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

// The models of a View. What it reads may be written at the same time, so here
// a message is two words, written and read in steps of their own that go
// through the store buffer, and no accesses that may not race.

type halves struct{ position, complement word.U64 }

func putHalves(slot unsafe.Pointer, position uint64) {
	m := (*halves)(slot)
	m.position.StoreRelease(position)
	m.complement.StoreRelease(^position)
}

// look samples a position, by a sampler that may be a wrong one, and panics if
// it is told that a wrong or torn message is right.
func look(v *View, pos uint64, sample func(*View, uint64, func(unsafe.Pointer)) bool) bool {
	var a, b uint64
	whole := sample(v, pos, func(at unsafe.Pointer) {
		m := (*halves)(at)
		a, b = m.position.Load(), m.complement.Load()
	})
	if whole && (a != pos || b != ^pos) {
		panic(fmt.Sprintf("position %d is said to hold %d and %d", pos, a, ^b))
	}
	return whole
}

// watched is a ring through which n messages go, and a viewer that looks for
// one of them.
func watched(capacity int, at uint64, n, wanted int, sample func(*View, uint64, func(unsafe.Pointer)) bool) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		s := newShared(w, capacity, at)
		p, c := s.producer(), s.consumer()
		v := View{p.ring}
		w.Go("producer", func() {
			for range n {
				var slot unsafe.Pointer
				spin(func() bool { slot = p.Slot(); return slot != nil })
				putHalves(slot, p.Position())
				p.Publish()
			}
		})
		w.Go("consumer", func() {
			for range n {
				spin(func() bool { return c.Slot() != nil })
				c.Release()
			}
		})
		w.Go("viewer", func() { look(&v, position(at, wanted), sample) })
	}
}

// TestModelViewMessage: a message that a View gives is whole, and the right one.
func TestModelViewMessage(t *testing.T) {
	s := suite.New(t)
	for _, m := range suite.Models {
		for _, capacity := range []int{1, 2} {
			for _, start := range starts {
				for wanted := range 2 {
					n := capacity + 1 + wanted
					s.Explore(fmt.Sprintf("view of a ring of %d, message %d of %d", capacity, wanted, n), modelcheck.Config{Model: m, MaxExecutions: 50_000}, watched(capacity, start, n, wanted, (*View).sample))
				}
			}
		}
	}
}

// TestModelViewPositions: Tail and Head are what they were at some instant of
// the call.
func TestModelViewPositions(t *testing.T) {
	st := suite.New(t)
	for _, capacity := range []int{1, 2, 4} {
		for _, start := range starts {
			n := capacity + 2
			st.Explore(fmt.Sprintf("view of the ends of a ring of %d", capacity), modelcheck.Config{MaxExecutions: suite.UpTo(30_000, 300_000)}, func(w *modelcheck.World) {
				s := newShared(w, capacity, start)
				p, c := s.producer(), s.consumer()
				v := View{p.ring}
				sent, taken := 0, 0 // by finished calls
				w.Go("producer", func() {
					for range n {
						spin(func() bool { return p.Slot() != nil })
						p.Publish()
						sent++
					}
				})
				w.Go("consumer", func() {
					for range n {
						spin(func() bool { return c.Slot() != nil })
						c.Release()
						taken++
					}
				})
				between := func(what string, got uint64, from, to int) {
					if i := position(got-start, 0); i < uint64(from) || i > uint64(to) {
						panic(fmt.Sprintf("%s is %d, want %d to %d", what, i, from, to))
					}
				}
				w.Go("viewer", func() {
					from := sent
					tail := v.Tail()
					between("tail", tail, from, sent+1)
					from = taken
					head := v.Head()
					between("head", head, from, taken+1)
				})
			})
		}
	}
}

// TestModelViewBugs: samplers with a check left out must be found.
func TestModelViewBugs(t *testing.T) {
	s := suite.New(t)
	once := func(v *View, pos uint64, read func(unsafe.Pointer)) bool { // no look after the copy
		slot := v.ring.slot(2 * pos)
		seq := v.ring.seq(slot).Load()
		if seq != 2*pos+1 && seq != 2*pos+v.ring.lap {
			return false
		}
		read(Message(slot))
		return true
	}
	own := func(v *View, pos uint64, read func(unsafe.Pointer)) bool { // none at the slot before
		slot := v.ring.slot(2 * pos)
		seq := v.ring.seq(slot).Load()
		if seq != 2*pos+1 && seq != 2*pos+v.ring.lap {
			return false
		}
		read(Message(slot))
		word.Fence()
		return v.ring.seq(slot).Load() == seq
	}
	tso := modelcheck.Config{Model: modelcheck.TSO}
	s.Bug("no second look", tso, watched(2, 0, 3, 0, once), modelcheck.Panic, 21)
	s.Bug("a second look at the own slot only", tso, watched(2, 0, 3, 0, own), modelcheck.Panic, 108)
}
