package slabpool

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
)

var bg = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}

// memory is aligned memory on the heap.
func memory(n uintptr) unsafe.Pointer {
	b := make([]byte, n+Align)
	p := unsafe.Pointer(&b[0])
	return unsafe.Add(p, -uintptr(p)&(Align-1))
}

// seats makes a pool and n endpoints of it.
func seats(t testing.TB, n, cache int, classes ...Class) []*Raw {
	t.Helper()
	g, err := Plan(classes...)
	must(t, err)
	mem := memory(g.Bytes())
	must(t, Init(mem, g.Bytes(), g))
	ps := make([]*Raw, n)
	for i := range ps {
		ps[i], err = Attach(mem, g.Bytes(), g, Seat{Owner: i, Cache: cache})
		must(t, err)
	}
	return ps
}

func TestSmallestClassThatFits(t *testing.T) {
	p := seats(t, 1, 0, Class{4096, 1}, Class{64, 2}, Class{100, 1})[0]
	var got []int
	for _, n := range []int{1, 64, 64, 65, 4096} {
		h, err := p.TryAlloc(n)
		if err != nil {
			got = append(got, -1)
			continue
		}
		b, err := p.Bytes(h)
		must(t, err)
		if len(b) != n || h.Len() != n {
			t.Errorf("%d bytes asked, %d given", n, len(b))
		}
		if uintptr(unsafe.Pointer(&b[0]))%64 != 0 {
			t.Errorf("block at %p", &b[0])
		}
		if cap(b)%4096 == 0 && uintptr(unsafe.Pointer(&b[0]))%4096 != 0 {
			t.Errorf("page-sized block at %p", &b[0])
		}
		got = append(got, cap(b))
	}
	if want := []int{64, 64, 100, 4096, -1}; !slices.Equal(got, want) {
		t.Errorf("capacities %v, want %v", got, want)
	}
	st := p.Stats()
	if st[0].Failed != 0 || st[1].Failed != 0 || st[2].Failed != 1 {
		t.Errorf("failed: %v", st)
	}
}

func TestBadSizes(t *testing.T) {
	p := seats(t, 1, 0, Class{64, 1})[0]
	for n, want := range map[int]error{0: fs.ErrInvalid, -1: fs.ErrInvalid, -1 << 63: fs.ErrInvalid, 65: ErrTooLarge, 1<<63 - 1: ErrTooLarge} {
		_, err := p.TryAlloc(n)
		is(t, err, want)
		_, err = p.Alloc(bg, n)
		is(t, err, want)
	}
	for _, cs := range [][]Class{
		{{0, 1}}, {{-1, 1}}, {{1 << 36, 1}}, {{64, 0}}, {{64, -1}}, {{64, MaxCount + 1}}, {{64, 1}, {64, 2}},
		{{1<<36 - 1, MaxCount}}, slices.Repeat([]Class{{64, 1}}, 17),
	} {
		_, err := Plan(cs...)
		is(t, err, fs.ErrInvalid)
	}
	g, _ := Plan(Class{64, 4})
	mem := memory(g.Bytes())
	is(t, Init(mem, g.Bytes()-1, g), fs.ErrInvalid)
	is(t, Init(unsafe.Add(mem, 64), g.Bytes(), g), fs.ErrInvalid)
	is(t, Init(mem, g.Bytes(), Geometry{}), fs.ErrInvalid)
	must(t, Init(mem, g.Bytes(), g))
	for _, s := range []Seat{{Owner: -1}, {Owner: 16}, {Cache: -1}, {Cache: MaxCache + 1}} {
		_, err := Attach(mem, g.Bytes(), g, s)
		is(t, err, fs.ErrInvalid)
	}
	other, _ := Plan(Class{64, 3})
	_, err := Attach(mem, g.Bytes(), other, Seat{})
	is(t, err, ErrCorrupt)
}

// Every handle that is not one of a held block is refused by every call, and
// nothing changes.
func TestBadHandles(t *testing.T) {
	ps := seats(t, 2, 0, Class{64, 2}, Class{128, 1})
	p, q := ps[0], ps[1]
	foreign := seats(t, 1, 0, Class{64, 2}, Class{128, 1})[0]
	h, err := p.TryAlloc(10)
	must(t, err)
	theirs, err := q.TryAlloc(10)
	must(t, err)
	alien, err := foreign.TryAlloc(10)
	must(t, err)
	freed, err := p.TryAlloc(100)
	must(t, err)
	must(t, p.Free(freed))
	changed := func(f func(*Handle)) Handle { x := h; f(&x); return x }
	bad := map[string]Handle{
		"zero": {}, "another owner's": theirs, "another pool's": alien, "freed": freed,
		"a free block's":     makeHandle(p.tag, 1, 0, freed.Generation()+1, 10),
		"index out of range": changed(func(h *Handle) { h.block |= indexMask }),
		"class out of range": changed(func(h *Handle) { h.shape |= classMask << classShift }),
		"too long":           h.WithLen(65), "much too long": h.WithLen(MaxSize), "negative": h.WithLen(-1),
		"next generation": changed(func(h *Handle) { h.block += 1 << indexBits }),
		"wrong class":     changed(func(h *Handle) { h.shape ^= 1 << classShift }),
	}
	before := p.Stats()
	for name, x := range bad {
		for call, f := range map[string]func() error{
			"Bytes":  func() error { _, err := p.Bytes(x); return err },
			"Free":   func() error { return p.Free(x) },
			"Retain": func() error { return p.Retain(x) },
			"Share":  func() error { return p.Share(x, 1) },
			"Give":   func() error { return p.Give(x, 1) },
			"Post":   func() error { return p.Post(x) },
			"Take":   func() error { return p.Take(x) },
		} {
			if err := f(); !errors.Is(err, ErrStaleHandle) {
				t.Errorf("%s of a handle that is %s: %v", call, name, err)
			}
		}
		if p.Untake(x, 1) {
			t.Errorf("Untake of a handle that is %s", name)
		}
	}
	if !slices.Equal(before, p.Stats()) {
		t.Errorf("%v, then %v", before, p.Stats())
	}
	for _, owner := range []int{-1, 0, 16} {
		is(t, p.Share(h, owner), fs.ErrInvalid)
		is(t, p.Give(h, owner), fs.ErrInvalid)
	}
	must(t, p.Free(h))
}

func TestHolders(t *testing.T) {
	ps := seats(t, 3, 0, Class{64, 1})
	h, err := ps[0].TryAlloc(8)
	must(t, err)
	must(t, ps[0].Share(h, 1))
	is(t, ps[0].Share(h, 1), fs.ErrInvalid)
	is(t, ps[0].Give(h, 1), fs.ErrInvalid)
	is(t, ps[0].Post(h), ErrBusy)
	must(t, ps[1].Retain(h))
	is(t, ps[1].Give(h, 2), ErrBusy)
	must(t, ps[1].Free(h))
	must(t, ps[1].Give(h, 2))
	is(t, ps[1].Free(h), ErrStaleHandle)
	must(t, ps[0].Free(h))
	_, err = ps[0].TryAlloc(8)
	is(t, err, ErrExhausted)
	if n := ps[0].Sweep(2, func() (func(Handle) bool, bool) { return nil, false }, false); n != 0 {
		t.Errorf("%d taken from an owner that is not dead", n)
	}
	if n := ps[0].Sweep(2, func() (func(Handle) bool, bool) { return nil, true }, false); n != 1 {
		t.Errorf("%d given back", n)
	}
	if n := ps[1].Sweep(2, func() (func(Handle) bool, bool) { return nil, true }, false); n != 0 {
		t.Errorf("%d given back twice", n)
	}
	_, err = ps[1].TryAlloc(8)
	must(t, err)
}

func TestPostAndTake(t *testing.T) {
	ps := seats(t, 2, 0, Class{64, 2})
	h, err := ps[0].TryAlloc(8)
	must(t, err)
	must(t, ps[0].Post(h))
	is(t, ps[0].Free(h), ErrStaleHandle)
	is(t, ps[0].Post(h), ErrStaleHandle)
	kept := func(x Handle) bool { return x.block == h.block }
	if n := ps[1].Sweep(0, func() (func(Handle) bool, bool) { return kept, true }, false); n != 0 {
		t.Errorf("%d taken back that were published", n)
	}
	must(t, ps[1].Take(h))
	is(t, ps[1].Take(h), ErrStaleHandle)
	if !ps[1].Untake(h, 0) || ps[1].Untake(h, 0) {
		t.Error("Untake once")
	}
	must(t, ps[1].Take(h))
	must(t, ps[1].Free(h))
	h, err = ps[0].TryAlloc(8)
	must(t, err)
	must(t, ps[0].Post(h))
	if n := ps[1].Sweep(0, func() (func(Handle) bool, bool) { return nil, true }, false); n != 1 {
		t.Errorf("%d taken back that were posted and not published", n)
	}
}

// What is cached by one is found by another.
func TestCachedBlocksAreNoLoss(t *testing.T) {
	ps := seats(t, 2, 8, Class{64, 16})
	var hs []Handle
	for range 16 {
		h, err := ps[0].TryAlloc(1)
		must(t, err)
		hs = append(hs, h)
	}
	for _, h := range hs {
		must(t, ps[0].Free(h))
	}
	if s := ps[0].Stats()[0]; s.Cached != 4 || s.Free != 12 || s.HighWater != 16 {
		t.Errorf("%v", s)
	}
	for i := range 16 {
		if _, err := ps[1].TryAlloc(1); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
	}
	_, err := ps[0].TryAlloc(1)
	is(t, err, ErrExhausted)
}

func TestFlush(t *testing.T) {
	p := seats(t, 1, 8, Class{64, 16})[0]
	h, err := p.TryAlloc(1)
	must(t, err)
	must(t, p.Free(h))
	p.Flush()
	if s := p.Stats()[0]; s.Cached != 0 || s.Free != 16 || s.HighWater != 1 {
		t.Errorf("%v", s)
	}
}

func TestAllocWaits(t *testing.T) {
	ps := seats(t, 2, 8, Class{64, 4})
	var hs []Handle
	for range 4 {
		h, err := ps[0].TryAlloc(1)
		must(t, err)
		hs = append(hs, h)
	}
	ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	_, err := ps[1].Alloc(ctx, 1)
	is(t, err, context.DeadlineExceeded)
	var none context.Context
	_, err = ps[1].Alloc(none, 1)
	is(t, err, fs.ErrInvalid)
	got := make(chan error)
	go func() { _, err := ps[1].Alloc(bg, 1); got <- err }()
	time.Sleep(10 * time.Millisecond)
	must(t, ps[0].Free(hs[0]))
	select {
	case err := <-got:
		must(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("nobody woke the waiter")
	}
}

func TestNoAllocations(t *testing.T) {
	p := seats(t, 1, 8, Class{64, 64})[0]
	if n := testing.AllocsPerRun(1000, func() {
		h, err := p.TryAlloc(64)
		must(t, err)
		_, err = p.Bytes(h)
		must(t, err)
		must(t, p.Free(h))
	}); n != 0 {
		t.Errorf("%v heap allocations", n)
	}
}

// Many goroutines of several endpoints, over blocks that each marks as its own.
func TestStress(t *testing.T) {
	for _, cache := range []int{0, 4} {
		ps := seats(t, 4, cache, Class{64, 7}, Class{128, 5})
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				p := ps[g%4]
				rng := rand.New(rand.NewPCG(uint64(g), 1))
				var mine []Handle
				for i := range 4000 {
					if len(mine) > 0 && rng.IntN(2) == 0 {
						k := rng.IntN(len(mine))
						b, err := p.Bytes(mine[k])
						if err != nil || b[0] != byte(g) || b[len(b)-1] != byte(g) {
							t.Errorf("block of %d: %v %v", g, b[0], err)
							return
						}
						if err := p.Free(mine[k]); err != nil {
							t.Error(err)
							return
						}
						mine = slices.Delete(mine, k, k+1)
						continue
					}
					h, err := p.TryAlloc(1 + rng.IntN(128))
					if err != nil {
						continue
					}
					b, _ := p.Bytes(h)
					b[0], b[len(b)-1] = byte(g), byte(g)
					if mine = append(mine, h); i%8 == 0 {
						time.Sleep(time.Microsecond)
					}
				}
				for _, h := range mine {
					if err := p.Free(h); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for _, s := range ps[0].Stats() {
			if s.InUse != 0 || s.Cached+s.Free != s.Count {
				t.Errorf("cache %d: %v", cache, s)
			}
		}
		for i := range 12 {
			if _, err := ps[0].TryAlloc(1); err != nil {
				t.Fatalf("cache %d: block %d: %v", cache, i, err)
			}
		}
	}
}

func TestAs(t *testing.T) {
	type point struct{ X, Y uint64 }
	type bad struct{ P struct{ Name string } }
	p := seats(t, 1, 0, Class{64, 1})[0]
	h, _ := p.TryAlloc(20)
	b, err := p.Bytes(h)
	must(t, err)
	v, err := As[point](b)
	must(t, err)
	v.Y = 1<<56 | 3
	if *(*uint64)(unsafe.Pointer(&b[8])) != v.Y {
		t.Error("not the same memory")
	}
	_, err = As[point](b[:15])
	is(t, err, fs.ErrInvalid)
	_, err = As[point](b[1:])
	is(t, err, fs.ErrInvalid)
	_, err = As[point](nil)
	is(t, err, fs.ErrInvalid)
	for range 2 {
		_, err = As[bad](b)
		is(t, err, ErrType)
		if !strings.Contains(err.Error(), "bad.P.Name") {
			t.Errorf("%v names no field", err)
		}
	}
}

// Whatever a hostile peer leaves in the shared words, no call panics or goes
// outside, and all return.
func TestHostileWords(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		g, err := Plan(Class{64, 5}, Class{200, 3})
		must(t, err)
		mem := memory(g.Bytes())
		must(t, Init(mem, g.Bytes(), g))
		p, err := Attach(mem, g.Bytes(), g, Seat{Cache: 2})
		must(t, err)
		h, err := p.TryAlloc(1)
		must(t, err)
		for range 20 {
			at := unsafe.Add(mem, controlSize+8*rng.IntN((int(g.classes[1].blocks)-controlSize)/8))
			v := rng.Uint64()
			if rng.IntN(2) == 0 {
				v &= 0x7ff
			}
			(*word.U64)(at).Store(v)
			switch rng.IntN(4) {
			case 0:
				p.TryAlloc(1 + rng.IntN(200))
			case 1:
				p.Free(h)
			case 2:
				p.Sweep(rng.IntN(MaxOwners), func() (func(Handle) bool, bool) { return nil, true }, false)
			case 3:
				p.Stats()
				p.Held(0, func(h Handle) bool { p.Bytes(h); p.Free(h); return true })
			}
		}
	}
}

// FuzzRead: no bytes make Read accept what Attach could leave.
func FuzzRead(f *testing.F) {
	g, err := Plan(Class{64, 3}, Class{4096, 1})
	if err != nil {
		f.Fatal(err)
	}
	mem := memory(g.Bytes())
	if err := Init(mem, g.Bytes(), g); err != nil {
		f.Fatal(err)
	}
	f.Add(unsafe.Slice((*byte)(mem), controlSize))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, head []byte) {
		n := g.Bytes()
		mem := memory(n)
		copy(unsafe.Slice((*byte)(mem), n), head[:min(len(head), int(n))])
		there, err := Read(mem, n)
		if err != nil {
			is(t, err, ErrCorrupt)
			return
		}
		if there.Bytes() > n {
			t.Fatalf("%d bytes in %d", there.Bytes(), n)
		}
		p, err := Attach(mem, n, there, Seat{})
		if err != nil { // the tag of no handle
			is(t, err, ErrCorrupt)
			return
		}
		for range 5 {
			if h, err := p.TryAlloc(1); err == nil {
				b, _ := p.Bytes(h)
				clear(b)
			}
		}
		p.Stats()
	})
}
