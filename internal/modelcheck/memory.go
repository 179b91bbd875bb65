package modelcheck

import (
	"fmt"
	"unsafe"
)

// Shared memory and, under x86-TSO, the store buffers before it
// (Sewell et al., "x86-TSO: a rigorous and usable programmer's model", 2010).
//
// Invariants:
//   - A word lives at its real address; words holds what is known about it,
//     in the order in which words are first touched.
//   - Only StoreRelease is buffered. Every other op that writes, and every
//     fence and system call, waits until its thread's buffer is empty.
//   - A load sees the newest store to its word in its own thread's buffer, if
//     there is one, and memory otherwise.
type word struct {
	ptr     unsafe.Pointer
	size    uint8
	key     int32   // the same in every execution
	changes uint32  // of its value
	release happens // what a load of it is ordered after

	// For the search: events, counted from 1, since the last one that wrote.
	wrote       int32
	readBy      [maxThreads]int32
	forwardedTo [maxThreads]int32
	queueWrote  int32
	queueReadBy [maxThreads]int32
}

// A store is a StoreRelease on its way to memory.
type store struct {
	word  int32
	event int32 // of its StoreRelease, for the search
	n     uint32
	value uint64
	clock happens
}

func (m *word) get() uint64 {
	if m.size == 4 {
		return uint64(*(*uint32)(m.ptr))
	}
	return *(*uint64)(m.ptr)
}

// put writes v to word i for thread t.
func (w *World) put(t *thread, i int32, v uint64, clock *happens) {
	m := &w.words[i]
	m.release = *clock
	if m.get() == v {
		return
	}
	if m.size == 4 {
		*(*uint32)(m.ptr) = uint32(v)
	} else {
		*(*uint64)(m.ptr) = v
	}
	for k := range t.looked { // its own change is no news to t
		if l := &t.looked[k]; l.word == i && l.changes == m.changes {
			l.changes++
		}
	}
	m.changes++
}

// acquire reads word i of memory for thread t.
func (w *World) acquire(t *thread, i int32) uint64 {
	m := &w.words[i]
	t.clock.join(&m.release)
	t.looks(i, m.changes)
	return m.get()
}

// buffered returns the newest store to word i in t's buffer.
func (t *thread) buffered(i int32) *store {
	for k := len(t.buffer) - 1; k >= 0; k-- {
		if t.buffer[k].word == i {
			return &t.buffer[k]
		}
	}
	return nil
}

// flush commits the oldest store in t's buffer.
func (w *World) flush(t *thread) {
	s := &t.buffer[0]
	w.put(t, s.word, s.value, &s.clock)
	for _, u := range w.threads[:w.n] {
		if u.owed.has(t.id) && u.owedStore[t.id] == s.n {
			u.owed &^= set(t.id)
			w.past[u.id].join(&w.past[flusher(t.id)])
		}
	}
	i := s.word
	t.buffer = t.buffer[:copy(t.buffer, t.buffer[1:])]
	for k := range t.looked {
		if l := &t.looked[k]; l.word == i && l.changes == ownStore && t.buffered(i) == nil {
			l.changes = w.words[i].changes
		}
	}
}

// membarrier begins t's Membarrier: it ends when all stores that other
// registered threads have buffered by now are flushed. That is a little less
// than the kernel promises (a point in between at which the buffer is empty),
// so what holds here holds there.
func (w *World) membarrier(t *thread) {
	for _, u := range w.threads[:w.n] {
		if u == t || !u.registered {
			continue
		}
		if n := len(u.buffer); n > 0 {
			t.owed |= set(u.id)
			t.owedStore[u.id] = u.buffer[n-1].n
		} else {
			w.past[t.id].join(&w.past[flusher(u.id)])
		}
	}
}

// An arena is memory for the structures under test, handed out anew, zeroed,
// at every execution.
type arena struct {
	blocks []block
	other  map[unsafe.Pointer]int32 // words that lie elsewhere
}

type block struct {
	mem   []uint64
	used  uintptr
	index []int32 // word + 1, for every four bytes
}

func (a *arena) alloc(size, align uintptr) unsafe.Pointer {
	for i := 0; ; i++ {
		if i == len(a.blocks) {
			n := (size + align + 1<<16) / 8
			a.blocks = append(a.blocks, block{mem: make([]uint64, n), index: make([]int32, 2*n)})
		}
		b := &a.blocks[i]
		base := uintptr(unsafe.Pointer(&b.mem[0]))
		off := (base+b.used+align-1)&^(align-1) - base
		if off+size <= uintptr(len(b.mem))*8 {
			b.used = off + size
			return unsafe.Add(unsafe.Pointer(&b.mem[0]), off)
		}
	}
}

// slot returns where the index of the word at p is kept, nil outside.
func (a *arena) slot(p unsafe.Pointer) *int32 {
	for i := range a.blocks {
		b := &a.blocks[i]
		if off := uintptr(p) - uintptr(unsafe.Pointer(&b.mem[0])); off < b.used {
			return &b.index[off/4]
		}
	}
	return nil
}

// key tells words of the arena apart by their place in it. Where others lie is
// a matter of chance.
func (a *arena) key(p unsafe.Pointer) int32 {
	for i := range a.blocks {
		if off := uintptr(p) - uintptr(unsafe.Pointer(&a.blocks[i].mem[0])); off < a.blocks[i].used {
			return int32(i)<<24 | int32(off)
		}
	}
	return -1
}

func (w *World) key(i int32) int32 {
	if i < 0 {
		return -1
	}
	return w.words[i].key
}

func (a *arena) reset(words []word) {
	for i := range words {
		if s := a.slot(words[i].ptr); s != nil {
			*s = 0
			if words[i].size == 8 {
				*a.slot(unsafe.Add(words[i].ptr, 4)) = 0
			}
		}
	}
	clear(a.other)
	for i := range a.blocks {
		b := &a.blocks[i]
		clear(b.mem[:(b.used+7)/8])
		b.used = 0
	}
}

// word returns the index of the word at p.
func (w *World) word(p unsafe.Pointer, size uint8) int32 {
	s := w.arena.slot(p)
	if s == nil {
		if i, ok := w.arena.other[p]; ok {
			return w.sized(i-1, p, size)
		}
		if w.arena.other == nil {
			w.arena.other = map[unsafe.Pointer]int32{}
		}
	} else if *s != 0 {
		return w.sized(*s-1, p, size)
	}
	w.words = append(w.words, word{ptr: p, size: size, key: w.arena.key(p)})
	n := int32(len(w.words))
	if s == nil {
		w.arena.other[p] = n
		return n - 1
	}
	*s = n
	if size == 8 {
		if s = w.arena.slot(unsafe.Add(p, 4)); *s != 0 {
			return w.sized(*s-1, p, size)
		}
		*s = n
	}
	return n - 1
}

// sized refuses a word that is used with two sizes: the search takes words
// for independent of each other.
func (w *World) sized(i int32, p unsafe.Pointer, size uint8) int32 {
	if m := &w.words[i]; m.ptr != p || m.size != size {
		panic(fmt.Sprintf("the %d bytes at %s are also used as a word of %d bytes", size, w.name(p, uintptr(size)), m.size))
	}
	return i
}
