package schema

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

const (
	maxElems = 128      // elements shown of an array
	maxText  = 64 << 10 // bytes of text after which a value is cut
)

// AppendText appends the value whose memory is given to dst, and returns it.
// The text is what fmt prints with %+v for a type without methods, such as
//
//	{ID:7 Px:101.5 Legs:[{Qty:1 Px:100} {Qty:-1 Px:103}]}
//
// except that an array longer than 128 ends in "... 872 more]" and a value
// whose text exceeds 64 KiB is cut at "...". Memory beyond the size of the
// layout is ignored; if there is less, the text says so in place of the value.
// Any bytes will do, wherever they come from and whether aligned or not.
func (l *Layout) AppendText(dst, value []byte) []byte {
	if uintptr(len(value)) < l.Size {
		return fmt.Appendf(dst, "%%!(%s of %d bytes, expected %d)", l.subject(), len(value), l.Size)
	}
	w := valueWriter{b: dst, limit: len(dst) + maxText}
	w.node(l.Root, value[:l.Size])
	return w.b
}

// valueWriter appends to b. Every node adds text, so the limit bounds the walk.
type valueWriter struct {
	b     []byte
	limit int
	cut   bool
}

func (w *valueWriter) node(n *Node, v []byte) {
	if len(w.b) >= w.limit {
		w.b = append(w.b, dots...)
		w.cut = true
		return
	}
	switch n.Kind {
	case Array:
		w.array(n, v)
	case Struct:
		w.fields(n.Fields, v)
	default:
		w.scalar(n.Kind, v)
	}
}

func (w *valueWriter) array(n *Node, v []byte) {
	w.b = append(w.b, '[')
	shown, size := min(n.Len, maxElems), n.Elem.Size
	for i := uintptr(0); i < shown && !w.cut; i++ {
		if i > 0 {
			w.b = append(w.b, ' ')
		}
		w.node(n.Elem, v[i*size:(i+1)*size])
	}
	if shown < n.Len && !w.cut {
		w.b = fmt.Appendf(w.b, " "+dots+" %d more", n.Len-shown)
	}
	w.b = append(w.b, ']')
}

func (w *valueWriter) fields(fields []Field, v []byte) {
	w.b = append(w.b, '{')
	for i, f := range fields {
		if w.cut {
			break
		}
		if i > 0 {
			w.b = append(w.b, ' ')
		}
		w.b = append(w.b, f.Name...)
		w.b = append(w.b, ':')
		w.node(f.Type, v[f.Offset:f.Offset+f.Type.Size])
	}
	w.b = append(w.b, '}')
}

// scalar appends a value of as many bytes as v has.
func (w *valueWriter) scalar(k Kind, v []byte) {
	switch k {
	case Bool:
		w.b = strconv.AppendBool(w.b, v[0] != 0)
	case Int:
		unused := 64 - 8*len(v)
		w.b = strconv.AppendInt(w.b, int64(load(v)<<unused)>>unused, 10)
	case Uint:
		w.b = strconv.AppendUint(w.b, load(v), 10)
	case Float:
		w.b = fmt.Append(w.b, float(v))
	case Complex:
		re, im := v[:len(v)/2], v[len(v)/2:]
		if len(v) == 8 {
			w.b = fmt.Append(w.b, complex(float(re).(float32), float(im).(float32)))
		} else {
			w.b = fmt.Append(w.b, complex(float(re).(float64), float(im).(float64)))
		}
	}
}

// float returns v as a float32 or float64.
func float(v []byte) any {
	if len(v) == 4 {
		return math.Float32frombits(uint32(load(v)))
	}
	return math.Float64frombits(load(v))
}

// load returns v, of 1, 2, 4 or 8 bytes, in the machine's order.
func load(v []byte) uint64 {
	switch len(v) {
	case 1:
		return uint64(v[0])
	case 2:
		return uint64(binary.NativeEndian.Uint16(v))
	case 4:
		return uint64(binary.NativeEndian.Uint32(v))
	default:
		return binary.NativeEndian.Uint64(v)
	}
}
