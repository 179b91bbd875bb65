package schema

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

type (
	text           string
	base           struct{ ID uint32 }
	withPtr        struct{ P *base }
	stamp          time.Time
	mutex          sync.Mutex
	pair[A, B any] struct {
		A A
		B B
	}
	flags struct {
		base
		_  [3]byte
		On bool
		_  struct{}
	}
)

func TestOfRefusesWhatHasNoMeaningElsewhere(t *testing.T) {
	type order struct {
		ID   uint64
		Legs [4]struct{ Note string }
		Px   *float64 // only the first offender is named
	}
	for _, c := range []struct {
		t    reflect.Type
		want string
	}{
		{reflect.TypeFor[order](), "order.Legs[].Note is a string; use [N]byte and a length, or a Buf channel"},
		{reflect.TypeFor[string](), "T is a string; use [N]byte and a length, or a Buf channel"},
		{reflect.TypeFor[text](), "text is a string (schema.text); use [N]byte and a length, or a Buf channel"},
		{reflect.TypeFor[[]byte](), "T is a slice ([]uint8); use an array and a length, or a Buf channel"},
		{reflect.TypeFor[struct{ M map[string]int }](), "T.M is a map (map[string]int); use an array of keys and values, or a Buf channel with an encoding of it"},
		{reflect.TypeFor[struct{ F func(int) }](), "T.F is a func (func(int)); use a number by which the receiver finds its own function"},
		{reflect.TypeFor[any](), "T is an interface (interface {}); use one concrete type, or a channel for each type"},
		{reflect.TypeFor[struct{ Err error }](), "T.Err is an interface (error); use one concrete type, or a channel for each type"},
		{reflect.TypeFor[chan int](), "T is a chan (chan int); use a second channel between the processes, sent by its name in [N]byte"},
		{reflect.TypeFor[withPtr](), "withPtr.P is a pointer (*schema.base); use the value itself, or a slab handle"},
		{reflect.TypeFor[[2][3]unsafe.Pointer](), "T[][] is an unsafe.Pointer; use a slab handle, or an offset in uint64"},
		{reflect.TypeFor[uintptr](), "T is a uintptr; use uint64"},
		{reflect.TypeFor[[0]string](), "T[] is a string; use [N]byte and a length, or a Buf channel"},
		{reflect.TypeFor[struct{ _ []int }](), "T._ is a slice ([]int); use an array and a length, or a Buf channel"},
		{reflect.TypeFor[struct{ At time.Time }](), "T.At is a time.Time; use int64 from UnixNano()"},
		{reflect.TypeFor[struct{ time.Time }](), "T.Time is a time.Time; use int64 from UnixNano()"},
		{reflect.TypeFor[stamp](), "stamp.loc is a pointer (*time.Location); use the value itself, or a slab handle"},
		{reflect.TypeFor[netip.Addr](), "Addr is a netip.Addr; use [16]byte from As16()"},
		{reflect.TypeFor[netip.AddrPort](), "AddrPort is a netip.AddrPort; use [16]byte from Addr().As16() and a uint16"},
		{reflect.TypeFor[struct{ mu sync.Mutex }](), "T.mu is a sync.Mutex; leave it out: a lock has no meaning once copied"},
		{reflect.TypeFor[sync.WaitGroup](), "WaitGroup is a sync.WaitGroup; leave it out: a lock has no meaning once copied"},
		{reflect.TypeFor[struct{ L sync.Locker }](), "T.L is a sync.Locker; leave it out: a lock has no meaning once copied"},
		{reflect.TypeFor[struct{ N atomic.Int64 }](), "T.N is an atomic.Int64; use the plain value: an atomic has no meaning once copied"},
		{reflect.TypeFor[struct{ P atomic.Pointer[int] }](), "T.P is an atomic.Pointer[int]; use the plain value: an atomic has no meaning once copied"},
		{reflect.TypeFor[pair[int, string]](), "pair[int,string].B is a string; use [N]byte and a length, or a Buf channel"},
		{nil, "there is no type (nil)"},
	} {
		l, err := Of(c.t)
		if l != nil || !errors.Is(err, ErrType) {
			t.Errorf("Of(%v) = %v, %v; want an ErrType", c.t, l, err)
			continue
		}
		if want := "type cannot travel between processes: " + c.want; err.Error() != want {
			t.Errorf("Of(%v):\n got %s\nwant %s", c.t, err, want)
		}
	}
}

func TestOfRefusesALockUnderAnotherName(t *testing.T) {
	_, err := Of(reflect.TypeFor[mutex]())
	if !errors.Is(err, ErrType) || !strings.Contains(err.Error(), "leave it out: a lock") {
		t.Errorf("got %v", err)
	}
}

func TestLayoutReadsLikeTheDeclaration(t *testing.T) {
	needs64(t)
	for _, c := range []struct {
		t    reflect.Type
		want string
	}{
		{reflect.TypeFor[struct {
			ID   uint64
			Px   float64
			Legs [4]struct {
				Qty int32
				Px  float64
			}
		}](), "{ID uint64 @0; Px float64 @8; Legs [4]{Qty int32 @0; Px float64 @8} @16} size 80 align 8"},
		{reflect.TypeFor[base](), "base{ID uint32 @0} size 4 align 4"},
		{reflect.TypeFor[flags](), "flags{base {ID uint32 @0} @0; _ [3]uint8 @4; On bool @7; _ {} @8} size 12 align 4"},
		{reflect.TypeFor[int](), "int64 size 8 align 8"},
		{reflect.TypeFor[uint](), "uint64 size 8 align 8"},
		{reflect.TypeFor[byte](), "uint8 size 1 align 1"},
		{reflect.TypeFor[time.Duration](), "Duration int64 size 8 align 8"},
		{reflect.TypeFor[complex64](), "complex64 size 8 align 4"},
		{reflect.TypeFor[complex128](), "complex128 size 16 align 8"},
		{reflect.TypeFor[struct{}](), "{} size 0 align 1"},
		{reflect.TypeFor[[0]int64](), "[0]int64 size 0 align 8"},
		{reflect.TypeFor[[2][3]float32](), "[2][3]float32 size 24 align 4"},
		{reflect.TypeFor[[1 << 20][1 << 8]base](), "[1048576][256]{ID uint32 @0} size 1073741824 align 4"},
		{reflect.TypeFor[pair[int8, [2]bool]](), "pair[int8,[2]bool]{A int8 @0; B [2]bool @1} size 3 align 1"},
	} {
		if got := of(t, c.t).String(); got != c.want {
			t.Errorf("%v:\n got %s\nwant %s", c.t, got, c.want)
		}
	}
}

func TestDepthIsBounded(t *testing.T) {
	deep := reflect.TypeFor[int8]()
	for range maxDepth - 1 {
		deep = reflect.ArrayOf(1, deep)
	}
	of(t, deep)
	wantDeep := func(typ reflect.Type) {
		t.Helper()
		_, err := Of(typ)
		if !errors.Is(err, ErrType) || !strings.Contains(err.Error(), "is nested more than 64 deep; use a flatter type") {
			t.Errorf("got %v", err)
		}
	}
	wantDeep(reflect.ArrayOf(1, deep))
	// The second field leads to a node already made, one level too deep.
	wantDeep(reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: deep.Elem()},
		{Name: "B", Type: deep},
	}))
}

func TestMessagesAreBounded(t *testing.T) {
	long := strings.Repeat("Wörter", 1000)
	bad := reflect.StructOf([]reflect.StructField{{Name: "X" + long, Type: reflect.TypeFor[*struct{ Abcdefghijklmnopqrstuvwxyz, B, C, D, E, F, G, H int }]()}})
	for range 20 {
		bad = reflect.StructOf([]reflect.StructField{{Name: "Y" + long, Type: bad}})
	}
	_, err := Of(bad)
	if err == nil || len(err.Error()) > 600 || strings.ToValidUTF8(err.Error(), "!") != err.Error() {
		t.Errorf("got %v", err)
	}
	good := reflect.StructOf([]reflect.StructField{{Name: "X" + long, Type: reflect.TypeFor[int]()}})
	if s := of(t, good).String(); len(s) > 200 {
		t.Errorf("got %d bytes: %s", len(s), s)
	}
}

func TestALongLineIsCutButStillTellsLayoutsApart(t *testing.T) {
	needs64(t)
	var fields []reflect.StructField
	for i := range 500 {
		fields = append(fields, reflect.StructField{Name: "F" + strings.Repeat("x", i+1), Type: reflect.TypeFor[int64]()})
	}
	a := of(t, reflect.StructOf(fields)).String()
	fields[len(fields)-1].Type = reflect.TypeFor[uint64]()
	b := of(t, reflect.StructOf(fields)).String()
	if a == b || len(a) > 3<<10 || !strings.Contains(a, "... #") || !strings.HasSuffix(a, " size 4000 align 8") {
		t.Errorf("got %d bytes:\n%s\n%s", len(a), a, b)
	}
}
