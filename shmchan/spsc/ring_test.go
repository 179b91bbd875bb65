package spsc

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/region"
)

// aligned returns n zeroed bytes of the heap at an aligned address.
func aligned(n uintptr) unsafe.Pointer {
	b := make([]uint64, (n+2*Align)/8) // of words, so that a race test may use them atomically
	p := unsafe.Pointer(&b[0])
	return unsafe.Add(p, -uintptr(p)%Align)
}

func newRing(t testing.TB, capacity int, size uintptr, at uint64) (unsafe.Pointer, Geometry) {
	t.Helper()
	g, err := Plan(capacity, size)
	if err != nil {
		t.Fatal(err)
	}
	mem := aligned(g.Bytes())
	if err := initAt(mem, g.Bytes(), g, at); err != nil {
		t.Fatal(err)
	}
	return mem, g
}

func ends(t testing.TB, mem unsafe.Pointer, g Geometry) (*Producer, *Consumer) {
	t.Helper()
	p, err := AttachProducer(mem, g.Bytes(), g)
	if err != nil {
		t.Fatal(err)
	}
	c, err := AttachConsumer(mem, g.Bytes(), g)
	if err != nil {
		t.Fatal(err)
	}
	return &p, &c
}

// putAll publishes n messages that Room has granted.
func putAll(p *Producer, n int, fill func(at unsafe.Pointer)) {
	for n > 0 {
		slot, stamp, k := p.Run(n)
		for i := range k {
			at := unsafe.Add(slot, uintptr(i)*p.Stride())
			fill(Message(at))
			p.Put(at, stamp+2*uint64(i))
		}
		p.Advance(k)
		n -= k
	}
}

// takeAll takes n messages that Ready has granted.
func takeAll(c *Consumer, n int, look func(at unsafe.Pointer)) {
	for n > 0 {
		slot, stamp, k := c.Run(n)
		for i := range k {
			at := unsafe.Add(slot, uintptr(i)*c.Stride())
			look(Message(at))
			c.Take(at, stamp+2*uint64(i))
		}
		c.Advance(k)
		n -= k
	}
}

// A reference is the slow, obvious ring: a slice.
type reference struct {
	queue    []uint64
	capacity int
}

func u64(p unsafe.Pointer) *uint64 { return (*uint64)(p) }

// TestReference compares the ring with the reference by random operations, at
// each capacity and at the wraps of positions, stamps and laps.
func TestReference(t *testing.T) {
	for capacity := 1; capacity <= 8; capacity++ {
		for _, at := range []uint64{0, 1, 1<<63 - 1, 1<<63 - 3, 1<<62 - 2, 1<<32 - 2, 1<<31 - 1} {
			for seed := range uint64(20) {
				t.Run(fmt.Sprintf("%d/%#x/%d", capacity, at, seed), func(t *testing.T) {
					againstReference(t, capacity, at, rand.New(rand.NewPCG(seed, uint64(capacity))))
				})
			}
		}
	}
}

func againstReference(t *testing.T, capacity int, at uint64, r *rand.Rand) {
	mem, g := newRing(t, capacity, 8, at)
	p, c := ends(t, mem, g)
	ref := &reference{capacity: g.Capacity}
	next := uint64(1)
	for range 200 {
		room := ref.capacity - len(ref.queue)
		switch r.IntN(7) {
		case 0, 1: // one
			slot := p.Slot()
			if (slot != nil) != (room > 0) {
				t.Fatalf("Slot gives %v with room for %d", slot, room)
			}
			if slot != nil {
				*u64(slot) = next
				p.Publish()
				ref.queue = append(ref.queue, next)
				next++
			}
		case 2: // a batch
			limit := 1 + r.IntN(10)
			n := p.Room(limit)
			if n > min(limit, room) || (n > 0) != (room > 0) || limit == 1 && n != min(1, room) {
				t.Fatalf("Room(%d) is %d of %d", limit, n, room)
			}
			putAll(p, n, func(at unsafe.Pointer) {
				*u64(at) = next
				ref.queue = append(ref.queue, next)
				next++
			})
		case 3, 4:
			slot := c.Slot()
			if (slot != nil) != (len(ref.queue) > 0) {
				t.Fatalf("Slot gives %v of %d", slot, len(ref.queue))
			}
			if slot != nil {
				if v := *u64(slot); v != ref.queue[0] {
					t.Fatalf("message %d, want %d", v, ref.queue[0])
				}
				c.Release()
				ref.queue = ref.queue[1:]
			}
		case 5:
			limit := 1 + r.IntN(10)
			n := c.Ready(limit)
			if n > min(limit, len(ref.queue)) || (n > 0) != (len(ref.queue) > 0) {
				t.Fatalf("Ready(%d) is %d of %d", limit, n, len(ref.queue))
			}
			takeAll(c, n, func(at unsafe.Pointer) {
				if v := *u64(at); v != ref.queue[0] {
					t.Fatalf("message %d, want %d", v, ref.queue[0])
				}
				ref.queue = ref.queue[1:]
			})
		case 6: // successors
			p2, c2 := ends(t, mem, g)
			if p2.Position() != p.Position() || c2.Position() != c.Position() {
				t.Fatalf("successors at %d and %d, want %d and %d", p2.Position(), c2.Position(), p.Position(), c.Position())
			}
			p, c = p2, c2
		}
		full, empty := len(ref.queue) == ref.capacity, len(ref.queue) == 0
		switch {
		case p.Len() != len(ref.queue) || c.Len() != len(ref.queue):
			t.Fatalf("Len is %d and %d, want %d", p.Len(), c.Len(), len(ref.queue))
		case p.Cap() != g.Capacity || c.Cap() != g.Capacity:
			t.Fatal("Cap")
		case p.Blocked() != full || p.BlockedAnywhere() != full:
			t.Fatalf("Blocked %v, anywhere %v, want %v", p.Blocked(), p.BlockedAnywhere(), full)
		case c.Blocked() != empty || c.BlockedAnywhere() != empty:
			t.Fatalf("Blocked %v, anywhere %v, want %v", c.Blocked(), c.BlockedAnywhere(), empty)
		case p.Full() != nil || c.Empty() != nil:
			t.Fatal(p.Full(), c.Empty())
		case (p.Position()-c.Position())&(1<<63-1) != uint64(len(ref.queue)):
			t.Fatalf("positions %d and %d", p.Position(), c.Position())
		}
	}
}

// TestAttachAfterEach: every number of messages sent and taken, at every
// capacity; the words for tools may be anything.
func TestAttachAfterEach(t *testing.T) {
	for capacity := 1; capacity <= 8; capacity++ {
		for _, at := range []uint64{0, 1<<63 - 5} {
			for sent := 0; sent <= 3*capacity; sent++ {
				for taken := max(0, sent-capacity); taken <= sent; taken++ {
					mem, g := newRing(t, capacity, 24, at)
					p, c := ends(t, mem, g)
					for i, j := 0, 0; i < sent || j < taken; {
						if i < sent && p.Slot() != nil && i-j < capacity {
							p.Publish()
							i++
						} else {
							c.Release()
							j++
						}
					}
					tail, head := p.stamp, c.stamp
					ctl := (*control)(mem)
					ctl.tail.Store(99) // died before it stored it
					ctl.head.Store(^uint64(0))
					p, c = ends(t, mem, g)
					if p.stamp != tail || c.stamp != head {
						t.Fatalf("capacity %d, %d sent, %d taken: found %d and %d, want %d and %d", capacity, sent, taken, p.stamp, c.stamp, tail, head)
					}
					if p.Len() != sent-taken {
						t.Fatalf("Len is %d, want %d", p.Len(), sent-taken)
					}
				}
			}
		}
	}
}

// TestLenBesideWork: what a watcher reads of head and tail may be apart by
// what each end has done in between; Len stays near the truth.
func TestLenBesideWork(t *testing.T) {
	mem, g := newRing(t, 4, 8, 0)
	p, c := ends(t, mem, g)
	ctl := (*control)(mem)
	p.Publish()
	c.Release()
	ctl.tail.Store(0) // the consumer was quicker than the producer's last store
	if n := p.Len(); n != 0 {
		t.Errorf("Len is %d of an empty ring", n)
	}
	ctl.tail.Store(2 * 6)
	ctl.head.Store(2 * 1)
	if n := p.Len(); n != 4 {
		t.Errorf("Len is %d of a full ring", n)
	}
}

func TestGeometry(t *testing.T) {
	for _, x := range []struct {
		capacity int
		size     uintptr
		want     Geometry
	}{
		{1, 0, Geometry{1, 0, 8}},
		{1, 1, Geometry{1, 1, 16}},
		{3, 8, Geometry{4, 8, 16}},
		{4, 9, Geometry{4, 9, 32}},
		{5, 24, Geometry{8, 24, 32}},
		{1024, 25, Geometry{1024, 25, 64}},
		{1000, 56, Geometry{1024, 56, 64}},
		{1, 57, Geometry{1, 57, 128}},
		{1, 120, Geometry{1, 120, 128}},
		{1, 121, Geometry{1, 121, 192}},
		{1, 1 << 20, Geometry{1, 1 << 20, 1<<20 + 64}},
		{1 << 31, 0, Geometry{1 << 31, 0, 8}},
	} {
		g, err := Plan(x.capacity, x.size)
		if err != nil || g != x.want {
			t.Errorf("Plan(%d, %d) = %+v, %v; want %+v", x.capacity, x.size, g, err, x.want)
		}
		if g.Stride < seqSize+x.size || (controlSize%line != 0) {
			t.Errorf("%+v: slots overlap", g)
		}
		for i := range uintptr(min(g.Capacity, 8)) { // no slot of up to a line straddles one
			first, last := controlSize+i*g.Stride, controlSize+i*g.Stride+seqSize+x.size-1
			if seqSize+x.size <= line && first/line != last/line {
				t.Errorf("%+v: slot %d straddles a cache line", g, i)
			}
			if first%8 != 0 {
				t.Errorf("%+v: slot %d is not aligned", g, i)
			}
		}
		if n := g.Bytes(); n != controlSize+uintptr(g.Capacity)*g.Stride {
			t.Errorf("%+v: %d bytes", g, n)
		}
	}
	for _, x := range []struct {
		capacity int
		size     uintptr
	}{{0, 8}, {-1, 8}, {math.MinInt, 8}, {MaxCapacity + 1, 8}, {math.MaxInt, 8}, {1, MaxSize + 1}, {1, math.MaxUint}} {
		if g, err := Plan(x.capacity, x.size); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Plan(%d, %d) = %+v, %v", x.capacity, x.size, g, err)
		}
	}
	if g, err := Plan(MaxCapacity, MaxSize); err != nil || g.Bytes() < 1<<61 {
		t.Errorf("the largest: %+v, %v", g, err)
	}
}

func TestInitRefuses(t *testing.T) {
	g, _ := Plan(4, 8)
	mem := aligned(g.Bytes() + Align)
	for name, err := range map[string]error{
		"not aligned":   Init(unsafe.Add(mem, 8), g.Bytes(), g),
		"too small":     Init(mem, g.Bytes()-1, g),
		"made by hand":  Init(mem, g.Bytes(), Geometry{4, 8, 24}),
		"zero geometry": Init(mem, g.Bytes(), Geometry{}),
		"not rounded":   Init(mem, 1<<20, Geometry{3, 8, 16}),
	} {
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if *u64(mem) != 0 {
		t.Error("something was written")
	}
}

func TestAttachRefuses(t *testing.T) {
	g, _ := Plan(4, 8)
	for name, damage := range map[string]func(mem unsafe.Pointer){
		"no ring":              func(mem unsafe.Pointer) { clear(unsafe.Slice((*byte)(mem), g.Bytes())) },
		"another capacity":     func(mem unsafe.Pointer) { (*control)(mem).capacity = 2 },
		"capacity too large":   func(mem unsafe.Pointer) { (*control)(mem).capacity = 8 },
		"capacity absurd":      func(mem unsafe.Pointer) { (*control)(mem).capacity = 1 << 63 },
		"capacity negative":    func(mem unsafe.Pointer) { (*control)(mem).capacity = ^uint64(0) },
		"capacity 0":           func(mem unsafe.Pointer) { (*control)(mem).capacity = 0 },
		"another size":         func(mem unsafe.Pointer) { (*control)(mem).size = 7 },
		"size absurd":          func(mem unsafe.Pointer) { (*control)(mem).size = ^uint64(0) },
		"stride 0":             func(mem unsafe.Pointer) { (*control)(mem).stride = 0 },
		"stride that wraps":    func(mem unsafe.Pointer) { (*control)(mem).stride = 1 << 62 },
		"a sequence of chance": func(mem unsafe.Pointer) { seqAt(mem, g, 2, 12345) },
		"a sequence too far":   func(mem unsafe.Pointer) { seqAt(mem, g, 1, 2*(1+8)) },
		"another slot's":       func(mem unsafe.Pointer) { seqAt(mem, g, 1, 2*2) },
		"all ones":             func(mem unsafe.Pointer) { seqAt(mem, g, 2, ^uint64(0)) },
		"all zero": func(mem unsafe.Pointer) {
			for i := range 4 {
				seqAt(mem, g, i, 0)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			mem, _ := newRing(t, 4, 8, 0)
			damage(mem)
			if _, err := AttachProducer(mem, g.Bytes(), g); !errors.Is(err, ErrCorrupt) {
				t.Errorf("producer: %v", err)
			}
			if _, err := AttachConsumer(mem, g.Bytes(), g); !errors.Is(err, ErrCorrupt) {
				t.Errorf("consumer: %v", err)
			}
		})
	}
	mem, _ := newRing(t, 4, 8, 0)
	if _, err := AttachProducer(mem, g.Bytes(), Geometry{2, 8, 16}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("asked for another shape: %v", err)
	}
	if _, err := Read(mem, controlSize-1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no room for a control block: %v", err)
	}
	if _, err := Read(unsafe.Add(mem, 8), g.Bytes()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("not aligned: %v", err)
	}
}

func seqAt(mem unsafe.Pointer, g Geometry, slot int, v uint64) {
	*u64(unsafe.Add(mem, controlSize+uintptr(slot)*g.Stride)) = v
}

// TestHostileSequences: what the other end writes while we are attached is an
// error, and never leads out of the memory.
func TestHostileSequences(t *testing.T) {
	for _, v := range []uint64{2, 3, 5, 7, 9, 100, 101, 1 << 62, 1 << 63, 1<<63 + 1, ^uint64(0), ^uint64(0) - 1} {
		mem, g := newRing(t, 2, 8, 0)
		p, c := ends(t, mem, g)
		seqAt(mem, g, 0, v)
		if p.Slot() != nil {
			t.Errorf("sequence %d: the producer takes it", v)
		}
		if err := p.Full(); err == nil && v != ^uint64(0)-2 || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("sequence %d: Full is %v", v, err)
		}
		if c.Slot() != nil {
			t.Errorf("sequence %d: the consumer takes it", v)
		}
		if err := c.Empty(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("sequence %d: Empty is %v", v, err)
		}
		if p.Blocked() || c.Blocked() {
			t.Errorf("sequence %d: blocked, so nobody would look", v)
		}
		for _, word := range []uint64{0, 1, v, ^v} {
			(*control)(mem).head.Store(word)
			(*control)(mem).tail.Store(v)
			if n := p.Len(); n < 0 || n > 2 {
				t.Errorf("Len is %d", n)
			}
			p.BlockedAnywhere()
			c.BlockedAnywhere()
		}
		if n := p.Room(1 << 40); n > 2 {
			t.Errorf("Room is %d", n)
		}
		if n := c.Ready(1 << 40); n > 2 {
			t.Errorf("Ready is %d", n)
		}
	}
}

// TestNoAllocations holds for every operation.
func TestNoAllocations(t *testing.T) {
	mem, g := newRing(t, 8, 8, 0)
	p, c := ends(t, mem, g)
	if n := testing.AllocsPerRun(1000, func() {
		*u64(p.Slot()) = 1
		p.Publish()
		if p.Blocked() || p.BlockedAnywhere() || p.Full() != nil || p.Len() != 1 {
			t.Fatal("one in it")
		}
		c.Slot()
		c.Release()
		k := p.Room(4)
		putAll(p, k, func(at unsafe.Pointer) { *u64(at) = 2 })
		takeAll(c, c.Ready(k), func(at unsafe.Pointer) {})
		if !c.Blocked() || !c.BlockedAnywhere() || c.Empty() != nil {
			t.Fatal("empty")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestGoroutines streams through the ring between two goroutines, one at a
// time on one side and in batches on the other. The race detector sees it.
func TestGoroutines(t *testing.T) {
	n := uint64(200_000)
	if testing.Short() {
		n = 20_000
	}
	for _, capacity := range []int{1, 2, 64} {
		for _, size := range []uintptr{16, 56, 120} {
			mem, g := newRing(t, capacity, size, 1<<63-100)
			p, c := ends(t, mem, g)
			go func() {
				for i := uint64(0); i < n; {
					if k := p.Room(16); k > 0 && i%3 == 0 && i+uint64(k) <= n {
						putAll(p, k, func(at unsafe.Pointer) {
							m := (*[2]uint64)(at)
							m[0], m[1] = i, ^i
							i++
						})
					} else if s := p.Slot(); s != nil {
						m := (*[2]uint64)(s)
						m[0], m[1] = i, ^i
						p.Publish()
						i++
					} else {
						runtime.Gosched()
					}
				}
			}()
			for i := uint64(0); i < n; {
				k := c.Ready(16)
				if k == 0 {
					if l := c.Len(); l < 0 || l > g.Capacity {
						t.Fatalf("Len is %d", l)
					}
					runtime.Gosched()
					continue
				}
				takeAll(c, k, func(at unsafe.Pointer) {
					if m := (*[2]uint64)(at); m[0] != i || m[1] != ^i {
						t.Fatalf("message %d is %x", i, *m)
					}
					i++
				})
			}
		}
	}
}

// TestOwning makes a ring in a region and finds it again.
func TestOwning(t *testing.T) {
	g, _ := Plan(4, 8)
	r, err := region.Heap(region.Config{Roles: 2, Sections: []region.Section{g.Section()}, Init: func(r *region.Region) error { return InitIn(r, g) }})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadIn(r); err != nil || got != g {
		t.Fatalf("ReadIn: %+v, %v", got, err)
	}
	p, err := ProducerIn(r)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ConsumerIn(r)
	if err != nil {
		t.Fatal(err)
	}
	*u64(p.Slot()) = 7
	p.Publish()
	if s := c.Slot(); s == nil || *u64(s) != 7 {
		t.Fatal("lost")
	}
	for name, s := range map[string]region.Section{
		"no lane":         {Kind: region.KindEvents, Version: 1, Size: 64},
		"another version": {Kind: region.KindLane, Version: 2, Size: uint64(g.Bytes()), Align: Align},
	} {
		r, err := region.Heap(region.Config{Roles: 1, Sections: []region.Section{s}})
		if err != nil {
			t.Fatal(err)
		}
		_, perr := ProducerIn(r)
		_, cerr := ConsumerIn(r)
		if !errors.Is(perr, region.ErrMismatch) || !errors.Is(cerr, region.ErrMismatch) {
			t.Errorf("%s: %v, %v", name, perr, cerr)
		}
	}
}

// FuzzAttach feeds arbitrary control blocks and sequences to both ends, and
// then uses them. Nothing panics, hangs, or touches what lies behind the ring.
func FuzzAttach(f *testing.F) {
	for _, at := range []uint64{0, 1<<63 - 1} {
		mem, g := newRing(f, 4, 8, at)
		f.Add(append([]byte(nil), unsafe.Slice((*byte)(mem), g.Bytes())...), uint16(4), uint16(8))
		p, c := ends(f, mem, g)
		for range 3 {
			p.Publish()
		}
		c.Release()
		f.Add(append([]byte(nil), unsafe.Slice((*byte)(mem), g.Bytes())...), uint16(4), uint16(8))
		seqAt(mem, g, 1, 77)
		f.Add(append([]byte(nil), unsafe.Slice((*byte)(mem), g.Bytes())...), uint16(4), uint16(8))
	}
	f.Add([]byte{}, uint16(1), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, capacity, size uint16) {
		const guard = 0xa5
		n := uintptr(len(b))
		mem := aligned(n + 256)
		all := unsafe.Slice((*byte)(mem), n+256)
		copy(all, b)
		for i := n; i < n+256; i++ {
			all[i] = guard
		}
		if g, err := Read(mem, n); err == nil {
			if g.Bytes() > n {
				t.Fatalf("a ring of %d bytes in %d", g.Bytes(), n)
			}
			use(mem, n, g)
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		if g, err := Plan(int(capacity), uintptr(size)); err == nil {
			use(mem, n, g)
		}
		for i := n; i < n+256; i++ {
			if all[i] != guard {
				t.Fatalf("byte %d behind the memory was written", i-n)
			}
		}
	})
}

// use does a little of everything, as far as it goes.
func use(mem unsafe.Pointer, n uintptr, g Geometry) {
	if c, err := AttachConsumer(mem, n, g); err == nil {
		for range 2*g.Capacity + 1 {
			if s := c.Slot(); s != nil {
				_ = unsafe.Slice((*byte)(s), g.Size)[:]
				c.Release()
			} else if c.Empty() != nil {
				break
			}
		}
		c.Len()
		c.BlockedAnywhere()
		c.Advance(c.Ready(3))
	}
	if p, err := AttachProducer(mem, n, g); err == nil {
		for range 2*g.Capacity + 1 {
			if s := p.Slot(); s != nil {
				clear(unsafe.Slice((*byte)(s), g.Size))
				p.Publish()
			} else if p.Full() != nil {
				break
			}
		}
		p.Len()
		p.BlockedAnywhere()
		p.Room(3)
	}
}
