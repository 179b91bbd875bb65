package modelcheck_test

import (
	"errors"
	"fmt"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
)

// Seeded bugs of allocators: small programs that hand slots out and take them
// back, each right and with one thing wrong. The explorer must pass the first
// and find the second, in the execution that the test names.

type (
	word  = modelcheck.U32
	world = modelcheck.World
)

// owners finds slots that two threads have at the same time.
type owners [4]word

func (o *owners) take(i uint32) {
	if !o[i].CompareAndSwap(0, 1) {
		panic(fmt.Sprintf("slot %d has two owners", i))
	}
}

func (o *owners) give(i uint32) { o[i].Store(0) }

// A stack is a Treiber stack of free slots. Its head is a generation over
// eight bits of slot number.
type stack struct {
	head word
	next [4]word
}

const noSlot = 0xff

// newStack lists the first n slots.
func newStack(w *world, n uint32) *stack {
	s := modelcheck.Alloc[stack](w, "s")
	s.head.Store(noSlot)
	for i := n; i > 0; i-- {
		s.push(i-1, 16)
	}
	s.head.Store(s.head.Load() & 0xff)
	return s
}

func (s *stack) pop(bits int) uint32 {
	for {
		h := s.head.Load()
		i := h & 0xff
		if i == noSlot {
			return i
		}
		next := s.next[i].Load()
		if s.head.CompareAndSwap(h, (h>>8+1)&(1<<bits-1)<<8|next) {
			return i
		}
	}
}

func (s *stack) push(i uint32, bits int) {
	for {
		h := s.head.Load()
		s.next[i].Store(h & 0xff)
		if s.head.CompareAndSwap(h, (h>>8+1)&(1<<bits-1)<<8|i) {
			return
		}
	}
}

// listed walks the list.
func (s *stack) listed(i uint32) bool {
	for at, n := s.head.Load()&0xff, 0; at != noSlot && n < len(s.next); at, n = s.next[at].Load(), n+1 {
		if at == i {
			return true
		}
	}
	return false
}

// TestModelStack has a thread that pops twice, one that pops and gives the
// first slot back, with pops-1 pops in between, and maybe a third that does what
// the first does. No slot may have two owners.
func TestModelStack(t *testing.T) {
	setup := func(bits, pops, threads int) func(*world) {
		return func(w *world) {
			s, o := newStack(w, 3), modelcheck.Alloc[owners](w, "owner")
			pop := func() uint32 {
				i := s.pop(bits)
				if i != noSlot {
					o.take(i)
				}
				return i
			}
			w.Go("a", func() { pop(); pop() })
			w.Go("b", func() {
				i := pop()
				for range pops - 1 {
					pop()
				}
				if i != noSlot {
					o.give(i)
					s.push(i, bits)
				}
			})
			if threads == 3 {
				w.Go("c", func() { pop() })
			}
		}
	}
	s := suite.New(t)
	for _, m := range suite.Models {
		cfg := modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(50_000, 1_000_000)}
		s.Explore("stack, 16-bit generation", cfg, setup(16, 2, 2))
		s.Explore("stack, 16-bit generation", cfg, setup(16, 3, 2))
		s.Explore("stack, 16-bit generation, 3 threads", cfg, setup(16, 2, 3))
	}
	sc := modelcheck.Config{}
	s.Explore("stack, 1-bit generation, no wrap", sc, setup(1, 2, 2))
	s.Bug("stack without generation (ABA)", sc, setup(0, 2, 2), modelcheck.Panic, 23)
	s.Bug("stack, 1-bit generation wraps", sc, setup(1, 3, 2), modelcheck.Panic, 23)
}

// TestModelSweeper has a process that pops a slot and then marks it as its own.
// It is stopped, at any step, and taken for dead: a sweeper lists what is
// neither in the list nor marked. If the process only takes the mark that the
// slot had when it popped it, and the sweeper gives the slot another, then who
// goes on after the stop finds that it has nothing. If not, the slot is in the
// list and in use, and once more in the list when it is freed.
func TestModelSweeper(t *testing.T) {
	setup := func(wrong bool) func(*world) {
		return func(w *world) {
			s, o := newStack(w, 2), modelcheck.Alloc[owners](w, "owner")
			mark := modelcheck.Alloc[[2]word](w, "mark") // generation<<1 | in use
			alloc := func() {
				for {
					var old [2]uint32
					for i := range old {
						old[i] = mark[i].Load()
					}
					i := s.pop(16)
					if i == noSlot {
						return
					}
					if wrong {
						mark[i].Store(old[i] | 1)
					} else if !mark[i].CompareAndSwap(old[i]&^1, old[i]|1) {
						continue
					}
					o.take(i)
					return
				}
			}
			w.Go("victim", alloc)
			w.Go("sweeper", func() {
				w.AwaitStop("victim")
				for i := range uint32(2) {
					m := mark[i].Load()
					if m&1 == 1 || s.listed(i) {
						continue
					}
					if wrong || mark[i].CompareAndSwap(m, m+2) {
						s.push(i, 16)
					}
				}
			})
			w.Go("other", func() {
				w.AwaitEnd("sweeper")
				alloc()
				alloc()
			})
		}
	}
	s := suite.New(t)
	stop := func(step int) modelcheck.Config {
		return modelcheck.Config{Crashes: []modelcheck.Crash{{Thread: "victim", Step: step, Stop: true}}}
	}
	s.SweepStop("sweeper and a stopped process", modelcheck.Config{}, "victim", setup(false))
	s.Bug("sweeper lists what a stopped process had popped", stop(5), setup(true), modelcheck.Panic, 1)
}

// TestModelStaleFree has a handle with a generation that is freed twice while
// another thread allocates. One of the frees is stale and must be refused, also
// when the slot has been handed out again.
func TestModelStaleFree(t *testing.T) {
	type slot struct{ state, generation word }
	const used = 1
	free := func(s *slot, generation uint32, wrong bool) bool {
		if !wrong { // both in one word
			return s.state.CompareAndSwap(generation<<1|used, (generation+1)<<1)
		}
		if s.generation.Load() != generation || !s.state.CompareAndSwap(used, 0) {
			return false
		}
		s.generation.Add(1)
		return true
	}
	alloc := func(s *slot) bool {
		v := s.state.Load()
		return v&used == 0 && s.state.CompareAndSwap(v, v|used)
	}
	setup := func(wrong bool) func(*world) {
		return func(w *world) {
			s := modelcheck.Alloc[slot](w, "slot")
			s.state.Store(used)
			var freed [2]bool
			var got bool
			for i, name := range []string{"a", "b"} {
				w.Go(name, func() { freed[i] = free(s, 0, wrong) })
			}
			w.Go("c", func() { got = alloc(s) })
			w.Final(func() error {
				if freed[0] && freed[1] || got && s.state.Load()&used == 0 {
					return errors.New("a stale free was accepted")
				}
				return nil
			})
		}
	}
	s := suite.New(t)
	for _, m := range suite.Models {
		s.Explore("generation and state in one word", modelcheck.Config{Model: m}, setup(false))
	}
	s.Bug("generation and state in two words", modelcheck.Config{}, setup(true), modelcheck.Final, 3)
}

// TestModelDoubleFree has two threads that free the same slot and then allocate.
func TestModelDoubleFree(t *testing.T) {
	setup := func(wrong bool) func(*world) {
		return func(w *world) {
			s, o := newStack(w, 0), modelcheck.Alloc[owners](w, "owner")
			used := modelcheck.Alloc[word](w, "used")
			used.Store(1)
			for _, name := range []string{"a", "b"} {
				w.Go(name, func() {
					mine := false
					if wrong {
						if mine = used.Load() == 1; mine {
							used.Store(0)
						}
					} else {
						mine = used.CompareAndSwap(1, 0)
					}
					if mine {
						s.push(0, 16)
					}
					if i := s.pop(16); i != noSlot {
						o.take(i)
					}
				})
			}
		}
	}
	s := suite.New(t)
	for _, m := range suite.Models {
		s.Explore("double free by compare-and-swap", modelcheck.Config{Model: m}, setup(false))
	}
	s.Bug("double free by load and store", modelcheck.Config{}, setup(true), modelcheck.Panic, 6)
}

// A bip is a bipartite buffer (Cooke, 2003): what does not fit at the end goes
// to the beginning as a whole, and last says where the end ends then.
type bip struct {
	read, write, last word
	cell              [4]uint64
}

// TestModelBip has a producer that wraps early and a consumer that may look
// between its two stores.
func TestModelBip(t *testing.T) {
	setup := func(wrong bool) func(*world) {
		return func(w *world) {
			b := modelcheck.Alloc[bip](w, "b")
			b.last.Store(4)
			w.Go("producer", func() {
				put := func(at uint32, values ...uint64) {
					p := unsafe.Pointer(&b.cell[at])
					modelcheck.Writes(p, uintptr(8*len(values)))
					copy(b.cell[at:], values)
				}
				put(0, 1, 2, 3)
				b.write.StoreRelease(3)
				for b.read.Load() != 3 { // two do not fit behind the three
					modelcheck.Pause(1)
				}
				put(0, 4, 5)
				if wrong {
					b.write.StoreRelease(2)
					b.last.StoreRelease(3)
				} else {
					b.last.StoreRelease(3)
					b.write.StoreRelease(2)
				}
			})
			w.Go("consumer", func() {
				read := uint32(0)
				for want := uint64(1); want <= 5; {
					end := b.write.Load()
					if end < read {
						if last := b.last.Load(); read < last {
							end = last
						} else {
							read = 0
						}
					}
					if end == read {
						modelcheck.Pause(1)
						continue
					}
					for ; read < end; read++ {
						p := &b.cell[read]
						modelcheck.Reads(unsafe.Pointer(p), 8)
						if *p != want {
							panic(fmt.Sprintf("cell %d has %d, want %d", read, *p, want))
						}
						want++
					}
					b.read.StoreRelease(read)
				}
			})
		}
	}
	s := suite.New(t)
	for _, m := range suite.Models {
		s.Explore("bipartite buffer", modelcheck.Config{Model: m}, setup(false))
	}
	s.Bug("bipartite buffer that moves write before last", modelcheck.Config{}, setup(true), modelcheck.Panic, 2)
}
