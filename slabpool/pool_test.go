package slabpool

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/region"
)

func heapPools(t *testing.T, n int, classes ...Class) []*Pool {
	t.Helper()
	first, err := Heap(classes...)
	must(t, err)
	ps := []*Pool{first}
	for len(ps) < n {
		p, err := first.Attach()
		must(t, err)
		ps = append(ps, p)
	}
	return ps
}

func TestPoolSeats(t *testing.T) {
	ps := heapPools(t, MaxOwners, Class{64, 2})
	for i, p := range ps {
		if p.Owner() != i {
			t.Errorf("seat %d for endpoint %d", p.Owner(), i)
		}
	}
	_, err := ps[0].Attach()
	is(t, err, ErrBusy)
	must(t, ps[5].Close())
	must(t, ps[5].Close())
	p, err := ps[0].Attach()
	must(t, err)
	if p.Owner() != 5 {
		t.Errorf("seat %d", p.Owner())
	}
}

func TestPoolGiveAndShare(t *testing.T) {
	ps := heapPools(t, 3, Class{64, 1})
	h, err := ps[0].Alloc(bg, 10)
	must(t, err)
	must(t, ps[0].Share(h, 1))
	is(t, ps[0].Share(h, 7), fs.ErrNotExist)
	is(t, ps[0].Give(h, 7), fs.ErrNotExist)
	must(t, ps[0].Give(h, 2))
	for i, want := range []int{0, 1, 1} {
		if n := len(ps[i].Held()); n != want {
			t.Errorf("endpoint %d holds %d", i, n)
		}
	}
	is(t, ps[1].Close(), ErrBusy)
	must(t, ps[1].Free(h))
	must(t, ps[1].Close())
	b, err := ps[2].Bytes(h)
	must(t, err)
	if len(b) != 10 {
		t.Errorf("%d bytes", len(b))
	}
	must(t, ps[2].Retain(h))
	must(t, ps[2].Free(h))
	must(t, ps[2].Free(h))
	is(t, ps[2].Free(h), ErrStaleHandle)
}

// A block that goes back and forth more often than its word can count stays a
// block like others.
func TestPoolGiveForEver(t *testing.T) {
	ps := heapPools(t, 3, Class{64, 1})
	h, err := ps[0].TryAlloc(1)
	must(t, err)
	must(t, ps[0].Share(h, 2))
	_, r, err := ps[0].raw.find(h)
	must(t, err)
	for i := range 100 {
		must(t, ps[i%2].Give(h, 1-i%2))
		if got := r.state.Load() & hops / hop; got != uint64(min(i+2, 31)) {
			t.Fatalf("%d hops after Share and %d times Give", got, i+1)
		}
	}
	_, err = ps[0].Bytes(h)
	must(t, err)
	must(t, ps[0].Retain(h))
	must(t, ps[0].Free(h))
	is(t, ps[0].Close(), ErrBusy)
	must(t, ps[0].Free(h))
	is(t, ps[0].Free(h), ErrStaleHandle)
	ps[2].reg.Abandon()
	if n := ps[0].Recover(); n != 1 {
		t.Errorf("%d holds of the dead came back", n)
	}
	h, err = ps[1].TryAlloc(1)
	must(t, err)
	if got := r.state.Load() & hops; got != 0 {
		t.Errorf("hops %#x in a new generation", got)
	}
	must(t, ps[1].Free(h))
}

func TestPoolClosed(t *testing.T) {
	ps := heapPools(t, 2, Class{64, 1})
	h, err := ps[0].TryAlloc(1)
	must(t, err)
	got := make(chan error)
	go func() { _, err := ps[1].Alloc(bg, 1); got <- err }()
	time.Sleep(5 * time.Millisecond)
	must(t, ps[1].Close())
	select {
	case err := <-got:
		is(t, err, fs.ErrClosed)
	case <-time.After(30 * time.Second):
		t.Fatal("Close did not wake the waiter")
	}
	must(t, ps[0].Free(h))
	_, err = ps[1].TryAlloc(1)
	is(t, err, fs.ErrClosed)
	_, err = ps[1].Attach()
	is(t, err, fs.ErrClosed)
	is(t, ps[1].Free(h), ErrStaleHandle)
	_, err = ps[0].TryAlloc(1)
	must(t, err)
}

// What a dead endpoint held is there for who needs it.
func TestPoolRecovers(t *testing.T) {
	ps := heapPools(t, 2, Class{64, 4})
	for range 4 {
		_, err := ps[1].TryAlloc(1)
		must(t, err)
	}
	h := ps[1].Held()[0]
	must(t, ps[1].Share(h, 0))
	_, err := ps[0].TryAlloc(1)
	is(t, err, ErrExhausted)
	ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	_, err = ps[0].Alloc(ctx, 1)
	is(t, err, context.DeadlineExceeded)

	got := make(chan error)
	go func() { _, err := ps[0].Alloc(bg, 1); got <- err }()
	time.Sleep(5 * time.Millisecond)
	ps[1].reg.Abandon() // what a death is on the heap
	select {
	case err := <-got:
		must(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("the death woke nobody")
	}
	if _, err := ps[0].Bytes(h); err != nil {
		t.Errorf("a shared block went with its first holder: %v", err)
	}
	if n := len(ps[0].Held()); n != 2 {
		t.Errorf("%d held", n)
	}
	for range 2 {
		_, err = ps[0].TryAlloc(1)
		must(t, err)
	}
	if n := ps[0].Recover(); n != 0 {
		t.Errorf("%d given back twice", n)
	}
}

// A sweep by whoever takes the seat, before anything else.
func TestPoolSuccessor(t *testing.T) {
	ps := heapPools(t, 2, Class{64, 1})
	_, err := ps[1].TryAlloc(1)
	must(t, err)
	ps[1].reg.Abandon()
	p, err := ps[0].Attach()
	must(t, err)
	if p.Owner() != 1 || len(p.Held()) != 0 {
		t.Errorf("seat %d holds %v", p.Owner(), p.Held())
	}
	_, err = p.TryAlloc(1)
	must(t, err)
}

// Close beside allocations: either Close is refused, or nothing is held.
func TestPoolCloseRaces(t *testing.T) {
	first, err := Heap(Class{64, 8})
	must(t, err)
	for range 50 {
		p, err := first.Attach()
		must(t, err)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for {
					h, err := p.TryAlloc(1)
					if errors.Is(err, fs.ErrClosed) {
						return
					}
					if err == nil {
						if err := p.Free(h); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		for p.Close() != nil {
		}
		wg.Wait()
	}
	for _, s := range first.Stats() {
		if s.InUse != 0 || s.Free+s.Cached != s.Count {
			t.Errorf("%v", s)
		}
	}
}

// returns fails the test if f blocks.
func returns(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal(what, "does not return")
	}
}

// meanwhile calls f on a goroutine of its own, again and again until f reports
// false, or until stop, which waits for it. Another stop does nothing.
func meanwhile(f func() bool) (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for f() {
			select {
			case <-end:
				return
			default:
			}
		}
	})
	return sync.OnceFunc(func() {
		close(end)
		wg.Wait()
	})
}

// A list that a peer has made lead to itself always looks as if it had a block.
// Who waits beside it parks, ends with its context, and finds what others free.
func TestAllocBesideListThatLeadsToItself(t *testing.T) {
	p, err := Heap(Class{64, 2})
	must(t, err)
	var held []Handle
	for range 2 {
		h, err := p.TryAlloc(1)
		must(t, err)
		held = append(held, h)
	}
	c := &p.raw.classes[0]
	for what, alloc := range map[string]func(context.Context, int) (Handle, error){"Pool.Alloc": p.Alloc, "Raw.Alloc": p.raw.Alloc} {
		c.record(c.mem, 0).next.Store(1)
		c.words.head.Store(1)
		ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
		returns(t, what, func() { _, err = alloc(ctx, 1) })
		cancel()
		is(t, err, context.DeadlineExceeded)
		if pops := c.words.head.Load() / headTag; pops > 1000 {
			t.Errorf("%s looked at the list %d times in 50 ms", what, pops)
		}
		got := make(chan error, 1)
		go func() { _, err := alloc(bg, 1); got <- err }()
		time.Sleep(time.Millisecond)
		must(t, p.Free(held[1]))
		returns(t, what+" beside Free", func() { err = <-got })
		must(t, err)
		held[1] = p.Held()[1]
	}
	is(t, onlyErr(p.Alloc(nil, 1)), fs.ErrInvalid)     //lint:ignore SA1012 it is what is tested
	is(t, onlyErr(p.raw.Alloc(nil, 1)), fs.ErrInvalid) //lint:ignore SA1012 it is what is tested
}

func onlyErr(_ Handle, err error) error { return err }

// A Close that is refused changes nothing, at no moment.
func TestPoolCloseRefused(t *testing.T) {
	p, err := Heap(Class{64, 64})
	must(t, err)
	_, err = p.TryAlloc(1)
	must(t, err)
	stop := meanwhile(func() bool {
		err := p.Close()
		if !errors.Is(err, ErrBusy) {
			t.Errorf("Close with a block that is held: %v", err)
		}
		return errors.Is(err, ErrBusy)
	})
	defer stop()
	for range 50_000 {
		h, err := p.TryAlloc(1)
		if err == nil {
			err = p.Free(h)
		}
		if err != nil {
			t.Error(err)
			break
		}
	}
}

// A Close beside a peer that writes without end that blocks are cached here comes
// to an end, says so, and gives the seat up.
func TestPoolCloseBesideAPeerThatCaches(t *testing.T) {
	if runtime.GOMAXPROCS(0) == 1 || runtime.NumCPU() == 1 {
		t.Skip("the peer has to write while Close looks")
	}
	ps := heapPools(t, 2, Class{64, 1024})
	c := &ps[0].raw.classes[0]
	stop := meanwhile(func() bool {
		for i := range c.count {
			c.record(c.mem, i).state.Store(ownerBit(1) | cached)
		}
		return true
	})
	defer stop()
	var err error
	for end := time.Now().Add(30 * time.Second); !errors.Is(err, ErrCorrupt); { // or the writer did not run meanwhile
		must(t, err)
		if time.Now().After(end) {
			t.Fatal("Close never met a word of the peer's")
		}
		returns(t, "Close", func() { err = ps[1].Close() })
		_, aerr := ps[1].TryAlloc(1)
		is(t, aerr, fs.ErrClosed)
		must(t, ps[1].Close())
		var perr error
		ps[1], perr = ps[0].Attach() // in the same seat
		must(t, perr)
	}
	stop()
	must(t, ps[1].Close())
}

// A closed endpoint claims nothing in a seat that is another's by now.
func TestPoolClosedClaims(t *testing.T) {
	ps := heapPools(t, 2, Class{64, 64})
	must(t, ps[1].Close())
	next, err := ps[0].Attach()
	must(t, err)
	if next.Owner() != ps[1].Owner() {
		t.Fatalf("seat %d, want %d", next.Owner(), ps[1].Owner())
	}
	h, err := next.TryAlloc(1)
	must(t, err)
	is(t, ps[1].Free(h), fs.ErrClosed)
	is(t, ps[1].Free(h), ErrStaleHandle)
	is(t, ps[1].Retain(h), fs.ErrClosed)
	is(t, ps[1].Share(h, 0), fs.ErrClosed)
	is(t, ps[1].Give(h, 0), fs.ErrClosed)
	_, err = ps[1].Bytes(h)
	is(t, err, fs.ErrClosed)
	if held := ps[1].Held(); len(held) != 0 {
		t.Errorf("a closed endpoint holds %v", held)
	}
	must(t, next.Free(h))
	defer meanwhile(func() bool {
		ps[1].TryAlloc(1)
		return true
	})()
	for range 50_000 {
		if held := next.Held(); len(held) > 0 {
			t.Errorf("the successor holds %v and never allocated", held)
			break
		}
	}
}

// A process that was stopped between lowering the flag and the wake: the next
// block that becomes free is found all the same.
func TestAllocBesideStoppedWaker(t *testing.T) {
	ps := heapPools(t, 2, Class{64, 1})
	h, err := ps[0].TryAlloc(1)
	must(t, err)
	got := make(chan error)
	go func() { _, err := ps[1].Alloc(bg, 1); got <- err }()
	flag := (*word.U32)(unsafe.Add(unsafe.Pointer(ps[0].raw.event), 4))
	for flag.Load()&1 == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(5 * time.Millisecond) // parked, mostly
	flag.Store(flag.Load() &^ 1)
	must(t, ps[0].Free(h))
	select {
	case err := <-got:
		must(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("a flag that was lowered keeps the waiter asleep")
	}
}

// What was compared is what is used: a peer that writes other classes later changes
// nothing for this process.
func TestPoolShapeIsReadOnce(t *testing.T) {
	g, err := Plan(Class{64, 8})
	must(t, err)
	r, err := region.Heap(config(g))
	must(t, err)
	must(t, r.Claim(0))
	g, err = accept(r)
	must(t, err)
	mem, _, _, _ := r.Section(region.KindPool)
	(*control)(mem).table[0] = entry{64, 2}
	p, err := newPool(r, g)
	must(t, err)
	q, err := p.Attach()
	must(t, err)
	for _, p := range []*Pool{p, q} {
		if s := p.Stats(); s[0].Class != (Class{64, 8}) {
			t.Errorf("the pool has %v", s)
		}
	}
	for range 8 {
		_, err := q.TryAlloc(1)
		must(t, err)
	}
}

func TestPoolWithTagZero(t *testing.T) {
	p, err := Heap(Class{64, 1})
	must(t, err)
	(*control)(p.raw.mem).tag = 0
	_, err = AttachIn(p.reg, p.shape, Seat{Owner: 1})
	is(t, err, ErrCorrupt)
}

func TestPoolNoAllocations(t *testing.T) {
	p, err := Heap(Class{64, 4})
	must(t, err)
	if n := testing.AllocsPerRun(100, func() {
		h, err := p.TryAlloc(1)
		if err == nil {
			_, err = p.Bytes(h)
		}
		if err == nil {
			err = p.Free(h)
		}
		if err == nil {
			h, err = p.Alloc(bg, 1)
		}
		if err == nil {
			err = p.Free(h)
		}
		if err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
