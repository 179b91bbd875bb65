package slabpool

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/lint"
)

func TestMemoryLayoutDocument(t *testing.T) {
	tables, err := lint.Tables("../docs/memory-layout.md")
	must(t, err)
	for title, s := range map[string]reflect.Type{
		"Pool control block": reflect.TypeFor[control](),
		"Pool class words":   reflect.TypeFor[classWords](),
		"Pool record":        reflect.TypeFor[record](),
		"Handle":             reflect.TypeFor[Handle](),
	} {
		if err := tables[title].Struct(s); err != nil {
			t.Error(err)
		}
	}
	err = tables["Block state"].Bits(map[string]uint64{
		"queued": queued, "cached": cached, "flight": flight, "hops": hops, "owners": owners, "generation": genMask << genShift,
	})
	if err != nil {
		t.Error(err)
	}
	h := makeHandle(tagMask, classMask, indexMask, genMask, lenMask)
	if h.block != ^uint64(0) || h.shape != ^uint64(0) {
		t.Errorf("a handle of all ones is %#x %#x", h.block, h.shape)
	}
	if h := makeHandle(1, 0, 0, 0, 0); h.shape != 1<<40 {
		t.Errorf("tag at %#x", h.shape)
	}
	if nothing != 0 || looking != 1 || hidden != 2 || hiddenStep != 4 || controlSize != 512 {
		t.Error("a number that docs/memory-layout.md states has changed")
	}
	// Places: neighbours on different lines, blocks where the text says.
	g, err := Plan(Class{100, 9}, Class{4096, 3})
	must(t, err)
	mem := memory(g.Bytes())
	p := &g.classes[0]
	seen := map[unsafe.Pointer]bool{}
	for i := range uint32(9) {
		r := unsafe.Pointer(p.record(mem, i))
		if want := unsafe.Add(mem, 512+2*128+int(i%4)*64+int(i/4)*16); r != want {
			t.Errorf("record %d at %d, want %d", i, uintptr(r)-uintptr(mem), uintptr(want)-uintptr(mem))
		}
		seen[r] = true
	}
	if len(seen) != 9 || p.stride != 128 || g.classes[1].blocks%4096 != 0 || g.classes[1].stride != 4096 {
		t.Errorf("%d records, %+v", len(seen), g.classes)
	}
}
