package slabpool

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/region"
)

func TestObserver(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pool")
	if _, err := Observe(name); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	p, err := Open(name, Class{64, 4}, Class{4096, 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o, err := Observe(name)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	small, err := p.TryAlloc(60)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := p.TryAlloc(4096); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.TryAlloc(4000); !errors.Is(err, ErrExhausted) {
		t.Fatal(err)
	}
	l, err := o.Look()
	if err != nil {
		t.Fatal(err)
	}
	want := []Stats{{Class{64, 4}, 1, 0, 3, 1, 0}, {Class{4096, 2}, 2, 0, 0, 2, 1}}
	if len(l.Classes) != 2 || l.Classes[0] != want[0] || l.Classes[1] != want[1] || l.Retired || l.Waiting {
		t.Errorf("%+v", l)
	}
	if l.Classes[0] != p.Stats()[0] || l.Classes[1] != p.Stats()[1] {
		t.Errorf("the observer sees %v, the endpoint %v", l.Classes, p.Stats())
	}
	s := l.Seats[p.Owner()]
	if s.Phase != region.Attached || s.Life != region.Alive || s.PID != os.Getpid() || s.Blocks != 3 || s.Bytes != 2*4096+64 {
		t.Errorf("%+v", s)
	}
	if l.Seats[1].Blocks != 0 || l.Seats[1].Phase != region.Free {
		t.Errorf("%+v", l.Seats[1])
	}

	if err := p.Free(small); err != nil {
		t.Fatal(err)
	}
	if l, _ = o.Look(); l.Classes[0].Cached+l.Classes[0].Free != 4 || l.Classes[0].HighWater != 1 {
		t.Errorf("%+v", l.Classes[0])
	}
	if err := Remove(name); err != nil {
		t.Fatal(err)
	}
	if l, err := o.Look(); err != nil || !l.Retired {
		t.Errorf("%+v, %v", l, err)
	}
	o.Close()
	if _, err := o.Look(); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
}

func TestObserveWhatIsNoPool(t *testing.T) {
	for _, c := range []region.Config{
		{Roles: 2, Sections: []region.Section{{Kind: region.KindLane, Size: 64}}},
		{Roles: MaxOwners, Sections: []region.Section{{Kind: region.KindLane, Size: 64}}},
		{Roles: MaxOwners, Sections: []region.Section{{Kind: region.KindPool, Size: 4096, Version: sectionVersion + 1}}},
	} {
		name := filepath.Join(t.TempDir(), "other")
		r, err := region.Open(name, 0, c)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Unmap()
		if _, err := Observe(name); !errors.Is(err, ErrMismatch) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// A block is read as long as it is in the use that the handle names, and not
// after.
func TestSample(t *testing.T) {
	p, err := Heap(Class{64, 2}, Class{128, 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	mem, n, _, _ := p.reg.Section(region.KindPool)
	v, err := ViewOf(mem, uintptr(n))
	if err != nil {
		t.Fatal(err)
	}
	h, err := p.TryAlloc(10)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Bytes(h)
	if err != nil {
		t.Fatal(err)
	}
	copy(b, "0123456789")
	for _, room := range []int{0, 4, 10, 100} {
		buf := make([]byte, room)
		if n, err := v.Sample(h, buf); err != nil || n != min(room, 10) || !bytes.HasPrefix([]byte("0123456789"), buf[:n]) {
			t.Errorf("%d bytes, %v: %q", n, err, buf)
		}
	}
	buf := make([]byte, 4096)
	for what, bad := range map[string]Handle{
		"zero":       {},
		"class":      {h.block, h.shape&^(classMask<<classShift) | 2<<classShift},
		"index":      {h.block&^indexMask | 2, h.shape},
		"length":     h.WithLen(65),
		"generation": {h.block + 1<<indexBits, h.shape},
		"tag":        {h.block, h.shape ^ 1<<tagShift},
		"free":       {h.block&^indexMask | 1, h.shape},
	} {
		if n, err := v.Sample(bad, buf); !errors.Is(err, ErrStaleHandle) {
			t.Errorf("%s: %d bytes, %v", what, n, err)
		}
	}
	if err := p.Free(h); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Sample(h, buf); !errors.Is(err, ErrStaleHandle) {
		t.Errorf("after Free: %v", err)
	}
	if _, err := p.TryAlloc(10); err != nil { // the same block again
		t.Fatal(err)
	}
	if _, err := v.Sample(h, buf); !errors.Is(err, ErrStaleHandle) {
		t.Errorf("in its next use: %v", err)
	}
}

// Whatever is in the memory of a pool: a View ends, and reads nothing outside of
// it, where the checked length of the slice is the fence.
func TestViewOfHostileMemory(t *testing.T) {
	p, err := Memfd(Class{64, 8}, Class{4096, 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	mem, size, _, _ := p.reg.Section(region.KindPool)
	good := bytes.Clone(unsafe.Slice((*byte)(mem), size))
	rng := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 256)
	for range 3000 {
		room := make([]byte, len(good)+Align)
		at := (Align - int(uintptr(unsafe.Pointer(&room[0]))%Align)) % Align
		bad := room[at : at+len(good)]
		copy(bad, good)
		head := controlSize + 2*classWordsSize + 64*4
		for range 1 + rng.IntN(8) {
			bad[rng.IntN(head)] = byte(rng.Uint32())
		}
		v, err := ViewOf(unsafe.Pointer(&bad[0]), uintptr(len(bad)))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			continue
		}
		for _, s := range v.Stats() {
			if s.InUse+s.Cached+s.Free != s.Count || s.HighWater > s.Count {
				t.Fatalf("%+v", s)
			}
		}
		v.Holdings()
		for range 16 {
			h := Handle{rng.Uint64() & (1<<28 - 1), v.tag<<tagShift | rng.Uint64()>>(64-tagShift)}
			n, err := v.Sample(h, buf)
			if err == nil && n > v.Classes()[h.Class()].Size || err != nil && !errors.Is(err, ErrStaleHandle) {
				t.Fatalf("%v: %d, %v", h, n, err)
			}
		}
	}
}
