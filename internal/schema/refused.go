package schema

import "reflect"

// named are types that fields of theirs would give away, but whose name says
// better what to use.
var named = map[string]string{
	"time.Time":          "use int64 from UnixNano()",
	"net/netip.Addr":     "use [16]byte from As16()",
	"net/netip.AddrPort": "use [16]byte from Addr().As16() and a uint16",
}

// refusedKinds has the kinds that cannot travel, each with its article and
// what to use instead.
var refusedKinds = map[reflect.Kind]struct{ what, instead string }{
	reflect.String:        {"a string", "use [N]byte and a length, or a Buf channel"},
	reflect.Slice:         {"a slice", "use an array and a length, or a Buf channel"},
	reflect.Map:           {"a map", "use an array of keys and values, or a Buf channel with an encoding of it"},
	reflect.Func:          {"a func", "use a number by which the receiver finds its own function"},
	reflect.Interface:     {"an interface", "use one concrete type, or a channel for each type"},
	reflect.Chan:          {"a chan", "use a second channel between the processes, sent by its name in [N]byte"},
	reflect.Pointer:       {"a pointer", "use the value itself, or a slab handle"},
	reflect.UnsafePointer: {"an unsafe.Pointer", "use a slab handle, or an offset in uint64"},
	reflect.Uintptr:       {"a uintptr", "use uint64"},
}

// refused says what t itself is that cannot travel, and what to use instead;
// both are empty if only its parts can tell.
func refused(t reflect.Type) (what, instead string) {
	switch t.PkgPath() {
	case "sync", "internal/sync":
		return "a " + clip(t.String()), "leave it out: a lock has no meaning once copied"
	case "sync/atomic":
		return "an " + clip(t.String()), "use the plain value: an atomic has no meaning once copied"
	}
	if instead := named[t.PkgPath()+"."+t.Name()]; instead != "" {
		return "a " + t.String(), instead
	}
	r, ok := refusedKinds[t.Kind()]
	if !ok {
		return "", ""
	}
	if t.String() != t.Kind().String() { // more than the kind says
		r.what += " (" + clip(t.String()) + ")"
	}
	return r.what, r.instead
}
