package slabpool

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"testing"
	"time"
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
