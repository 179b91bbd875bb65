package schema

import (
	"errors"
	"fmt"
	"reflect"
)

// ErrType is what every error of [Of] wraps.
var ErrType = errors.New("type cannot travel between processes")

// Of returns the layout of t, or an error that wraps [ErrType] and names the
// first field, in order of the structure, that keeps values of t from being
// copied between processes, and what to use instead. The path starts with the
// name of t, or T if it has none, and has [] for the elements of an array.
//
// Bools, integers but uintptr, floats, complex numbers, and arrays and structs
// of those may travel, as may types without any bytes. Pointers, strings,
// slices, maps, funcs, interfaces, chans, uintptr, unsafe.Pointer and all that
// comes from package sync or sync/atomic may not.
func Of(t reflect.Type) (*Layout, error) {
	if t == nil {
		return nil, fmt.Errorf("%w: there is no type (nil)", ErrType)
	}
	var name string
	if t.PkgPath() != "" { // predeclared types have a name, but no package
		name = printable(t.Name())
	}
	c := checker{nodes: make(map[reflect.Type]*Node), path: []byte(name)}
	if name == "" {
		c.path = []byte("T")
	}
	root, err := c.node(t, 1)
	if err != nil {
		return nil, err
	}
	return newLayout(name, root), nil
}

// checker turns types into nodes, each type once.
type checker struct {
	nodes map[reflect.Type]*Node
	path  []byte // of the type in hand
}

// goKinds has the scalars; int and uint come by their size.
var goKinds = map[reflect.Kind]Kind{
	reflect.Bool: Bool,
	reflect.Int:  Int, reflect.Int8: Int, reflect.Int16: Int, reflect.Int32: Int, reflect.Int64: Int,
	reflect.Uint: Uint, reflect.Uint8: Uint, reflect.Uint16: Uint, reflect.Uint32: Uint, reflect.Uint64: Uint,
	reflect.Float32: Float, reflect.Float64: Float,
	reflect.Complex64: Complex, reflect.Complex128: Complex,
}

// node returns the node of t, to which depth-1 types lead. The depth bounds
// the recursion; a node met before was as deep as seal found it.
func (c *checker) node(t reflect.Type, depth int) (*Node, error) {
	if n := c.nodes[t]; n != nil {
		return n, nil
	}
	if what, instead := refused(t); what != "" {
		return nil, c.fail("is " + what + "; " + instead)
	}
	if depth > maxDepth {
		return nil, c.fail("is " + errDeep.Error() + "; use a flatter type")
	}
	n := &Node{Kind: goKinds[t.Kind()], Size: t.Size(), Align: uintptr(t.Align())}
	var err error
	switch t.Kind() {
	case reflect.Array:
		n.Kind, n.Len = Array, uintptr(t.Len())
		n.Elem, err = c.child("[]", t.Elem(), depth)
	case reflect.Struct:
		n.Kind, n.Fields = Struct, make([]Field, t.NumField())
		for i := 0; i < len(n.Fields) && err == nil; i++ {
			f := t.Field(i)
			n.Fields[i] = Field{Name: f.Name, Offset: f.Offset}
			n.Fields[i].Type, err = c.child("."+f.Name, f.Type, depth)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := n.seal(); err != nil {
		return nil, c.fail("is " + err.Error() + "; use a flatter type") // no other rule can fail here
	}
	c.nodes[t] = n
	return n, nil
}

func (c *checker) child(step string, t reflect.Type, depth int) (*Node, error) {
	was := len(c.path)
	c.path = append(c.path, step...)
	n, err := c.node(t, depth+1)
	c.path = c.path[:was]
	return n, err
}

func (c *checker) fail(why string) error {
	return fmt.Errorf("%w: %s %s", ErrType, clipMiddle(string(c.path)), why)
}
