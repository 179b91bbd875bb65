package waiter

import (
	"reflect"
	"testing"

	"github.com/shmkit/shm/internal/lint"
)

func TestMemoryLayoutDocument(t *testing.T) {
	tables, err := lint.Tables("../docs/memory-layout.md")
	if err != nil {
		t.Fatal(err)
	}
	event := reflect.TypeFor[Event]()
	if err := tables["Event"].Struct(event); err != nil {
		t.Error(err)
	}
	counts := reflect.TypeFor[Counts]()
	if err := tables["Counts of waiting"].Struct(counts); err != nil {
		t.Error(err)
	}
	if counts.Size() != CountsSize {
		t.Errorf("CountsSize is %d, Counts has %d bytes", CountsSize, counts.Size())
	}
	if event.Size() != Size {
		t.Errorf("Size is %d, an Event has %d bytes", Size, event.Size())
	}
	if err := tables["Event flag"].Bits(map[string]uint64{
		"raised": raised, "over": over, "fence": fence, "epoch": uint64(wish &^ fence),
	}); err != nil {
		t.Error(err)
	}
	if epoch&(epoch-1) != 0 || wish&^fence != ^uint32(epoch-1) {
		t.Errorf("epoch %#x is not the lowest bit of its part", epoch)
	}
}
