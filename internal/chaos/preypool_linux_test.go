package chaos

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/shmkit/shm/slabpool"
)

// The pool of the sweep, and of the hostile peer. Each endpoint keeps a quarter of the
// blocks in its cache.
var poolClass = slabpool.Class{Size: 64, Count: 8}

const cached = 2

// preyOnPool opens a pool, uses two endpoints of it for some milliseconds, and closes
// them.
func preyOnPool(c *control, where string, size uintptr) {
	w := newWalls(size)
	defer w.remove()
	p, err := slabpool.Open(where, poolClass)
	note(c, "open pool", err)
	if err != nil {
		note(c, "remove", slabpool.Remove(where))
		return
	}
	w.count(c)
	ends := []*slabpool.Pool{p}
	w2 := newWalls(size)
	defer w2.remove()
	q, err := p.Attach()
	note(c, "attach", err)
	if err == nil {
		w2.count(c)
		ends = append(ends, q)
	}
	end := time.Now().Add(time.Duration(rand.N(int64(20 * time.Millisecond))))
	over := func() bool { return c.stop.Load() != 0 || time.Now().After(end) }
	var work sync.WaitGroup
	for _, p := range ends {
		work.Go(func() { poolUntil(c, p, ends[len(ends)-1].Owner(), over) })
		work.Go(func() { lookUntil(c, p, over) })
	}
	work.Wait()
	good := true
	for _, p := range ends {
		for _, h := range p.Held() {
			note(c, "free what is held", p.Free(h))
		}
		err := p.Close()
		note(c, "close pool", err)
		good = good && err == nil
	}
	if !good || rand.N(4) == 0 {
		note(c, "remove", slabpool.Remove(where))
	}
}

// poolUntil allocates, writes, shares, gives and frees. other is a seat to share with.
func poolUntil(c *control, p *slabpool.Pool, other int, over func() bool) {
	var hs []slabpool.Handle
	drop := func(i int) slabpool.Handle {
		h := hs[i%len(hs)]
		hs[i%len(hs)] = hs[len(hs)-1]
		hs = hs[:len(hs)-1]
		return h
	}
	for i := 0; !over(); i++ {
		var h slabpool.Handle
		var err error
		switch i % 4 {
		case 0:
			h, err = p.TryAlloc(1 + i%70) // also too much
		case 1:
			h, err = func() (slabpool.Handle, error) {
				ctx, cancel := brief(i / 4)
				defer cancel()
				return p.Alloc(ctx, 40)
			}()
		case 2:
			_, err = p.TryAlloc(-1)
		case 3:
			err = p.Retain(h) // no handle at all
		}
		note(c, "alloc", err)
		if h != (slabpool.Handle{}) {
			hs = append(hs, h)
			b, err := p.Bytes(h)
			note(c, "bytes", err)
			for k := range b {
				b[k]++
			}
		}
		if len(hs) == 0 || rand.N(2) == 0 {
			continue
		}
		switch h := drop(i); rand.N(5) {
		case 0:
			note(c, "share", p.Share(h, other))
			note(c, "free", p.Free(h))
		case 1:
			note(c, "give", p.Give(h, rand.N(slabpool.MaxOwners+2)-1))
		case 2:
			note(c, "retain", p.Retain(h))
			note(c, "free", p.Free(h))
			note(c, "free", p.Free(h))
		case 3:
			note(c, "free", p.Free(h))
			note(c, "free", p.Free(h)) // once too often
		default:
			note(c, "free", p.Free(h))
		}
	}
}

// lookUntil makes the calls that any goroutine may make beside. How many blocks there
// are is what the pool held when it was attached, which a hostile peer may have changed
// after Open had compared it with what was asked.
func lookUntil(c *control, p *slabpool.Pool, over func() bool) {
	for !over() {
		count := 0
		for _, s := range p.Stats() {
			count += s.Count
		}
		note(c, "stats", whole3(p.Stats()))
		if n := p.Recover(); n < 0 || n > slabpool.MaxOwners*count {
			fail("Recover gave %d", n)
		}
		if hs := p.Held(); len(hs) > count {
			fail("%d blocks are held, of %d", len(hs), count)
		}
		time.Sleep(50 * time.Microsecond)
	}
}
