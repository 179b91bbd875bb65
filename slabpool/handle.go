package slabpool

import "fmt"

// A Handle names a block and how many bytes of it are in use. It has 16 bytes
// and no pointers, so it may travel through any channel of the library and lie
// anywhere in shared memory; any process that is attached to the pool can use
// it, if it holds the block. The zero Handle is that of no block.
//
// A Handle is checked at every use: it may come from anywhere.
type Handle struct {
	block uint64 // generation<<24 | index
	shape uint64 // tag<<40 | class<<36 | length
}

const (
	indexBits = 24
	indexMask = 1<<indexBits - 1

	lenBits    = 36
	lenMask    = 1<<lenBits - 1
	classShift = lenBits
	classMask  = MaxClasses - 1
	tagShift   = 40
	tagMask    = 1<<24 - 1
)

func makeHandle(tag uint64, class int, index uint32, gen uint64, n int) Handle {
	return Handle{gen<<indexBits | uint64(index), tag<<tagShift | uint64(class)<<classShift | uint64(n)}
}

// Class returns the number of the block's class, by size.
func (h Handle) Class() int { return int(h.shape >> classShift & classMask) }

// Index returns the number of the block in its class.
func (h Handle) Index() int { return int(h.block & indexMask) }

// Generation counts the uses of the block, from a random number on.
func (h Handle) Generation() uint64 { return h.block >> indexBits }

// Len returns how many bytes of the block are in use.
func (h Handle) Len() int { return int(h.shape & lenMask) }

// WithLen returns a handle of the same block with another length. One that
// the block has no room for is refused when the handle is used.
func (h Handle) WithLen(n int) Handle {
	if n < 0 || n > MaxSize {
		n = MaxSize
	}
	h.shape = h.shape&^lenMask | uint64(n)
	return h
}

func (h Handle) tag() uint64 { return h.shape >> tagShift }

// String is for people.
func (h Handle) String() string {
	return fmt.Sprintf("block %d of class %d, generation %d, %d bytes", h.Index(), h.Class(), h.Generation(), h.Len())
}
