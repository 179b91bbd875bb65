package shmchan

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/lint"
	"github.com/shmkit/shm/internal/schema"
	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/waiter"
)

var update = flag.Bool("update", false, "write the golden files anew")

// layoutMessage has one of each kind, and no padding, whose bytes are nobody's.
type layoutMessage struct {
	ID     uint32
	Flags  [4]bool
	Price  float64
	Legs   [2]struct{ Delta int16 }
	Vector complex64
	Count  int32
}

// layoutPair makes a channel on the heap, so that it is the same everywhere.
func layoutPair(t *testing.T) (*Sender[layoutMessage], *Receiver[layoutMessage]) {
	tx, rx, err := Pair[layoutMessage](WithCapacity(4), WithHeap())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		tx.Close()
		rx.Close()
	})
	return tx, rx
}

func TestMemoryLayoutDocument(t *testing.T) {
	tables, err := lint.Tables("../docs/memory-layout.md")
	if err != nil {
		t.Fatal(err)
	}
	tx, _ := layoutPair(t)
	var at []string
	for _, s := range tx.e.reg.Layout().Sections {
		at = append(at, fmt.Sprintf("%v v%d required %v at %d", s.Kind, s.Version, s.Required, s.Offset))
	}
	if got, want := strings.Join(at[:3], ", "), "endpoints v1 required true at 4096, events v1 required true at 4352, schema v1 required true at 4608"; got != want {
		t.Errorf("sections: %s; want %s", got, want)
	}
	if !strings.HasPrefix(at[3], "lane v1 required true") || !strings.HasPrefix(at[4], "counters v1 required false") || len(at) != 5 {
		t.Errorf("sections: %s", at[3:])
	}
	if err := tables["Counters record"].Struct(reflect.TypeFor[counters]()); err != nil {
		t.Error(err)
	}
	if roleSender != 0 || roleReceiver != 1 || roles != 2 || schema.MaxEncoded != 16<<10 {
		t.Error("a number that docs/memory-layout.md states has changed")
	}

	p, err := newPlan[layoutMessage](nil)
	if err != nil {
		t.Fatal(err)
	}
	mem, size, _, _ := tx.e.reg.Section(region.KindSchema)
	b := unsafe.Slice((*byte)(mem), size)
	sum := p.layout.Fingerprint()
	want := map[string]string{
		"fingerprint": string(sum[:]),
		"length":      string(binary.NativeEndian.AppendUint64(nil, uint64(len(p.code)))),
		"encoding":    string(p.code),
	}
	for _, row := range tables["Schema section"].Rows {
		var off, n int
		if _, err := fmt.Sscan(row[0]+" "+row[1], &off, &n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			n = len(b) - off
		}
		if got := string(b[off : off+n]); got != want[row[2]] {
			t.Errorf("schema: %s is %q, want %q", row[2], got, want[row[2]])
		}
		delete(want, row[2])
	}
	if len(want) != 0 {
		t.Errorf("the table of the schema section lacks %q", want)
	}
	if tx.e.sleep == nil || unsafe.Pointer(event(tx.e.reg, roleReceiver)) != unsafe.Add(unsafe.Pointer(event(tx.e.reg, roleSender)), waiter.Size) {
		t.Error("events are no array by role")
	}
}

func TestGoldenBytes(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the golden files are of a little-endian machine")
	}
	tx, rx := layoutPair(t)
	golden(t, "testdata/fresh.golden", tx.e.reg)
	ctx := context.Background()
	for i := range uint32(3) {
		m := layoutMessage{ID: 0xA0 + i, Flags: [4]bool{true, false, true}, Price: 1, Vector: 2, Count: -1}
		m.Legs[1].Delta = -1
		if err := tx.Send(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := rx.Recv(ctx); err != nil || m.ID != 0xA0 {
		t.Fatal(m, err)
	}
	golden(t, "testdata/used.golden", tx.e.reg)
}

func golden(t *testing.T, file string, r *region.Region) {
	t.Helper()
	got := dump(r)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: the bytes are\n%s\nwant\n%s", file, got, want)
	}
}

// dump renders the memory of a region, 16 bytes a line, without the lines that
// are 0. What depends on chance, time or process is shown as dots. It reads
// what nobody writes at the time.
func dump(r *region.Region) string {
	b := unsafe.Slice((*byte)(r.Base()), r.Size())
	masked := map[int]bool{}
	mask := func(off, n int) {
		for i := range n {
			masked[off+i] = true
		}
	}
	mask(32, 16+16+8+4+4+8) // id, boot, created, creator, checksum, lockInode
	for _, s := range r.Layout().Sections {
		switch s.Kind {
		case region.KindEndpoints:
			for role := range roles {
				mask(int(s.Offset)+128*role+8, 8+4) // start, pid
			}
		case region.KindEvents:
			for role := range roles {
				// seq counts kicks, and how a process fences is its system's matter
				mask(int(s.Offset)+waiter.Size*role, 8)
				mask(int(s.Offset)+waiter.Size*role+64, 4)
			}
		}
	}
	var out strings.Builder
	for off := 0; off < len(b); off += 16 {
		line := hex.EncodeToString(b[off : off+16])
		var cells []string
		zero := true
		for i := range 16 {
			cell := line[2*i : 2*i+2]
			if masked[off+i] {
				cell = ".."
			}
			zero = zero && cell == "00"
			cells = append(cells, cell)
		}
		if !zero {
			fmt.Fprintf(&out, "%05x  %s\n", off, strings.Join(cells, " "))
		}
	}
	fmt.Fprintf(&out, "%05x\n", len(b))
	return out.String()
}
