package schema

import (
	"encoding/binary"
	"fmt"
)

// MaxEncoded is the most that Encode returns and [Decode] takes, in bytes.
const MaxEncoded = 16 << 10

// version is the first byte of an encoding. Zero is kept for memory that
// nobody has written.
const version = 1

// The encoding, in which every number is a uvarint and every text a length and
// its bytes:
//
//	version  byte, 1
//	name     text
//	count    of nodes, at least 1
//	nodes    each after those that it refers to; the last is the root
//	padding  any number of zero bytes
//
//	node     kind, as a byte, and then
//	scalar   size, align
//	array    length, element's node
//	struct   size, align, number of fields; for each its node, offset, name
//
// A node is referred to by its place, from 0. Equal nodes are written once.

// Encode returns the layout as bytes, for [Decode]. Equal layouts with equal
// names have equal encodings. It fails if they would exceed [MaxEncoded], as
// with thousands of fields; such a T can still travel, but tools cannot show it.
func (l *Layout) Encode() ([]byte, error) {
	e := encoder{places: make(map[*Node]uint64), texts: make(map[string]uint64)}
	e.node(l.Root)
	b := appendText([]byte{version}, l.Name)
	b = binary.AppendUvarint(b, uint64(len(e.texts)))
	b = append(b, e.nodes...)
	if len(b) > MaxEncoded {
		return nil, fmt.Errorf("schema: layout of %s takes %d bytes, of which there are %d; use fewer fields or shorter names",
			l.subject(), len(b), MaxEncoded)
	}
	return b, nil
}

// subject is what messages call the type.
func (l *Layout) subject() string {
	if l.Name == "" {
		return "T"
	}
	return clip(l.Name)
}

type encoder struct {
	nodes  []byte
	places map[*Node]uint64
	texts  map[string]uint64 // places by the node's encoding
}

// node writes n unless its like is there, and returns its place. The root,
// which is higher than all others, comes last.
func (e *encoder) node(n *Node) uint64 {
	if at, ok := e.places[n]; ok {
		return at
	}
	b := []byte{byte(n.Kind)}
	number := func(v uintptr) { b = binary.AppendUvarint(b, uint64(v)) }
	if n.Kind == Array {
		number(n.Len)
		b = binary.AppendUvarint(b, e.node(n.Elem))
	} else {
		number(n.Size)
		number(n.Align)
	}
	if n.Kind == Struct {
		number(uintptr(len(n.Fields)))
		for _, f := range n.Fields {
			b = binary.AppendUvarint(b, e.node(f.Type))
			number(f.Offset)
			b = appendText(b, f.Name)
		}
	}
	at, ok := e.texts[string(b)]
	if !ok {
		at = uint64(len(e.texts))
		e.texts[string(b)] = at
		e.nodes = append(e.nodes, b...)
	}
	e.places[n] = at
	return at
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
