package slabpool

import (
	"fmt"
	"io/fs"
	"reflect"
	"sync"
	"unsafe"

	"github.com/shmkit/shm/internal/schema"
)

var viewable sync.Map // of reflect.Type to error, nil if a T may lie in shared memory

// As returns the bytes of a block as a *T: the first Sizeof(T) of them, in their
// place. It is valid as long as b is. T may have no pointers at any depth, as
// in a channel of T.
//
// Errors: ErrType with the path of the field; fs.ErrInvalid if b is too short
// for a T, or not aligned to one (the start of a block always is).
func As[T any](b []byte) (*T, error) {
	t := reflect.TypeFor[T]()
	bad, known := viewable.Load(t)
	if !known {
		if _, err := schema.Of(t); err != nil {
			bad = fmt.Errorf("slabpool: %w: %w", ErrType, err)
		}
		viewable.Store(t, bad)
	}
	if bad != nil {
		return nil, bad.(error)
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if uintptr(len(b)) < t.Size() {
		return nil, fmt.Errorf("slabpool: %d bytes of a block, a %v has %d: %w", len(b), t, t.Size(), fs.ErrInvalid)
	}
	if uintptr(p)%uintptr(t.Align()) != 0 {
		return nil, fmt.Errorf("slabpool: bytes at %p, a %v is aligned to %d: %w", p, t, t.Align(), fs.ErrInvalid)
	}
	return (*T)(p), nil
}
