package region

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/shmkit/shm/internal/lint"
)

// layoutTables reads docs/memory-layout.md.
func layoutTables(t *testing.T) map[string]*lint.Table {
	tables, err := lint.Tables("../docs/memory-layout.md")
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

func TestMemoryLayoutDocument(t *testing.T) {
	tables := layoutTables(t)
	for title, s := range map[string]reflect.Type{
		"Region header":   reflect.TypeFor[header](),
		"Section entry":   reflect.TypeFor[sectionEntry](),
		"Endpoint record": reflect.TypeFor[endpoint](),
	} {
		if err := tables[title].Struct(s); err != nil {
			t.Error(err)
		}
	}

	kinds := map[string]uint64{}
	for k := Kind(1); !strings.HasPrefix(k.String(), "kind "); k++ {
		kinds[k.String()] = uint64(k)
	}
	if err := tables["Kinds of sections"].Values(kinds); err != nil {
		t.Error(err)
	}
	phases := map[string]uint64{}
	for p := Phase(0); !strings.HasPrefix(p.String(), "phase "); p++ {
		phases[p.String()] = uint64(p)
	}
	if err := tables["Phases"].Values(phases); err != nil {
		t.Error(err)
	}
	if unpack(uint64(len(phases))).Phase != Dead {
		t.Error("a phase past the last does not count as dead")
	}
	if err := tables["Endpoint word"].Bits(map[string]uint64{
		"phase":  State{Phase: 0xff}.pack(),
		"epoch":  State{Epoch: 0xffffffff}.pack(),
		"deaths": State{Deaths: maxDeaths}.pack(),
	}); err != nil {
		t.Error(err)
	}
	if err := tables["Lock file"].Values(map[string]uint64{
		"name":   nameByte,
		"role 0": uint64(roleByte(0)), "transit 0": uint64(transitByte(0)),
		"role 1": uint64(roleByte(1)), "transit 1": uint64(transitByte(1)),
	}); err != nil {
		t.Error(err)
	}
}

// TestMemoryLayoutNumbers holds the numbers in the text around the tables.
func TestMemoryLayoutNumbers(t *testing.T) {
	if layoutVersion != 1 || headerSize != 4096 || maxSections != 64 || headerFixed != 128 || endpointSize != 128 ||
		endpointVersion != 1 || minAlign != 64 || nativeOrder != 0x01020304 || stateLive != 0 || flagRequired != 1 || hugePage != 2<<20 {
		t.Error("a number that docs/memory-layout.md states has changed")
	}
	if string(magic[:]) != "shmkit\r\n" {
		t.Errorf("magic %q", magic)
	}
	l, err := (&Config{Roles: 2, Sections: []Section{{Kind: KindLane, Size: 1}}}).plan()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(l.Sections[0].Offset, l.Sections[1].Offset, l.Size); got != "4096 4352 8192" {
		t.Errorf("endpoints, the next section and the size are at %s", got)
	}
	// The checksum covers bytes 0 to 127 and the used table, but for itself
	// and the state.
	var h header
	h.write(l)
	same := h
	same.state.Store(1)
	same.table[len(l.Sections)].size = 1
	if same.sum() != h.checksum {
		t.Error("the checksum covers what may change")
	}
	for name, change := range map[string]func(*header){
		"magic": func(h *header) { h.magic[0]++ },
		"inode": func(h *header) { h.lockInode++ },
		"table": func(h *header) { h.table[len(l.Sections)-1].reserved++ },
	} {
		other := h
		change(&other)
		if other.sum() == h.checksum {
			t.Errorf("the checksum does not cover %s", name)
		}
	}
}

// rowsOf returns what lies at the places that a table gives to its fields; the
// last of size 0 goes to the end.
func rowsOf(t *testing.T, table *lint.Table, b []byte) map[string][]byte {
	got := map[string][]byte{}
	for _, row := range table.Rows {
		var off, size int
		if _, err := fmt.Sscan(row[0]+" "+row[1], &off, &size); err != nil {
			t.Fatal(err)
		}
		if size == 0 {
			size = len(b) - off
		}
		got[row[2]] = b[off : off+size]
	}
	return got
}

func checkRows(t *testing.T, title string, got, want map[string][]byte) {
	for name := range want {
		if !bytes.Equal(got[name], want[name]) {
			t.Errorf("%s: %s is %q, want %q", title, name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d fields, want %d", title, len(got), len(want))
	}
}
