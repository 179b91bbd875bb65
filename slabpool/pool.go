package slabpool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/waiter"
)

// The endpoint of a Pool.
//
// Invariants:
//   - the seat is ours from newPool to the end of Close, and while a block is
//     held here it is not given up. No call claims, changes or gives back a block in
//     its name after that. Those that take a block out of the cache or give one
//     back are behind the gate (gate.go), and take no lock. The others have work
//     locked for reading, as have those that find the gate not open; so Close, which
//     has it locked while the gate is not open, waits for them, and they wait for
//     what it decides. None of them blocks, and Close has it only to look and to
//     flush;
//   - the mapping ends when the program has dropped the Pool, not with Close.
//
// Who may die where: see sweep.go. A sweeper of a seat holds its role while he
// sweeps, so that nobody takes the seat meanwhile, and his death frees it.
type pool struct {
	raw   *Raw
	reg   *region.Region
	shape Geometry // as it was read, compared with what was asked for, and is used
	gate  gate
	work  latch

	mu     sync.Mutex              // Close, and the sweeps of other seats
	missed [MaxOwners]region.State // deaths that nobody here could sweep after
	retry  time.Time               // when to try those again
}

const poolCache = 16

// newPool makes an endpoint of the pool in r, whose role is claimed. g is what was
// read there.
func newPool(r *region.Region, g Geometry) (*Pool, error) {
	raw, err := AttachIn(r, g, Seat{Owner: r.Role(), Cache: poolCache})
	if err != nil {
		r.Abandon()
		r.Unmap()
		return nil, err
	}
	raw.Sweep(r.Role(), func() (func(Handle) bool, bool) { return nil, true }, false) // of our predecessor
	p := &Pool{&pool{raw: raw, reg: r, shape: g}}
	r.Watch(raw.Kick)
	runtime.AddCleanup(p, func(p *pool) { go p.forget() }, p.pool) // a cleanup must not block
	return p, nil
}

// forget ends an endpoint that the program has dropped: for the others it has
// died. With blocks that the program may still read it keeps all as it is.
func (p *pool) forget() {
	if held, _ := p.raw.count(); held > 0 && !p.gate.closed() {
		return
	}
	p.raw.sleeper().End() // a context that ends now must not touch the event any more
	p.reg.Unmap()
}

var (
	errClosed = fmt.Errorf("slabpool: this endpoint is closed: %w", fs.ErrClosed)
	errEmpty  = fmt.Errorf("slabpool: this endpoint is closed, and holds nothing: %w: %w", ErrStaleHandle, fs.ErrClosed)
)

// TryAlloc is (*Raw).TryAlloc. After Close it gives fs.ErrClosed.
func (p *Pool) TryAlloc(n int) (Handle, error) {
	h, ok := p.raw.quick(n, &p.gate)
	var err error
	if !ok {
		if h, err = p.take(n); err == errExhausted {
			p.raw.missed(n)
		}
	}
	runtime.KeepAlive(p)
	return h, err
}

// Alloc is TryAlloc that waits for a block, until ctx is done. When it finds
// none, it gives back what dead endpoints hold first. It looks at ctx only when
// there was none. After Close it gives fs.ErrClosed, also to who waits already.
func (p *Pool) Alloc(ctx context.Context, n int) (Handle, error) {
	h, err := p.TryAlloc(n)
	if err == errExhausted {
		h, err = p.wait(ctx, n)
	}
	runtime.KeepAlive(p)
	return h, err
}

// wait is what Alloc does when there was no block.
func (p *Pool) wait(ctx context.Context, n int) (h Handle, err error) {
	if ctx == nil {
		return Handle{}, errContext
	}
	try := func() bool {
		h, err = p.take(n)
		return err != errExhausted
	}
	for {
		if p.Recover() > 0 && try() {
			return h, err
		}
		if err := p.raw.await(ctx, func() bool { return try() || p.news() }); err != nil {
			return Handle{}, err
		}
		if err != errExhausted {
			return h, err
		}
		if err := waiter.ContextError(ctx); err != nil { // news that come to nothing must not keep us
			return Handle{}, err
		}
	}
}

func (p *pool) take(n int) (Handle, error) {
	p.work.RLock()
	defer p.work.RUnlock()
	if p.gate.closed() {
		return Handle{}, errClosed
	}
	return p.raw.alloc(n)
}

// with runs a call that works with a block that is held here, with the latch.
func (p *pool) with(call func() error) error {
	p.work.RLock()
	defer p.work.RUnlock()
	if p.gate.closed() {
		return errEmpty
	}
	return call()
}

// news tells whether a seat has lost its holder and Recover should be called.
func (p *pool) news() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for seat := range MaxOwners {
		if s := p.reg.State(seat); s.Phase == region.Dead && (s != p.missed[seat] || !time.Now().Before(p.retry)) {
			return true
		}
	}
	return false
}

// Recover gives back what endpoints hold whose processes have died, and returns
// how many holds that were. Alloc does it when it has to wait. It does not block:
// while another process opens or closes the pool, or this one has no descriptor
// left, it leaves a seat to the next call.
func (p *Pool) Recover() (n int) {
	if p.gate.closed() {
		return 0 // Close may be at work yet
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer runtime.KeepAlive(p)
	if p.gate.closed() {
		return 0
	}
	var states [MaxOwners]region.State
	for seat := range states {
		states[seat] = p.reg.Probe(seat)
	}
	having := p.raw.having()
	for seat, s := range states {
		// Who died may have left a token, and nothing else.
		if seat == p.raw.Owner() || taken(s) || s.Phase == region.Closed || s.Phase != region.Dead && having&ownerBit(seat) == 0 {
			continue
		}
		r, err := p.reg.TryAttach(seat) // so that nobody takes it meanwhile
		if err != nil {                 // somebody did, and sweeps; or it must wait
			p.missed[seat], p.retry = s, time.Now().Add(waiter.LongestPark) // as often as who waits looks
			continue
		}
		n += p.raw.Sweep(seat, func() (func(Handle) bool, bool) { return nil, true }, false)
		r.Detach()
		r.Unmap()
	}
	return n
}

// Bytes is (*Raw).Bytes. The bytes stay mapped until the block is freed or given
// away, even if the program drops the Pool meanwhile.
func (p *Pool) Bytes(h Handle) ([]byte, error) {
	b, err := p.raw.look(h, &p.gate)
	if err == errGate {
		err = p.with(func() (err error) {
			b, err = p.raw.Bytes(h)
			return err
		})
	}
	runtime.KeepAlive(p)
	return b, err
}

// Free is (*Raw).Free. After Close it gives an error that is both ErrStaleHandle
// and fs.ErrClosed, as do Bytes, Retain, Share and Give.
func (p *Pool) Free(h Handle) error {
	err := p.raw.free(h, &p.gate)
	if err == errGate {
		err = p.with(func() error { return p.raw.Free(h) })
	}
	runtime.KeepAlive(p)
	return err
}

// Retain is (*Raw).Retain.
func (p *Pool) Retain(h Handle) error {
	defer runtime.KeepAlive(p)
	return p.with(func() error { return p.raw.Retain(h) })
}

// Share is (*Raw).Share. A seat that nobody has gives fs.ErrNotExist. If its
// holder dies later, his share comes back as all that he holds.
func (p *Pool) Share(h Handle, owner int) error {
	defer runtime.KeepAlive(p)
	return p.with(func() error {
		if err := p.seated(owner); err != nil {
			return err
		}
		return p.raw.Share(h, owner)
	})
}

// Give is (*Raw).Give. A seat that nobody has gives fs.ErrNotExist. A process
// that dies between Give and telling the new holder leaves him with a block
// that he does not know of: Held shows it.
func (p *Pool) Give(h Handle, owner int) error {
	defer runtime.KeepAlive(p)
	return p.with(func() error {
		if err := p.seated(owner); err != nil {
			return err
		}
		return p.raw.Give(h, owner)
	})
}

func (p *pool) seated(owner int) error {
	if owner >= 0 && owner < MaxOwners && !taken(p.reg.State(owner)) {
		return fmt.Errorf("slabpool: nobody has seat %d: %w", owner, fs.ErrNotExist)
	}
	return nil
}

// Owner returns the seat of this endpoint, which others Give and Share to.
func (p *Pool) Owner() int { return p.raw.Owner() }

// Held returns a handle of each block that this endpoint holds, as long as the
// block is.
func (p *Pool) Held() (all []Handle) {
	defer runtime.KeepAlive(p)
	p.with(func() error {
		p.raw.Held(p.raw.Owner(), func(h Handle) bool { all = append(all, h); return true })
		return nil
	})
	return all
}

// Stats is (*Raw).Stats.
func (p *Pool) Stats() []Stats {
	defer runtime.KeepAlive(p)
	return p.raw.Stats()
}

// Attach makes another endpoint of the same pool in this process. Errors:
// ErrBusy if all seats are taken; fs.ErrClosed; and those of the system, if it
// has no descriptor or no memory left, say.
func (p *Pool) Attach() (*Pool, error) {
	r, err := p.another()
	if err != nil {
		return nil, err
	}
	return newPool(r, p.shape)
}

// File returns a descriptor that carries a seat of its own to another process:
// through exec.Cmd.ExtraFiles or SCM_RIGHTS, then FromFile there. The caller
// closes it. Errors are those of Attach, and errors.ErrUnsupported on the heap.
func (p *Pool) File() (*os.File, error) {
	r, err := p.another()
	if err != nil {
		return nil, err
	}
	f, err := r.File()
	r.Unmap()
	return f, err
}

// another attaches to a seat that is free, after a sweep if somebody died in it.
func (p *Pool) another() (*region.Region, error) {
	defer runtime.KeepAlive(p)
	if p.gate.closed() {
		return nil, errClosed
	}
	for seat := range MaxOwners {
		if s := p.reg.Probe(seat); taken(s) || s.Phase == region.Closed {
			continue
		}
		r, err := p.reg.Attach(seat)
		if err == nil {
			p.raw.Sweep(seat, func() (func(Handle) bool, bool) { return nil, true }, false)
			return r, nil
		}
		if !errors.Is(err, ErrBusy) && !errors.Is(err, region.ErrRoleClosed) {
			return nil, fmt.Errorf("slabpool: attach: %w", err)
		}
	}
	return nil, fmt.Errorf("slabpool: all %d seats are taken: %w", MaxOwners, ErrBusy)
}

// Close gives the seat up. While this endpoint holds blocks it gives ErrBusy
// and changes nothing. The last to close removes the name; if two close at the
// same moment it may stay, and the next Open makes the pool anew. Beside a peer
// that writes without end that blocks are cached here it closes all the same, and
// gives ErrCorrupt. Close after Close does nothing and returns nil.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer runtime.KeepAlive(p)
	if p.gate.closed() {
		return nil
	}
	ended := p.end()
	if !p.gate.closed() {
		return ended
	}
	others := false
	for seat := range MaxOwners {
		others = others || seat != p.raw.Owner() && taken(p.reg.Probe(seat))
	}
	var err error
	if others || p.reg.Name() == "" {
		err = p.reg.Detach()
	} else {
		err = p.reg.Close(func() bool { return !p.someoneSeated() })
	}
	p.raw.Kick()
	return errors.Join(ended, err)
}

// end makes sure that nothing is held here and nothing will be.
func (p *pool) end() error {
	p.work.Lock()
	defer p.work.Unlock()
	return p.gate.end(p.raw)
}

func (p *pool) someoneSeated() bool {
	for seat := range MaxOwners {
		if taken(p.reg.State(seat)) {
			return true
		}
	}
	return false
}
