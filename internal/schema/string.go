package schema

import (
	"fmt"
	"strconv"
)

// maxLine is the length beyond which String begins no further field. What one
// field and the closing braces add is bounded too: no line exceeds 3 KiB.
const maxLine = 1024

// String returns the layout in a line that people can compare:
//
//	Order{ID uint64 @0; Px float64 @8; Legs [4]{Qty int32 @0; Px float64 @8} @16} size 80 align 8
//
// A line that would exceed about 1 KiB is cut at "..." and has the start of
// the fingerprint there, so that lines differ wherever layouts do.
func (l *Layout) String() string {
	w := lineWriter{b: []byte(l.Name)}
	if l.Name != "" && l.Root.Kind != Struct {
		w.b = append(w.b, ' ')
	}
	if !w.node(l.Root) {
		w.b = fmt.Appendf(w.b, dots+" #%x", l.Root.sum[:4])
	}
	return string(fmt.Appendf(w.b, " size %d align %d", l.Size, l.Align))
}

// String returns the type as the String of a [Layout] shows it.
func (n *Node) String() string {
	var w lineWriter
	if !w.node(n) {
		w.b = append(w.b, dots...)
	}
	return string(w.b)
}

type lineWriter struct{ b []byte }

// node appends n and reports whether the line had room for all of it. Every
// node adds to the line, so the line's length bounds the walk.
func (w *lineWriter) node(n *Node) bool {
	if len(w.b) >= maxLine {
		return false
	}
	switch n.Kind {
	case Array:
		w.b = append(w.b, '[')
		w.b = strconv.AppendUint(w.b, uint64(n.Len), 10)
		w.b = append(w.b, ']')
		return w.node(n.Elem)
	case Struct:
		return w.fields(n.Fields)
	case Bool:
		w.b = append(w.b, "bool"...)
	default:
		w.b = append(w.b, n.Kind.String()...)
		w.b = strconv.AppendUint(w.b, uint64(n.Size)*8, 10)
	}
	return true
}

func (w *lineWriter) fields(fields []Field) bool {
	w.b = append(w.b, '{')
	for i, f := range fields {
		if i > 0 {
			w.b = append(w.b, "; "...)
		}
		w.b = append(w.b, clip(f.Name)...)
		w.b = append(w.b, ' ')
		if !w.node(f.Type) {
			return false
		}
		w.b = append(w.b, " @"...)
		w.b = strconv.AppendUint(w.b, uint64(f.Offset), 10)
	}
	w.b = append(w.b, '}')
	return true
}
