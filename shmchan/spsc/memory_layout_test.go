package spsc

import (
	"fmt"
	"reflect"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/lint"
)

func TestMemoryLayoutDocument(t *testing.T) {
	tables, err := lint.Tables("../../docs/memory-layout.md")
	if err != nil {
		t.Fatal(err)
	}
	if err := tables["Lane control block"].Struct(reflect.TypeFor[control]()); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(tables["Slot"].Rows[1][0]); got != fmt.Sprint(seqSize) {
		t.Errorf("the message is at %s in its slot, the code has it at %d", got, seqSize)
	}
	if controlSize != 384 || Align != 128 || MaxCapacity != 1<<31 || MaxSize != 1<<30 || line != 64 {
		t.Error("a number that docs/memory-layout.md states has changed")
	}
	if len(tables["Strides"].Rows) == 0 {
		t.Error("no strides")
	}
	for _, row := range tables["Strides"].Rows {
		var size, stride uintptr
		if _, err := fmt.Sscan(row[0]+" "+row[1], &size, &stride); err != nil {
			t.Fatal(err)
		}
		g, err := Plan(4, size)
		if err != nil || g.Stride != stride {
			t.Errorf("size %d: stride %d, the code has %d (%v)", size, stride, g.Stride, err)
		}
	}
}

// TestMemoryLayoutSequences plays the table of sequences on a ring of 4.
func TestMemoryLayoutSequences(t *testing.T) {
	g, err := Plan(4, 8)
	if err != nil {
		t.Fatal(err)
	}
	mem := layoutMemory(g)
	if err := Init(mem, g.Bytes(), g); err != nil {
		t.Fatal(err)
	}
	p, err := AttachProducer(mem, g.Bytes(), g)
	if err != nil {
		t.Fatal(err)
	}
	c, err := AttachConsumer(mem, g.Bytes(), g)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p.Slot()
		p.Publish()
	}
	c.Slot()
	c.Release()
	head, tail, capacity := uint64(1), uint64(3), uint64(4)
	for pos := range head + capacity {
		want := 2 * pos
		switch {
		case pos < head:
			want = 2 * (pos + capacity)
		case pos < tail:
			want = 2*pos + 1
		}
		if got := p.seq(p.slot(2 * pos)).Load(); got != want {
			t.Errorf("position %d: sequence %d, want %d", pos, got, want)
		}
	}
	ctl := (*control)(mem)
	if ctl.tail.Load() != 2*tail || ctl.head.Load() != 2*head {
		t.Errorf("tail %d, head %d, want %d and %d", ctl.tail.Load(), ctl.head.Load(), 2*tail, 2*head)
	}
}

func layoutMemory(g Geometry) unsafe.Pointer {
	b := make([]byte, g.Bytes()+Align)
	return unsafe.Add(unsafe.Pointer(&b[0]), -uintptr(unsafe.Pointer(&b[0]))%Align)
}
