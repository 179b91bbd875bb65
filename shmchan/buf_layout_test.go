package shmchan

import (
	"errors"
	"reflect"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/lint"
	"github.com/shmkit/shm/region"
)

func TestBufMemoryLayoutDocument(t *testing.T) {
	tables, err := lint.Tables("../docs/memory-layout.md")
	if err != nil {
		t.Fatal(err)
	}
	if err := tables["Buf slot"].Struct(reflect.TypeFor[bufMessage]()); err != nil {
		t.Error(err)
	}
	tx, rx, err := BufPair(WithHeap())
	if err != nil {
		t.Fatal(err)
	}
	defer rx.Close()
	defer tx.Close()
	var kinds []region.Kind
	for _, s := range tx.e.reg.Layout().Sections {
		kinds = append(kinds, s.Kind)
	}
	want := []region.Kind{region.KindEndpoints, region.KindEvents, region.KindSchema, region.KindLane, region.KindCounters, region.KindPool}
	if !reflect.DeepEqual(kinds, want) {
		t.Errorf("sections %v, want %v", kinds, want)
	}
	if kindInline != 1 || kindBlock != 2 || roleSender != 0 || roleReceiver != 1 {
		t.Error("a number that docs/memory-layout.md states has changed")
	}

	// A message in the slot, and one in a block.
	for _, n := range []int{3, 100} {
		b, err := tx.TryLoan(n)
		if err != nil {
			t.Fatal(err)
		}
		copy(b.Bytes(), "abc")
		if err := tx.TrySend(b); err != nil {
			t.Fatal(err)
		}
	}
	var got []bufMessage
	tx.e.ring.Published(func(at unsafe.Pointer) { got = append(got, *(*bufMessage)(at)) })
	if len(got) != 2 || got[0].Head != 1+256*3 || string(got[0].Body[:3]) != "abc" || got[1].Head != 2 || got[1].handle().Len() != 100 {
		t.Errorf("%+v", got)
	}
}

// What a hostile peer writes to a slot is an error and no more.
func TestBufHostileSlots(t *testing.T) {
	tx, rx, err := BufPair(WithHeap(), WithCapacity(2))
	if err != nil {
		t.Fatal(err)
	}
	defer rx.Close()
	defer tx.Close()
	b, err := tx.TryLoan(100)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.TrySend(b); err != nil {
		t.Fatal(err)
	}
	m := (*bufMessage)(rx.e.ring.Slot())
	good := *m
	for _, bad := range []bufMessage{
		{}, {Head: 3}, {Head: 1 + 256*49}, {Head: 1 + 255<<56}, {Head: 2}, {Head: 2 + 256, Body: good.Body},
		{Head: 2, Body: func(b [48]byte) [48]byte { b[0]++; return b }(good.Body)},
		{Head: 2, Body: func(b [48]byte) [48]byte { b[15] ^= 1; return b }(good.Body)},
		{Head: 2, Body: func(b [48]byte) [48]byte { b[12] = 0xff; return b }(good.Body)},
	} {
		*m = bad
		if _, err := rx.TryRecv(); err == nil || !isCorrupt(err) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	*m = good
	if b, err = rx.TryRecv(); err != nil || b.Len() != 100 {
		t.Fatal(b, err)
	}
	if err := b.Release(); err != nil {
		t.Fatal(err)
	}
}

func isCorrupt(err error) bool { return errors.Is(err, ErrCorrupt) }
