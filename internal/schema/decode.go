package schema

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrEncoding is what every error of [Decode] wraps.
var ErrEncoding = errors.New("schema: bad encoding of a layout")

// Decode returns the layout that Encode wrote to b, which zero bytes may
// follow. It trusts nothing in b: its result satisfies every rule that a
// layout of a Go type does, or there is an error that wraps [ErrEncoding].
// Whether it is the layout of the channel, the fingerprint tells.
func Decode(b []byte) (*Layout, error) {
	if len(b) > MaxEncoded {
		return nil, fmt.Errorf("%w: %d bytes, at most %d expected", ErrEncoding, len(b), MaxEncoded)
	}
	d := decoder{rest: bytes.Clone(b)} // so that each byte is the same at every look
	d.size = len(d.rest)
	l, err := d.layout()
	if err != nil {
		return nil, fmt.Errorf("%w: at byte %d: %w", ErrEncoding, d.size-len(d.rest), err)
	}
	return l, nil
}

var (
	errShort  = errors.New("it ends early")
	errNumber = errors.New("a number is too big, or longer than it need be")
)

// decoder reads from rest. Every node and every field takes bytes, so their
// number, and all that is allocated, is bounded by those. Nodes refer to
// earlier ones only: there is no recursion and no cycle.
type decoder struct {
	rest  []byte
	size  int
	nodes []*Node
	used  []bool // by a later node
}

func (d *decoder) layout() (*Layout, error) {
	v, err := d.byte()
	if err != nil {
		return nil, err
	}
	if v != version {
		return nil, fmt.Errorf("version %d, of which this program knows only %d", v, version)
	}
	name, err := d.text()
	if err != nil {
		return nil, err
	}
	if !isPrintable(name) {
		return nil, errors.New("the name cannot be printed")
	}
	count, err := d.number()
	if err != nil {
		return nil, err
	}
	if count == 0 {
		return nil, errors.New("there are no nodes")
	}
	for range count { // each takes a byte at least, so errShort ends this soon
		if err := d.node(); err != nil {
			return nil, err
		}
	}
	return d.root(name)
}

// root ends the reading: all nodes must be in use, and only zeros be left.
func (d *decoder) root(name string) (*Layout, error) {
	last := len(d.nodes) - 1
	for i, used := range d.used[:last] {
		if !used {
			return nil, fmt.Errorf("node %d belongs to nothing", i)
		}
	}
	for _, c := range d.rest {
		if c != 0 {
			return nil, errors.New("more follows the root")
		}
	}
	return newLayout(name, d.nodes[last]), nil
}

// node reads one node with all that it has.
func (d *decoder) node() error {
	k, err := d.byte()
	if err != nil {
		return err
	}
	n := &Node{Kind: Kind(k)}
	if n.Kind == Array {
		err = d.array(n)
	} else {
		err = d.sized(n)
	}
	if err == nil {
		err = n.seal()
	}
	if err != nil {
		return err
	}
	d.nodes, d.used = append(d.nodes, n), append(d.used, false)
	return nil
}

func (d *decoder) array(n *Node) (err error) {
	if n.Len, err = d.number(); err != nil {
		return err
	}
	n.Elem, err = d.ref()
	return err
}

func (d *decoder) sized(n *Node) (err error) {
	if n.Size, err = d.number(); err != nil {
		return err
	}
	if n.Align, err = d.number(); err != nil || n.Kind != Struct {
		return err
	}
	count, err := d.number()
	if err != nil {
		return err
	}
	n.Fields = []Field{} // as Of makes it
	for range count {    // each takes a byte at least, so errShort ends this soon
		f, err := d.field()
		if err != nil {
			return err
		}
		n.Fields = append(n.Fields, f)
	}
	return nil
}

func (d *decoder) field() (f Field, err error) {
	if f.Type, err = d.ref(); err != nil {
		return f, err
	}
	if f.Offset, err = d.number(); err != nil {
		return f, err
	}
	if f.Name, err = d.text(); err != nil {
		return f, err
	}
	if !isFieldName(f.Name) {
		return f, errors.New("a field's name is not one in Go")
	}
	return f, nil
}

// ref reads the place of an earlier node.
func (d *decoder) ref() (*Node, error) {
	at, err := d.number()
	if err != nil {
		return nil, err
	}
	if at >= uintptr(len(d.nodes)) {
		return nil, fmt.Errorf("node %d refers to node %d, which is not before it", len(d.nodes), at)
	}
	d.used[at] = true
	return d.nodes[at], nil
}

func (d *decoder) byte() (byte, error) {
	if len(d.rest) == 0 {
		return 0, errShort
	}
	c := d.rest[0]
	d.rest = d.rest[1:]
	return c, nil
}

// number reads a number that fits an int, in its shortest form.
func (d *decoder) number() (uintptr, error) {
	v, n := binary.Uvarint(d.rest)
	if n == 0 {
		return 0, errShort
	}
	if n < 0 || v > math.MaxInt || n > 1 && d.rest[n-1] == 0 {
		return 0, errNumber
	}
	d.rest = d.rest[n:]
	return uintptr(v), nil
}

func (d *decoder) text() (string, error) {
	n, err := d.number()
	if err != nil {
		return "", err
	}
	if n > uintptr(len(d.rest)) {
		return "", errShort
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s, nil
}
