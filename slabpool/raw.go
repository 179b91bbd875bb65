package slabpool

import (
	"context"
	"fmt"
	"io/fs"
	"sync"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/waiter"
)

// A Raw is one endpoint of a pool over memory that the caller owns. All
// methods may be called from any goroutine, none allocates Go memory but Sweep,
// Stats, waiting and errors, and only Alloc blocks. Nothing in it knows of
// processes: who may be which owner, and who has died, is the caller's to know.
type Raw struct {
	mem     unsafe.Pointer
	me      uint64 // our bit in a state word
	tag     uint64
	first   uint64
	classes []class
	event   *waiter.Event
	sleeper func() *waiter.Sleeper
	owner   *region.Region // kept alive; nil over memory of the caller's
}

// A class is what an endpoint knows of a class: private copies, checked at the
// attach, so that no peer can lead an access out of the memory.
type class struct {
	place
	mem   unsafe.Pointer
	count uint32
	words *classWords
	keep  uint32     // how many blocks may be cached
	note  notes      // where cached blocks were
	more  []word.U64 // see Retain
}

// A Seat says who an endpoint is. The zero Seat is owner 0, caches nothing, and
// uses the pool's own event.
type Seat struct {
	Owner int           // 0 to MaxOwners-1; of all that are attached at once, the only one
	Cache int           // blocks of each class that Free keeps at hand for Alloc, up to MaxCache
	Event *waiter.Event // signalled when a block becomes available; nil for the pool's own
}

// Attach makes an endpoint of the pool at mem, which has n bytes and the shape
// g. Errors wrap fs.ErrInvalid or ErrCorrupt.
func Attach(mem unsafe.Pointer, n uintptr, g Geometry, s Seat) (*Raw, error) {
	if err := g.check(mem, n); err != nil {
		return nil, err
	}
	there, err := Read(mem, n)
	if err != nil {
		return nil, err
	}
	if !there.Equal(g) {
		return nil, fmt.Errorf("slabpool: the pool has the classes %v, not %v: %w", there.Classes(), g.Classes(), ErrCorrupt)
	}
	return attach(mem, g, s)
}

// attach is Attach for a shape that was read from mem and checked. It does not read
// it again.
func attach(mem unsafe.Pointer, g Geometry, s Seat) (*Raw, error) {
	if s.Owner < 0 || s.Owner >= MaxOwners || s.Cache < 0 || s.Cache > MaxCache {
		return nil, fmt.Errorf("slabpool: owner %d with a cache of %d, want 0 to %d and 0 to %d: %w", s.Owner, s.Cache, MaxOwners-1, MaxCache, fs.ErrInvalid)
	}
	c := (*control)(mem)
	tag := c.tag & tagMask
	if tag == 0 {
		return nil, fmt.Errorf("slabpool: the pool has tag 0, which is that of the zero handle: %w", ErrCorrupt)
	}
	p := &Raw{mem: mem, me: ownerBit(s.Owner), tag: tag, first: c.first & genMask, event: s.Event}
	if p.event == nil {
		p.event = &c.event
	}
	p.sleeper = sync.OnceValue(func() *waiter.Sleeper { return waiter.NewSleeper(p.event, waiter.Park) })
	p.classes = make([]class, len(g.classes))
	for k := range p.classes {
		pl := g.classes[k]
		p.classes[k] = class{
			place: pl, mem: mem, count: uint32(pl.Count), words: words(mem, k),
			keep: min(uint32(s.Cache), uint32(pl.Count)/4), more: make([]word.U64, pl.Count),
		}
	}
	return p, nil
}

// TryAlloc gives a block with room for n bytes, of the smallest class that has
// one free. The caller holds it until Free, Give or Post. What it contains is
// what the last user left. TryAlloc never blocks.
//
// Errors: ErrExhausted; ErrTooLarge; fs.ErrInvalid if n is not positive;
// ErrCorrupt.
func (p *Raw) TryAlloc(n int) (Handle, error) {
	h, err := p.alloc(n)
	if err == errExhausted {
		p.missed(n)
	}
	return h, err
}

// Retry is TryAlloc for one that found nothing before and has waited: it does not
// count in Stats again.
func (p *Raw) Retry(n int) (Handle, error) { return p.alloc(n) }

// missed counts an allocation that found nothing.
func (p *Raw) missed(n int) { p.classes[p.fit(n)].words.failed.Add(1) }

// fit returns the smallest class for n bytes.
func (p *Raw) fit(n int) int {
	for k := range p.classes {
		if n <= p.classes[k].Size {
			return k
		}
	}
	return len(p.classes)
}

func (p *Raw) alloc(n int) (Handle, error) {
	k := p.fit(n)
	if n < 1 || k == len(p.classes) {
		return Handle{}, p.badSize(n)
	}
	for ; k < len(p.classes); k++ {
		c := &p.classes[k]
		if i, w, ok := p.reuse(c, nil); ok {
			return makeHandle(p.tag, k, i, generation(w), n), nil
		}
		i, w, err := p.claim(c)
		if err == nil {
			return makeHandle(p.tag, k, i, generation(w), n), nil
		}
		if err != errExhausted {
			return Handle{}, err
		}
	}
	return Handle{}, errExhausted
}

// quick is alloc behind a gate, if it can be done with what is cached.
func (p *Raw) quick(n int, g *gate) (Handle, bool) {
	k := p.fit(n)
	if n < 1 || k == len(p.classes) {
		return Handle{}, false
	}
	i, w, ok := p.reuse(&p.classes[k], g)
	if !ok {
		return Handle{}, false
	}
	return makeHandle(p.tag, k, i, generation(w), n), true
}

// reuse claims a block of a class that this endpoint has cached and noted, and
// returns the word that it had.
func (p *Raw) reuse(c *class, g *gate) (i uint32, w uint64, ok bool) {
	for {
		if i, ok = c.note.pop(); !ok {
			return 0, 0, false
		}
		r := c.record(c.mem, i)
		w = r.state.Load()
		if !g.open(w) {
			return 0, 0, false
		}
		if isCached(w) && w&p.me != 0 && r.state.CompareAndSwap(w, w&^cached) { // pairs with the swaps of whoever takes it from us
			return i, w, true
		}
	}
}

// claim claims a block of a class, of those that are not noted, and returns the
// word that it had.
func (p *Raw) claim(c *class) (i uint32, w uint64, err error) {
	for range 2*c.count + 2 { // more turns than a sound peer can cause
		i, ok := c.pop()
		if !ok {
			break
		}
		if i >= c.count {
			return 0, 0, badList(c, i)
		}
		if w, ok := p.redeem(c.record(c.mem, i)); ok {
			return i, w, nil
		}
	}
	v, ok := c.look()
	if !ok {
		return 0, 0, errExhausted
	}
	for i := range c.count {
		r := c.record(c.mem, i)
		for w := r.state.Load(); isFree(w) || isCached(w); w = r.state.Load() {
			if r.state.CompareAndSwap(w, w&^(owners|cached)|p.me) { // whoever popped or noted it finds it taken
				return i, w, nil
			}
		}
	}
	c.foundNothing(v)
	return 0, 0, errExhausted
}

// redeem claims the block of a token that was popped, or, if the block is not
// free, returns the token to it.
func (p *Raw) redeem(r *record) (w uint64, ok bool) {
	for {
		w = r.state.Load()
		switch {
		case w&queued == 0:
			return w, false // hostile: there was no token
		case isFree(w):
			if r.state.CompareAndSwap(w, w&^queued|p.me) { // pairs with the loads and swaps of all who hold the block later
				return w, true
			}
		case r.state.CompareAndSwap(w, w&^queued):
			return w, false
		}
	}
}

// find returns the class and the record of a handle, after a check of all that
// can be checked without the state word.
func (p *Raw) find(h Handle) (*class, *record, error) {
	k, i := h.Class(), uint32(h.Index())
	if h.tag() != p.tag || k >= len(p.classes) || i >= p.classes[k].count || h.Len() > p.classes[k].Size {
		return nil, nil, p.badHandle(h)
	}
	c := &p.classes[k]
	return c, c.record(c.mem, i), nil
}

// Bytes returns the bytes of a block that this endpoint holds: as many as the
// handle's length, with the room of the block as capacity. They are valid until
// this endpoint frees the block or gives it away. Errors: ErrStaleHandle.
func (p *Raw) Bytes(h Handle) ([]byte, error) { return p.look(h, nil) }

// look is Bytes behind a gate.
func (p *Raw) look(h Handle, g *gate) ([]byte, error) {
	c, r, err := p.find(h)
	if err != nil {
		return nil, err
	}
	w := r.state.Load()
	if !g.open(w) {
		return nil, errGate
	}
	if !isHeld(w, p.me) || generation(w) != h.Generation() {
		return nil, p.stale(h, w)
	}
	return c.bytes(h), nil
}

// bytes is Bytes for a handle that was checked.
func (c *class) bytes(h Handle) []byte {
	at := unsafe.Add(c.mem, c.blocks+uintptr(h.Index())*c.stride)
	return unsafe.Slice((*byte)(at), c.Size)[:h.Len()]
}

// Alloc is TryAlloc that waits for a block, until ctx is done. It looks at ctx
// only when there was none.
func (p *Raw) Alloc(ctx context.Context, n int) (Handle, error) {
	h, err := p.alloc(n)
	if err == errExhausted {
		p.missed(n)
		return p.wait(ctx, n)
	}
	return h, err
}

// wait is what Alloc does when there was no block.
func (p *Raw) wait(ctx context.Context, n int) (h Handle, err error) {
	if ctx == nil {
		return Handle{}, errContext
	}
	if err := p.await(ctx, func() bool {
		h, err = p.alloc(n)
		return err != errExhausted
	}); err != nil {
		return Handle{}, err
	}
	return h, err
}

// await waits until try reports true, or until ctx is done, and returns ctx's
// error then. It tries when it has said that it sleeps, and whenever somebody
// has freed a block or called Kick; and every waiter.LongestPark in any case.
//
// A park follows each try in vain. So a list that was made to lead to itself, and
// always looks as if it had a block, costs a few looks each 100 ms; and who comes
// too late for a block has said that he sleeps, and is woken by the next Free.
func (p *Raw) await(ctx context.Context, try func() bool) error {
	return p.sleeper().AwaitWith(ctx, waiter.LongestPark, try)
}

// Kick wakes everybody who waits for a block.
func (p *Raw) Kick() { p.event.Kick() }
