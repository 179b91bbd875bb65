package slabpool_test

import (
	"errors"
	"fmt"

	"github.com/shmkit/shm/slabpool"
)

// A block goes from one endpoint to another, which sees it as a struct.
func Example() {
	type frame struct {
		Number uint64
		Pixels [1024]byte
	}
	camera, err := slabpool.Memfd(slabpool.Class{Size: 4096, Count: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer camera.Close()
	screen, err := camera.Attach() // here; FromFile and Open do it in another process
	if err != nil {
		fmt.Println(err)
		return
	}
	defer screen.Close()

	h, _ := camera.TryAlloc(2000)
	b, _ := camera.Bytes(h)
	f, err := slabpool.As[frame](b)
	fmt.Println(err == nil)
	f.Number = 7
	fmt.Println(camera.Give(h, screen.Owner()))

	b, _ = screen.Bytes(h) // the handle has come through some channel
	f, _ = slabpool.As[frame](b)
	fmt.Println(f.Number)
	fmt.Println(screen.Free(h))
	fmt.Println(errors.Is(camera.Free(h), slabpool.ErrStaleHandle))
	// Output:
	// true
	// <nil>
	// 7
	// <nil>
	// true
}
