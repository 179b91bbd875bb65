//go:build modelcheck

package slabpool

import (
	"fmt"
	"testing"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
)

// Seeded bugs: a free list and state words with one thing wrong in each. The
// explorer must find it.

// A seeded pool has up to three blocks: a head, links, and for each block a
// state word, which is generation<<8 | owner<<1 | queued, owner 0 for free.
type seeded struct {
	head  word.U64 // tag<<8 | index+1
	next  [3]word.U32
	state [3]word.U64
	gen   [3]word.U64 // a second word, for the bug that has one
	inUse [3]word.U32
}

type bug struct {
	noTag    bool // the head has no tag
	noToken  bool // no queued bit: a sweeper lists what is free and was not listed when it looked
	oneBit   bool // a generation of one bit
	twoWords bool // the generation is in a word of its own
	loadNext bool // Free is a load and a store
}

func (s *seeded) fill(n int) {
	for i := range n {
		s.state[i].Store(1)
		if i+1 < n {
			s.next[i].Store(uint32(i + 2))
		}
	}
	s.head.Store(1)
}

func (s *seeded) push(b bug, i uint64) {
	for {
		h := s.head.Load()
		s.next[i].Store(uint32(h & 0xff))
		n := (h>>8+1)<<8 | (i + 1)
		if b.noTag {
			n = i + 1
		}
		if s.head.CompareAndSwap(h, n) {
			return
		}
	}
}

func (s *seeded) pop(b bug) (uint64, bool) {
	for {
		h := s.head.Load()
		i := h & 0xff
		if i == 0 {
			return 0, false
		}
		n := (h>>8+1)<<8 | uint64(s.next[i-1].Load())
		if b.noTag {
			n &= 0xff
		}
		if s.head.CompareAndSwap(h, n) {
			return i - 1, true
		}
	}
}

// alloc returns a block and its generation.
func (s *seeded) alloc(b bug, owner uint64) (i, gen uint64, ok bool) {
	for {
		i, ok = s.pop(b)
		if !ok {
			return 0, 0, false
		}
		for {
			w := s.state[i].Load()
			if w&0xfe != 0 { // claimed by another; the token goes back
				if s.state[i].CompareAndSwap(w, w&^1) {
					break
				}
				continue
			}
			if s.state[i].CompareAndSwap(w, w&^1|owner<<1) {
				if b.twoWords {
					return i, s.gen[i].Load(), true
				}
				return i, w >> 8, true
			}
		}
	}
}

// free reports whether the handle was good.
func (s *seeded) free(b bug, owner, i, gen uint64) bool {
	w := s.state[i].Load()
	if b.twoWords {
		if s.gen[i].Load() != gen || w&0xfe != owner<<1 {
			return false
		}
		s.gen[i].Add(1)
		if !s.state[i].CompareAndSwap(w, 1) { // same owner, another generation: looks the same
			return false
		}
		s.push(b, i)
		return true
	}
	next := w>>8 + 1
	if b.oneBit {
		next &= 1
	}
	if w>>8 != gen || w&0xfe != owner<<1 {
		return false
	}
	if b.loadNext {
		s.state[i].Store(next<<8 | 1)
	} else if !s.state[i].CompareAndSwap(w, next<<8|w&1|1) {
		return false
	}
	if w&1 == 0 || b.noToken || b.loadNext {
		s.push(b, i)
	}
	return true
}

// enter and leave find two in one block.
func (s *seeded) enter(i uint64) {
	if s.inUse[i].Add(1) != 1 {
		panic(fmt.Sprintf("block %d is in use twice", i))
	}
}

func (s *seeded) leave(i uint64) { s.inUse[i].Add(^uint32(0)) }

// walk finds a block that is listed twice.
func (s *seeded) walk() error {
	seen := map[uint32]bool{}
	for i := uint32(s.head.Load() & 0xff); i != 0; i = s.next[i-1].Load() {
		if seen[i] {
			return fmt.Errorf("block %d is listed twice", i-1)
		}
		seen[i] = true
	}
	return nil
}

// churn has owner 1 take a block, and owner 2 two, which it frees in the order
// that makes an old head look new.
func churn(b bug) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		s := modelcheck.Alloc[seeded](w, "s")
		s.fill(3)
		w.Go("owner 1", func() {
			for range 2 {
				if i, gen, ok := s.alloc(b, 1); ok {
					s.enter(i)
					s.leave(i)
					s.free(b, 1, i, gen)
				}
			}
		})
		w.Go("owner 2", func() {
			i, gi, _ := s.alloc(b, 2)
			j, gj, _ := s.alloc(b, 2)
			s.enter(i)
			s.leave(i)
			s.free(b, 2, i, gi)
			s.enter(j)
			s.leave(j)
			s.free(b, 2, j, gj)
		})
		w.Final(func() error { return s.accounted(3) })
	}
}

func (s *seeded) accounted(n int) error {
	if err := s.walk(); err != nil {
		return err
	}
	for k := range n {
		i, _, ok := s.alloc(bug{}, 9)
		if !ok {
			return fmt.Errorf("%d of %d blocks are left", k, n)
		}
		s.enter(i)
	}
	return nil
}

// sweeping has a popper that may be stopped between the pop and its claim,
// while a sweeper looks for blocks that are free and not listed.
func sweeping(b bug) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		s := modelcheck.Alloc[seeded](w, "s")
		s.fill(2)
		w.Go("popper", func() {
			if i, gen, ok := s.alloc(b, 1); ok {
				s.enter(i)
				s.leave(i)
				s.free(b, 1, i, gen)
			}
		})
		w.Go("sweeper", func() {
			listed := map[uint64]bool{}
			for i := s.head.Load() & 0xff; i != 0 && !listed[i-1]; i = uint64(s.next[i-1].Load()) {
				listed[i-1] = true
			}
			for i := range uint64(2) {
				w := s.state[i].Load()
				if listed[i] || w&0xfe != 0 {
					continue
				}
				if b.noToken {
					s.push(b, i)
				} else if w&1 == 0 && s.state[i].CompareAndSwap(w, w|1) {
					s.push(b, i)
				}
			}
		})
		w.Final(s.walk)
	}
}

// stale has a handle that is used again after the block went on, by one of two
// goroutines of the same owner, as the only protection is the generation.
func stale(b bug, others int) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		s := modelcheck.Alloc[seeded](w, "s")
		s.fill(1)
		i, gen, _ := s.alloc(b, 1)
		w.Go("first", func() {
			s.free(b, 1, i, gen)
			for range others {
				if i, gen, ok := s.alloc(b, 1); ok {
					s.enter(i)
					s.leave(i)
					if !s.free(b, 1, i, gen) {
						panic("a good handle was refused")
					}
				}
			}
		})
		w.Go("second", func() { s.free(b, 1, i, gen) }) // the same handle: only one may succeed
		w.Final(s.walk)
	}
}

func TestModelSeededBugs(t *testing.T) {
	models := suite.New(t)
	sc := modelcheck.Config{MaxExecutions: 100_000}
	models.Explore("no bug, churn", modelcheck.Config{MaxExecutions: suite.UpTo(5_000, 100_000)}, churn(bug{}))
	models.Explore("no bug, sweeping", sc, sweeping(bug{}))
	models.Explore("no bug, stale handle", sc, stale(bug{}, 1))
	models.Explore("no bug, stale handle, twice", sc, stale(bug{}, 2))
	for _, x := range []struct {
		name      string
		world     func(*modelcheck.World)
		kind      modelcheck.FailureKind
		execution int
	}{
		{"head without a tag", churn(bug{noTag: true}), modelcheck.Final, 76},
		{"listed twice behind a stopped popper", sweeping(bug{noToken: true}), modelcheck.Final, 2},
		{"generation of one bit", stale(bug{oneBit: true}, 2), modelcheck.Panic, 2},
		{"generation and state in two words", stale(bug{twoWords: true}, 1), modelcheck.Panic, 11},
		{"double free by load and store", stale(bug{loadNext: true}, 0), modelcheck.Final, 2},
	} {
		models.Bug(x.name, sc, x.world, x.kind, x.execution)
	}
}
