package region

import (
	"errors"
	"strings"
	"testing"
	"unsafe"
)

// image returns the header of a sound region, always the same.
func image(t testing.TB) ([]byte, uint64) {
	t.Helper()
	c := config()
	l, err := c.plan()
	if err != nil {
		t.Fatal(err)
	}
	l.ID, l.Boot = [16]byte{1, 2, 3}, [16]byte{4, 5, 6}
	l.Created, l.Creator, l.LockInode = 7, 8, 9
	var h header
	h.write(l)
	return h.bytes(), l.Size
}

func (h *header) bytes() []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(h)), headerSize)...)
}

func TestValidate(t *testing.T) {
	sound, size := image(t)
	if _, err := Validate(sound, size); err != nil {
		t.Fatal(err)
	}
	const sealed = true // with a right checksum
	for _, c := range []struct {
		name   string
		change func(h *header)
		sealed bool
		want   error
		says   string
	}{
		{"magic", func(h *header) { h.magic[0]++ }, sealed, ErrCorrupt, "want \"shmkit"},
		{"newer", func(h *header) { h.version = 2; h.headerLen = 1 }, !sealed, ErrMismatch, "version 2, this program has 1"},
		{"older", func(h *header) { h.version = 0 }, !sealed, ErrMismatch, "version 0, this program has 1"},
		{"byte order", func(h *header) { h.order = swappedOrder }, !sealed, ErrMismatch, "byte order"},
		{"order mark", func(h *header) { h.order = 1 }, sealed, ErrCorrupt, "order mark"},
		{"header length", func(h *header) { h.headerLen++ }, sealed, ErrCorrupt, "length 4097"},
		{"no sections", func(h *header) { h.sections = 0 }, sealed, ErrCorrupt, "0 sections"},
		{"too many sections", func(h *header) { h.sections = 65 }, !sealed, ErrCorrupt, "65 sections"},
		{"all sections", func(h *header) { h.sections = 1<<32 - 1 }, !sealed, ErrCorrupt, "sections"},
		{"id", func(h *header) { h.id[3]++ }, !sealed, ErrCorrupt, "checksum"},
		{"table", func(h *header) { h.table[2].version++ }, !sealed, ErrCorrupt, "checksum"},
		{"size", func(h *header) { h.size++ }, sealed, ErrCorrupt, "the file has"},
		{"kind 0", func(h *header) { h.table[1].kind = 0 }, sealed, ErrCorrupt, "no kind"},
		{"flags", func(h *header) { h.table[1].flags = 3 }, sealed, ErrCorrupt, "reserved"},
		{"reserved", func(h *header) { h.table[1].reserved = 1 }, sealed, ErrCorrupt, "reserved"},
		{"alignment", func(h *header) { h.table[1].offset += 32 }, sealed, ErrCorrupt, "multiple of 64"},
		{"in the header", func(h *header) { h.table[0].offset = 0 }, sealed, ErrCorrupt, "before the end 4096"},
		{"overlap", func(h *header) { h.table[1].offset = h.table[0].offset + 64 }, sealed, ErrCorrupt, "before the end"},
		{"order", func(h *header) { h.table[1], h.table[2] = h.table[2], h.table[1] }, sealed, ErrCorrupt, "before the end"},
		{"empty", func(h *header) { h.table[1].size = 0 }, sealed, ErrCorrupt, "0 bytes"},
		{"behind the end", func(h *header) { h.table[3].offset = 1 << 40 }, sealed, ErrCorrupt, "the region has"},
		{"too long", func(h *header) { h.table[3].size = h.size }, sealed, ErrCorrupt, "the region has"},
		{"overflow", func(h *header) { h.table[3].size = -h.table[3].offset }, sealed, ErrCorrupt, "the region has"},
		{"overflow to all", func(h *header) { h.table[3].size = 1<<64 - 1 }, sealed, ErrCorrupt, "the region has"},
		{"required unknown", func(h *header) { h.table[3].flags = flagRequired }, sealed, ErrMismatch, "kind 1000"},
		{"twice", func(h *header) { h.table[3].kind = uint32(KindLane) }, sealed, ErrCorrupt, "twice"},
		{"no endpoints", func(h *header) { h.table[0].kind = uint32(KindSchema) }, sealed, ErrCorrupt, "no endpoint table"},
		{"endpoint version", func(h *header) { h.table[0].version++ }, sealed, ErrMismatch, "endpoint table of version 2"},
		{"endpoint size", func(h *header) { h.table[0].size-- }, sealed, ErrCorrupt, "endpoint table"},
		{"endpoint alignment", func(h *header) { h.table[0].offset += 64; h.table[0].size -= 128 }, sealed, ErrCorrupt, "endpoint table"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h header
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), headerSize), sound)
			c.change(&h)
			if c.sealed && h.sections <= maxSections {
				h.checksum = h.sum()
			}
			l, err := Validate(h.bytes(), size)
			if l != nil || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v, %v; want %v that says %q", l, err, c.want, c.says)
			}
		})
	}
	for n := range headerSize {
		if _, err := Validate(sound[:n], size); !errors.Is(err, ErrCorrupt) {
			t.Fatal(n, err)
		}
	}
	for _, n := range []uint64{0, 1, headerSize, size - 1, size + 1, 1<<64 - 1} {
		if _, err := Validate(sound, n); !errors.Is(err, ErrCorrupt) {
			t.Fatal(n, err)
		}
	}
	odd := append([]byte{0}, sound...)[1:] // not aligned
	if _, err := Validate(odd, size); err != nil {
		t.Fatal(err)
	}
}

// Every flipped bit of the part under the checksum is found.
func TestValidateFlippedBits(t *testing.T) {
	b, size := image(t)
	end := int(unsafe.Offsetof(header{}.table)) + 4*32
	for i := range end {
		if i >= headerFixed && i < int(unsafe.Offsetof(header{}.table)) {
			continue
		}
		for bit := range 8 {
			b[i] ^= 1 << bit
			if _, err := Validate(b, size); err == nil {
				t.Errorf("bit %d of byte %d", bit, i)
			}
			b[i] ^= 1 << bit
		}
	}
}

// A layout that Validate accepts can be used without looking again. The input
// is the whole header, or, if patch is set, what is written over a sound one
// at the offset at.
func FuzzValidate(f *testing.F) {
	sound, size := image(f)
	f.Add(sound, size, false, uint16(0), false)
	f.Add(sound[:100], uint64(100), false, uint16(0), false)
	for _, at := range []uint16{8, 12, 16, 28, 256, 262, 264, 272, 288 + 8, 288 + 16} {
		f.Add([]byte{sound[at] + 1}, size, true, at, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, size uint64, patch bool, at uint16, reseal bool) {
		if patch {
			b2 := append([]byte(nil), sound...)
			copy(b2[at%headerSize:], b)
			b = b2
		}
		if reseal && len(b) >= headerSize {
			var h header
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), headerSize), b)
			if h.sections <= maxSections {
				h.checksum = h.sum() // so that the fuzzer comes past it
				b = h.bytes()
			}
		}
		l, err := Validate(b, size)
		if err != nil {
			if l != nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrMismatch) {
				t.Fatal(l, err)
			}
			return
		}
		if l.Size != size || l.Roles < 1 || l.Roles > maxRoles {
			t.Fatal(l)
		}
		end := uint64(headerSize)
		for _, s := range l.Sections {
			if s.Offset < end || s.Offset%64 != 0 || s.Size > l.Size || s.Offset > l.Size-s.Size {
				t.Fatal(s, end, l.Size)
			}
			end = s.Offset + s.Size
		}
		if ep, ok := l.section(KindEndpoints); !ok || ep.Size != uint64(l.Roles)*endpointSize || ep.Offset%endpointSize != 0 {
			t.Fatal(ep)
		}
	})
}

func TestLayoutLines(t *testing.T) {
	var h header
	var e endpoint
	if unsafe.Offsetof(h.checksum) != 76 || unsafe.Offsetof(h.state) != 128 || unsafe.Offsetof(h.table) != 256 ||
		unsafe.Offsetof(e.start) != 8 || unsafe.Offsetof(e.pid) != 16 {
		t.Fatal("the layout has changed: raise layoutVersion")
	}
}
