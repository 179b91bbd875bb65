package slabpool

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/waiter"
)

// A pool in memory: the control block, one pair of cache lines for each class,
// one record for each block, then the blocks. This file holds every offset.
//
// Invariants:
//   - the immutable part of the control block is written before anybody else
//     can see the pool, and never again; all offsets follow from the classes
//     in it;
//   - links and state words lie outside of the blocks, so nothing that is
//     written to a block, at any time, can harm the pool;
//   - blocks are aligned to 64 bytes, those of a class whose size is a multiple
//     of 4096 to a page;
//   - records of neighbouring blocks lie on different cache lines, since
//     different processes tend to hold neighbours.
//
// Ownership: of the class lines see list.go and hidden.go, of the records
// state.go. Each attachment works with private copies of all sizes.
//
// Who may die where: whoever makes a pool anywhere, since nobody sees it
// before.

// A Class is a set of blocks of one size.
type Class struct {
	Size  int // bytes of a block, 1 to 2³⁶-1
	Count int // blocks, 1 to 2²⁴-2
}

// DefaultClasses returns what a pool has if nothing is said: 256 blocks of
// 4 KiB, 64 of 64 KiB and 8 of 1 MiB, 13 MiB in all.
func DefaultClasses() []Class {
	return []Class{{4 << 10, 256}, {64 << 10, 64}, {1 << 20, 8}}
}

const (
	// MaxClasses is how many classes a pool may have.
	MaxClasses = 16
	// MaxOwners is how many endpoints may be attached to a pool at once.
	MaxOwners = 16
	// MaxSize is the size of the largest block, in bytes.
	MaxSize = 1<<lenBits - 1
	// MaxCount is how many blocks a class may have.
	MaxCount = 1<<indexBits - 2
	// Align is what the memory of a pool must be aligned to, in bytes.
	Align = 4096

	line    = 64
	page    = 4096
	maxPool = 1 << 46
)

// control is at the start of the memory.
type control struct {
	classes uint64 // entries used in table
	tag     uint64 // random, not 0: what handles of this pool carry
	first   uint64 // random: the generation that all blocks begin with
	_       [128 - 24]byte
	table   [MaxClasses]entry
	event   waiter.Event // "a block is available"
}

// entry is a Class in the memory.
type entry struct{ size, count uint64 }

// classWords are the words of a class.
type classWords struct {
	head   word.U64 // of the free list: tag<<24 | index+1; see list.go
	hidden word.U32 // see hidden.go
	_      [line - 12]byte
	failed word.U64 // allocations that found no block
	_      [line - 8]byte
}

// A record is what there is of a block outside of it.
type record struct {
	state word.U64 // see state.go
	next  word.U32 // index+1 of the next block of the free list, 0 at its end
	_     uint32
}

const (
	controlSize    = 512
	classWordsSize = 128
	recordSize     = 16
	perLine        = line / recordSize
)

// These do not compile if a struct above has another size.
var (
	_ [controlSize]byte    = [unsafe.Sizeof(control{})]byte{}
	_ [classWordsSize]byte = [unsafe.Sizeof(classWords{})]byte{}
	_ [recordSize]byte     = [unsafe.Sizeof(record{})]byte{}
)

// A Geometry is the shape of a pool. Make it with Plan.
type Geometry struct {
	classes []place
	bytes   uintptr
}

// A place tells where a class lies. Offsets count from the start of the pool.
type place struct {
	Class
	stride  uintptr // from block to block
	blocks  uintptr // offset of the first block
	records uintptr // offset of the records
	shift   uint    // 1<<shift lines of records
}

// Plan returns the shape of a pool with these classes, which are sorted by
// size; none at all means DefaultClasses. Errors wrap fs.ErrInvalid.
func Plan(classes ...Class) (Geometry, error) {
	if len(classes) == 0 {
		classes = DefaultClasses()
	}
	bad := func(format string, args ...any) (Geometry, error) {
		return Geometry{}, fmt.Errorf("slabpool: "+format+": %w", append(args, fs.ErrInvalid)...)
	}
	if len(classes) > MaxClasses {
		return bad("%d classes, want at most %d", len(classes), MaxClasses)
	}
	classes = slices.Clone(classes)
	slices.SortFunc(classes, func(a, b Class) int { return a.Size - b.Size })
	var g Geometry
	end := uintptr(controlSize + len(classes)*classWordsSize)
	for i, c := range classes {
		switch {
		case c.Size < 1 || c.Size > MaxSize:
			return bad("blocks of %d bytes, want 1 to %d", c.Size, MaxSize)
		case c.Count < 1 || c.Count > MaxCount:
			return bad("%d blocks of %d bytes, want 1 to %d", c.Count, c.Size, MaxCount)
		case i > 0 && c.Size == classes[i-1].Size:
			return bad("two classes of %d bytes; add their counts", c.Size)
		}
		p := place{Class: c, records: end, shift: uint(bits.Len(uint(c.Count-1) / perLine))}
		p.stride = (uintptr(c.Size) + line - 1) &^ (line - 1)
		end += line << p.shift
		g.classes = append(g.classes, p)
	}
	for i := range g.classes {
		p := &g.classes[i]
		if p.Size%page == 0 {
			end = (end + page - 1) &^ (page - 1)
		}
		p.blocks = end
		if p.stride > maxPool/uintptr(p.Count) {
			return bad("%d blocks of %d bytes do not fit into memory", p.Count, p.Size)
		}
		end += p.stride * uintptr(p.Count) // at most 16 times maxPool: no overflow
	}
	if end > maxPool {
		return bad("%d bytes in all, want at most %d", end, uintptr(maxPool))
	}
	g.bytes = end
	return g, nil
}

// Classes returns the classes, by size.
func (g Geometry) Classes() []Class {
	var cs []Class
	for _, p := range g.classes {
		cs = append(cs, p.Class)
	}
	return cs
}

// Bytes returns how much memory a pool of this shape needs.
func (g Geometry) Bytes() uintptr { return g.bytes }

// Largest returns the size of the largest class in bytes.
func (g Geometry) Largest() int { return g.classes[len(g.classes)-1].Size }

// Equal tells whether two pools have the same shape.
func (g Geometry) Equal(o Geometry) bool { return slices.Equal(g.classes, o.classes) }

// check tells whether g was made by Plan and fits into n bytes at mem.
func (g Geometry) check(mem unsafe.Pointer, n uintptr) error {
	if len(g.classes) == 0 {
		return fmt.Errorf("slabpool: geometry was not made by Plan: %w", fs.ErrInvalid)
	}
	if uintptr(mem)%Align != 0 {
		return fmt.Errorf("slabpool: memory at %p is not aligned to %d: %w", mem, Align, fs.ErrInvalid)
	}
	if n < g.bytes {
		return fmt.Errorf("slabpool: %d bytes of memory, %d needed: %w", n, g.bytes, fs.ErrInvalid)
	}
	return nil
}

// record returns the record of block i of a class, which is below its count.
// Blocks i and i+1 have theirs on different lines.
func (p *place) record(mem unsafe.Pointer, i uint32) *record {
	at := uintptr(i)&(1<<p.shift-1)*perLine + uintptr(i)>>p.shift
	return (*record)(unsafe.Add(mem, p.records+at*recordSize))
}

func words(mem unsafe.Pointer, class int) *classWords {
	return (*classWords)(unsafe.Add(mem, controlSize+class*classWordsSize))
}

// Init makes a pool with all blocks free in the n bytes at mem, which are zero,
// belong to the caller, and are used by nobody else yet. Errors wrap
// fs.ErrInvalid.
func Init(mem unsafe.Pointer, n uintptr, g Geometry) error {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return initAt(mem, n, g, binary.NativeEndian.Uint64(b[:]), binary.NativeEndian.Uint64(b[8:]))
}

// initAt is Init with a tag and a first generation.
func initAt(mem unsafe.Pointer, n uintptr, g Geometry, tag, first uint64) error {
	if err := g.check(mem, n); err != nil {
		return err
	}
	c := (*control)(mem)
	c.classes, c.tag, c.first = uint64(len(g.classes)), max(tag&tagMask, 1), first&genMask
	for k := range g.classes {
		p := &g.classes[k]
		c.table[k] = entry{uint64(p.Size), uint64(p.Count)}
		for i := range uint32(p.Count) {
			r := p.record(mem, i)
			r.state.Store(c.first<<genShift | queued)
			if i+1 < uint32(p.Count) {
				r.next.Store(i + 2)
			}
		}
		words(mem, k).head.Store(1)
	}
	return nil
}

// Read returns the shape of the pool at mem, as its memory says, after a check
// that such a pool fits into the n bytes there. Errors wrap ErrCorrupt.
func Read(mem unsafe.Pointer, n uintptr) (Geometry, error) {
	if n < controlSize || uintptr(mem)%Align != 0 {
		return Geometry{}, fmt.Errorf("slabpool: no room for a pool in %d bytes at %p: %w", n, mem, ErrCorrupt)
	}
	c := (*control)(mem)
	count, table := c.classes, c.table // copied before they are checked
	if count < 1 || count > MaxClasses {
		return Geometry{}, fmt.Errorf("slabpool: %d classes, want 1 to %d: %w", count, MaxClasses, ErrCorrupt)
	}
	classes := make([]Class, count)
	for i := range classes {
		e := table[i]
		if e.size > MaxSize || e.count > MaxCount || i > 0 && e.size <= table[i-1].size {
			return Geometry{}, fmt.Errorf("slabpool: class %d has %d blocks of %d bytes: %w", i, e.count, e.size, ErrCorrupt)
		}
		classes[i] = Class{int(e.size), int(e.count)}
	}
	g, err := Plan(classes...)
	if err == nil {
		err = g.check(mem, n)
	}
	if err != nil {
		return Geometry{}, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	return g, nil
}
