package schema

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
)

// Invariants of every Node that [Of] or [Decode] has returned, checked by seal:
//
//   - A scalar has a size that Go knows for its kind, and an alignment that is
//     a power of two and at most its size.
//   - An array is Len times its element: the size is the product, which fits
//     an int, and the alignment is the element's.
//   - A struct's fields lie in order, aligned and without overlap, within its
//     size, which is a multiple of its alignment.
//   - No path from it to a scalar is longer than maxDepth nodes.
//
// Nodes form a graph without cycles in which equal types may share a node, so
// that its size is that of the type's declaration. Whatever walks a graph must
// be bounded by more than the number of nodes: by its output, or by a memo.

const (
	maxDepth = 64
	maxAlign = 64
)

// Kind is what a [Node] is; together with the size it gives the Go type.
type Kind uint8

// The kinds. Their numbers are part of the encoding and of the fingerprint.
const (
	Bool    Kind = 1 + iota // bool
	Int                     // int8 to int64, int
	Uint                    // uint8 to uint64, uint
	Float                   // float32, float64
	Complex                 // complex64, complex128
	Array
	Struct
)

// kinds gives each kind its name and, for scalars, the sum of its sizes, each
// of which is a power of two.
var kinds = [...]struct {
	name  string
	sizes uintptr
}{
	Bool:    {"bool", 1},
	Int:     {"int", 1 + 2 + 4 + 8},
	Uint:    {"uint", 1 + 2 + 4 + 8},
	Float:   {"float", 4 + 8},
	Complex: {"complex", 8 + 16},
	Array:   {"array", 0},
	Struct:  {"struct", 0},
}

// String returns the kind's name in Go, without a size.
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kinds) {
		return "Kind(" + strconv.Itoa(int(k)) + ")"
	}
	return kinds[k].name
}

// Layout describes how a value lies in memory. It does not change after [Of]
// or [Decode] has made it, so any number of goroutines may use it; nothing
// else makes a valid one.
type Layout struct {
	Name  string  // of the type, without its package; empty if it has none or is predeclared
	Size  uintptr // bytes of a value
	Align uintptr // of its first byte
	Root  *Node
}

// Node is a type in a [Layout]. Treat it as read-only.
type Node struct {
	Kind   Kind
	Size   uintptr
	Align  uintptr
	Len    uintptr // of an Array
	Elem   *Node   // of an Array
	Fields []Field // of a Struct, in order of their offsets

	height int               // nodes on the longest path down, this one included
	sum    [sha256.Size]byte // of all that the fingerprint covers
}

// Field is a field of a struct.
type Field struct {
	Name   string // "_" if blank; the type's name if embedded
	Offset uintptr
	Type   *Node
}

func newLayout(name string, root *Node) *Layout {
	return &Layout{Name: name, Size: root.Size, Align: root.Align, Root: root}
}

var errDeep = errors.New("nested more than " + strconv.Itoa(maxDepth) + " deep")

// seal checks the invariants of a node whose children are sealed, and fills in
// its height and sum, and the size and alignment of an array.
func (n *Node) seal() error {
	var err error
	n.height = 1
	switch n.Kind {
	case Bool, Int, Uint, Float, Complex:
		err = n.checkScalar()
	case Array:
		err = n.sealArray()
	case Struct:
		err = n.sealStruct()
	default:
		err = fmt.Errorf("unknown kind %d", n.Kind)
	}
	if err == nil && n.height > maxDepth {
		err = errDeep
	}
	if err == nil {
		n.sum = sha256.Sum256(n.covered())
	}
	return err
}

func (n *Node) checkScalar() error {
	if !powerOfTwo(n.Size) || n.Size&kinds[n.Kind].sizes == 0 {
		return fmt.Errorf("%v of %d bytes", n.Kind, n.Size)
	}
	if !powerOfTwo(n.Align) || n.Align > n.Size {
		return fmt.Errorf("%v aligned to %d", n, n.Align)
	}
	return nil
}

func (n *Node) sealArray() error {
	hi, size := bits.Mul64(uint64(n.Len), uint64(n.Elem.Size))
	if n.Len > math.MaxInt || hi != 0 || size > math.MaxInt {
		return fmt.Errorf("array of %d elements of %d bytes is too big", n.Len, n.Elem.Size)
	}
	n.Size, n.Align = uintptr(size), n.Elem.Align
	n.height = n.Elem.height + 1
	return nil
}

func (n *Node) sealStruct() error {
	if !powerOfTwo(n.Align) || n.Align > maxAlign || n.Size > math.MaxInt || n.Size%n.Align != 0 {
		return fmt.Errorf("struct of %d bytes aligned to %d", n.Size, n.Align)
	}
	var end uintptr // of the field before
	for _, f := range n.Fields {
		t := f.Type
		switch {
		case t.Align > n.Align || f.Offset%t.Align != 0:
			return fmt.Errorf("field %s at %d is not aligned to %d", clip(f.Name), f.Offset, t.Align)
		case f.Offset < end:
			return fmt.Errorf("field %s at %d overlaps the one that ends at %d", clip(f.Name), f.Offset, end)
		case f.Offset > n.Size || t.Size > n.Size-f.Offset:
			return fmt.Errorf("field %s at %d of %d bytes exceeds a struct of %d", clip(f.Name), f.Offset, t.Size, n.Size)
		}
		end = f.Offset + t.Size
		n.height = max(n.height, t.height+1)
	}
	return nil
}

// covered returns what the fingerprint covers of n. The sums of its children
// stand for them, so that shared nodes are hashed once.
func (n *Node) covered() []byte {
	word := func(b []byte, v uintptr) []byte { return binary.LittleEndian.AppendUint64(b, uint64(v)) }
	b := word(word([]byte{byte(n.Kind)}, n.Size), n.Align)
	switch n.Kind {
	case Array:
		b = append(word(b, n.Len), n.Elem.sum[:]...)
	case Struct:
		b = word(b, uintptr(len(n.Fields)))
		for _, f := range n.Fields {
			b = append(word(b, f.Offset), f.Type.sum[:]...)
		}
	}
	return b
}

// Fingerprint is equal for two layouts if and only if kinds, sizes, offsets,
// alignments and array lengths are equal throughout, short of a collision of
// SHA-256 cut to 128 bits. Names do not count; an int counts as the intN of
// its size. It is the same for every build on machines of one kind.
func (l *Layout) Fingerprint() [16]byte {
	return [16]byte(l.Root.sum[:16])
}

func powerOfTwo(v uintptr) bool { return v != 0 && v&(v-1) == 0 }
