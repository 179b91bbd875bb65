package spsc_test

import (
	"fmt"
	"unsafe"

	"github.com/shmkit/shm/shmchan/spsc"
)

func Example() {
	g, err := spsc.Plan(4, unsafe.Sizeof(int64(0)))
	if err != nil {
		panic(err)
	}
	// Any memory that is aligned to spsc.Align and that both ends can see.
	mem := make([]byte, g.Bytes()+spsc.Align)
	at := unsafe.Add(unsafe.Pointer(&mem[0]), -uintptr(unsafe.Pointer(&mem[0]))%spsc.Align)
	if err := spsc.Init(at, g.Bytes(), g); err != nil {
		panic(err)
	}
	p, err := spsc.AttachProducer(at, g.Bytes(), g)
	if err != nil {
		panic(err)
	}
	c, err := spsc.AttachConsumer(at, g.Bytes(), g)
	if err != nil {
		panic(err)
	}

	for i := int64(1); ; i++ {
		slot := p.Slot()
		if slot == nil {
			break // full
		}
		*(*int64)(slot) = i * i
		p.Publish()
	}
	for slot := c.Slot(); slot != nil; slot = c.Slot() {
		fmt.Print(*(*int64)(slot), " ")
		c.Release()
	}
	// Output: 1 4 9 16
}
