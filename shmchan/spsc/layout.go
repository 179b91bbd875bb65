package spsc

import (
	"fmt"
	"io/fs"
	"math"
	"math/bits"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/region"
)

// A ring in memory: a control block, then the slots. A slot is a sequence
// word and, behind it, the message.
//
// Invariants. Positions count messages from 0 and wrap around at 2⁶³; the
// message at position p lies in slot p mod capacity. head is the position of
// the next message to take, tail of the next one to publish. The sequence of
// the slot of position p is
//
//	2p             free for p       p in [tail, head+capacity)
//	2p+1           p is published   p in [head, tail)
//	2(p+capacity)  p is taken       which is: free for p+capacity
//
// Ownership. A free slot belongs to the producer, message and sequence; a
// published one to the consumer. Each turns it over by one release store of
// the sequence, in order of positions. The tail word is the producer's and
// the head word the consumer's; they follow the sequences, and nobody's
// correctness rests on them: Len and tools read them.
//
// Who may die where. Anybody anywhere: a message is published, or taken, by
// that one store. The positions are in the sequences: see scan in recover.go.

// control is at the start of the memory; the immutable part is checked at
// every attach.
type control struct {
	capacity uint64
	size     uint64 // of a message
	stride   uint64 // from slot to slot
	_        [128 - 24]byte

	tail word.U64 // 2·tail; written by the producer
	_    [128 - 8]byte

	head word.U64 // 2·head; written by the consumer
	_    [128 - 8]byte
}

const (
	controlSize = 384
	seqSize     = 8
	line        = 64

	// Align is what the memory of a ring must be aligned to, in bytes.
	Align = 128

	// MaxCapacity is the largest capacity, in messages.
	MaxCapacity = 1 << 31
	// MaxSize is the largest message, in bytes.
	MaxSize = 1 << 30
)

var _ [controlSize]byte = [unsafe.Sizeof(control{})]byte{}

// ErrCorrupt is wrapped by errors about memory that does not hold a ring, or
// not any more.
var ErrCorrupt = region.ErrCorrupt

// A Geometry is the shape of a ring. Make it with Plan.
type Geometry struct {
	Capacity int     // messages, a power of two
	Size     uintptr // of a message, in bytes
	Stride   uintptr // from slot to slot, in bytes
}

// Plan returns the shape of a ring that holds at least capacity messages of
// size bytes: capacity is rounded up to a power of two. Errors wrap
// fs.ErrInvalid.
//
// A slot never straddles a cache line that it could stay within: slots of up
// to 64 bytes have a power of two, larger ones whole lines. An index that
// straddles a line costs a factor of ten.
func Plan(capacity int, size uintptr) (Geometry, error) {
	if capacity < 1 || capacity > MaxCapacity {
		return Geometry{}, fmt.Errorf("spsc: capacity %d, want 1 to %d: %w", capacity, MaxCapacity, fs.ErrInvalid)
	}
	if size > MaxSize {
		return Geometry{}, fmt.Errorf("spsc: messages of %d bytes, want at most %d: %w", size, MaxSize, fs.ErrInvalid)
	}
	g := Geometry{Capacity: 1 << bits.Len(uint(capacity-1)), Size: size}
	if need := seqSize + size; need <= line {
		g.Stride = 1 << bits.Len(uint(need-1))
	} else {
		g.Stride = (need + line - 1) &^ (line - 1)
	}
	if uint64(g.Stride) > (math.MaxInt-controlSize)/uint64(g.Capacity) {
		return Geometry{}, fmt.Errorf("spsc: %d messages of %d bytes do not fit into memory: %w", capacity, size, fs.ErrInvalid)
	}
	return g, nil
}

// Bytes returns how much memory a ring of this shape needs.
func (g Geometry) Bytes() uintptr { return controlSize + uintptr(g.Capacity)*g.Stride }

// check tells whether g is what Plan makes and fits into n bytes at mem.
func (g Geometry) check(mem unsafe.Pointer, n uintptr) error {
	if p, err := Plan(g.Capacity, g.Size); err != nil || p != g {
		return fmt.Errorf("spsc: geometry %+v was not made by Plan: %w", g, fs.ErrInvalid)
	}
	if uintptr(mem)%Align != 0 {
		return fmt.Errorf("spsc: memory at %p is not aligned to %d: %w", mem, Align, fs.ErrInvalid)
	}
	if n < g.Bytes() {
		return fmt.Errorf("spsc: %d bytes of memory, %d needed: %w", n, g.Bytes(), fs.ErrInvalid)
	}
	return nil
}

// Init makes an empty ring in the n bytes at mem, which belong to the caller
// and which nobody else uses yet. Errors wrap fs.ErrInvalid.
func Init(mem unsafe.Pointer, n uintptr, g Geometry) error { return initAt(mem, n, g, 0) }

// initAt makes an empty ring whose next position is pos.
func initAt(mem unsafe.Pointer, n uintptr, g Geometry, pos uint64) error {
	if err := g.check(mem, n); err != nil {
		return err
	}
	c := (*control)(mem)
	c.capacity, c.size, c.stride = uint64(g.Capacity), uint64(g.Size), uint64(g.Stride)
	r := ring{mem: mem, base: unsafe.Add(mem, controlSize), mask: uint64(g.Capacity) - 1, stride: g.Stride, size: g.Size}
	for p := pos; p < pos+uint64(g.Capacity); p++ {
		r.seq(r.slot(2 * p)).Store(2 * p)
	}
	c.tail.Store(2 * pos)
	c.head.Store(2 * pos)
	return nil
}

// Read returns the shape of the ring at mem, as its memory says, after a check
// that such a ring fits into the n bytes there. Errors wrap ErrCorrupt.
func Read(mem unsafe.Pointer, n uintptr) (Geometry, error) {
	if n < controlSize || uintptr(mem)%Align != 0 {
		return Geometry{}, fmt.Errorf("spsc: no room for a ring in %d bytes at %p: %w", n, mem, ErrCorrupt)
	}
	c := *(*struct{ capacity, size, stride uint64 })(mem) // copied before it is checked
	if c.capacity > MaxCapacity || c.size > MaxSize {
		return Geometry{}, fmt.Errorf("spsc: %d messages of %d bytes: %w", c.capacity, c.size, ErrCorrupt)
	}
	g := Geometry{Capacity: int(c.capacity), Size: uintptr(c.size), Stride: uintptr(c.stride)}
	if err := g.check(mem, n); err != nil {
		return Geometry{}, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	return g, nil
}
