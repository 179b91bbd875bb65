package schema_test

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/shmkit/shm/internal/schema"
)

// One process describes what it sends; another, which knows only the bytes of
// the description, prints a value.
func Example() {
	type Leg struct {
		Qty int32
		Px  float32
	}
	type Order struct {
		ID   uint32
		Note [3]byte
		Legs [2]Leg
	}
	l, err := schema.Of(reflect.TypeFor[Order]())
	if err != nil {
		fmt.Println(err)
		return
	}
	section, err := l.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	v := Order{ID: 7, Note: [3]byte{'b', 'u', 'y'}, Legs: [2]Leg{{1, 100}, {-1, 103.5}}}
	memory := unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))

	known, err := schema.Decode(section)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(known)
	fmt.Println(known.Fingerprint() == l.Fingerprint())
	fmt.Println(string(known.AppendText(nil, memory)))
	// Output:
	// Order{ID uint32 @0; Note [3]uint8 @4; Legs [2]{Qty int32 @0; Px float32 @4} @8} size 24 align 4
	// true
	// {ID:7 Note:[98 117 121] Legs:[{Qty:1 Px:100} {Qty:-1 Px:103.5}]}
}

func ExampleOf() {
	type Leg struct{ Note string }
	type Order struct {
		ID   uint64
		Legs [4]Leg
	}
	_, err := schema.Of(reflect.TypeFor[Order]())
	fmt.Println(err)
	// Output:
	// type cannot travel between processes: Order.Legs[].Note is a string; use [N]byte and a length, or a Buf channel
}
