package schema

import (
	"encoding/json"
	"math"
	"strconv"
)

// AppendJSON appends the value whose memory is given to dst, as JSON, and
// returns it: a struct is an object without its blank fields, an array and a
// complex number an array, and a float that JSON has no number for ("NaN",
// "+Inf", "-Inf") a string. A value that does not fit the limits of
// [Layout.AppendText], or has too few bytes, is the string that begins with
// what AppendText would say. Any bytes will do.
func (l *Layout) AppendJSON(dst, value []byte) []byte {
	w := jsonWriter{b: dst, limit: len(dst) + maxText}
	if uintptr(len(value)) >= l.Size && w.node(l.Root, value[:l.Size]) {
		return w.b
	}
	text, _ := json.Marshal(head(string(l.AppendText(nil, value)), maxPath) + dots) // of a string: no error
	return append(dst, text...)
}

// jsonWriter appends to b until it exceeds the limit.
type jsonWriter struct {
	b     []byte
	limit int
}

// node reports whether there was room.
func (w *jsonWriter) node(n *Node, v []byte) bool {
	if len(w.b) >= w.limit {
		return false
	}
	switch n.Kind {
	case Array:
		w.b = append(w.b, '[')
		size := n.Elem.Size
		for i := range n.Len {
			if i > 0 {
				w.b = append(w.b, ',')
			}
			if !w.node(n.Elem, v[i*size:(i+1)*size]) {
				return false
			}
		}
		w.b = append(w.b, ']')
	case Struct:
		w.b = append(w.b, '{')
		first := true
		for _, f := range n.Fields {
			if f.Name == "_" {
				continue
			}
			if !first {
				w.b = append(w.b, ',')
			}
			first = false
			w.b = append(w.b, '"')
			w.b = append(w.b, f.Name...) // letters, digits and underscores: see isFieldName
			w.b = append(w.b, '"', ':')
			if !w.node(f.Type, v[f.Offset:f.Offset+f.Type.Size]) {
				return false
			}
		}
		w.b = append(w.b, '}')
	case Float:
		w.float(v)
	case Complex:
		w.b = append(w.b, '[')
		w.float(v[:len(v)/2])
		w.b = append(w.b, ',')
		w.float(v[len(v)/2:])
		w.b = append(w.b, ']')
	default:
		t := valueWriter{b: w.b}
		t.scalar(n.Kind, v)
		w.b = t.b
	}
	return true
}

func (w *jsonWriter) float(v []byte) {
	bits := 8 * len(v)
	var f float64
	if bits == 32 {
		f = float64(math.Float32frombits(uint32(load(v))))
	} else {
		f = math.Float64frombits(load(v))
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		w.b = strconv.AppendQuote(w.b, strconv.FormatFloat(f, 'g', -1, 64))
		return
	}
	w.b = strconv.AppendFloat(w.b, f, 'g', -1, bits)
}
