package slabpool

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/region"
)

// The endpoint of a Pool.
//
// Invariants:
//   - the seat is ours from newPool to the end of Close, and while a block is
//     held here it is not given up;
//   - the mapping ends when the program has dropped the Pool, not with Close.
//
// TryAlloc and Close race: Close sets closed and then looks for blocks that are
// held; TryAlloc claims a block and then looks at closed. So either Close finds
// the block, and stays open, or TryAlloc gives it back.
//
// Who may die where: see sweep.go. A sweeper of a seat holds its role while he
// sweeps, so that nobody takes the seat meanwhile, and his death frees it.
type pool struct {
	raw    *Raw
	reg    *region.Region
	closed word.U32

	mu    sync.Mutex // Close, and the sweeps of other seats
	swept [MaxOwners]region.State
}

const poolCache = 16

func newPool(r *region.Region) (*Pool, error) {
	raw, err := AttachIn(r, Seat{Owner: r.Role(), Cache: poolCache})
	if err != nil {
		r.Abandon()
		r.Unmap()
		return nil, err
	}
	raw.Sweep(r.Role(), func() (func(Handle) bool, bool) { return nil, true }, false) // of our predecessor
	p := &Pool{&pool{raw: raw, reg: r}}
	r.Watch(raw.Kick)
	runtime.AddCleanup(p, func(p *pool) { go p.forget() }, p.pool) // a cleanup must not block
	return p, nil
}

// forget ends an endpoint that the program has dropped: for the others it has
// died. With blocks that the program may still read it keeps all as it is.
func (p *pool) forget() {
	if p.closed.Load() == 0 && p.held() > 0 {
		return
	}
	p.raw.sleeper().End() // a context that ends now must not touch the event any more
	p.reg.Unmap()
}

func (p *pool) held() (n int) {
	p.raw.Held(p.raw.Owner(), func(Handle) bool { n++; return true })
	return n
}

var errClosed = fmt.Errorf("slabpool: this endpoint is closed: %w", fs.ErrClosed)

// TryAlloc is (*Raw).TryAlloc. After Close it gives fs.ErrClosed.
func (p *Pool) TryAlloc(n int) (Handle, error) {
	h, err := p.take(n)
	if err == errExhausted {
		p.raw.missed(n)
	}
	runtime.KeepAlive(p)
	return h, err
}

// Alloc is TryAlloc that waits for a block, until ctx is done. When it finds
// none, it gives back what dead endpoints hold first. It looks at ctx only when
// it has to wait. After Close it gives fs.ErrClosed, also to who waits already.
func (p *Pool) Alloc(ctx context.Context, n int) (Handle, error) {
	defer runtime.KeepAlive(p)
	h, err := p.TryAlloc(n)
	for err == errExhausted {
		if p.Recover() == 0 {
			if err := p.raw.Await(ctx, n, p.news); err != nil {
				return Handle{}, err
			}
		}
		h, err = p.take(n)
	}
	return h, err
}

func (p *pool) take(n int) (Handle, error) {
	h, err := p.raw.alloc(n)
	if p.closed.Load() != 0 { // pairs with the store in Close
		if err == nil {
			p.raw.Free(h)
		}
		return Handle{}, errClosed
	}
	return h, err
}

// news tells whether a seat has lost its holder since we swept it, or this
// endpoint is closed.
func (p *pool) news() bool {
	if p.closed.Load() != 0 {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for seat := range MaxOwners {
		if s := p.reg.State(seat); s.Phase == region.Dead && s != p.swept[seat] {
			return true
		}
	}
	return false
}

// Recover gives back what endpoints hold whose processes have died, and returns
// how many holds that were. Alloc does it when it has to wait.
func (p *Pool) Recover() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer runtime.KeepAlive(p)
	if p.closed.Load() != 0 {
		return 0
	}
	for seat := range MaxOwners {
		s := p.reg.Probe(seat)
		fresh := s.Phase == region.Dead && s != p.swept[seat] // it may have left a token, and nothing else
		if seat == p.raw.Owner() || taken(s) || s.Phase == region.Closed || !fresh && !p.raw.has(seat) {
			continue
		}
		r, err := p.reg.Attach(seat) // so that nobody takes it meanwhile
		if err != nil {
			continue // somebody did, and sweeps
		}
		n += p.raw.Sweep(seat, func() (func(Handle) bool, bool) { return nil, true }, false)
		r.Detach()
		r.Unmap()
		p.swept[seat] = p.reg.State(seat)
	}
	return n
}

// Bytes is (*Raw).Bytes. The bytes stay mapped until the block is freed or given
// away, even if the program drops the Pool meanwhile.
func (p *Pool) Bytes(h Handle) ([]byte, error) {
	b, err := p.raw.Bytes(h)
	runtime.KeepAlive(p)
	return b, err
}

// Free is (*Raw).Free.
func (p *Pool) Free(h Handle) error {
	err := p.raw.Free(h)
	runtime.KeepAlive(p)
	return err
}

// Retain is (*Raw).Retain.
func (p *Pool) Retain(h Handle) error {
	defer runtime.KeepAlive(p)
	return p.raw.Retain(h)
}

// Share is (*Raw).Share. A seat that nobody has gives fs.ErrNotExist. If its
// holder dies later, his share comes back as all that he holds.
func (p *Pool) Share(h Handle, owner int) error {
	defer runtime.KeepAlive(p)
	if err := p.seated(owner); err != nil {
		return err
	}
	return p.raw.Share(h, owner)
}

// Give is (*Raw).Give. A seat that nobody has gives fs.ErrNotExist. A process
// that dies between Give and telling the new holder leaves him with a block
// that he does not know of: Held shows it.
func (p *Pool) Give(h Handle, owner int) error {
	defer runtime.KeepAlive(p)
	if err := p.seated(owner); err != nil {
		return err
	}
	return p.raw.Give(h, owner)
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
	p.raw.Held(p.raw.Owner(), func(h Handle) bool { all = append(all, h); return true })
	return all
}

// Stats is (*Raw).Stats.
func (p *Pool) Stats() []Stats {
	defer runtime.KeepAlive(p)
	return p.raw.Stats()
}

// Attach makes another endpoint of the same pool in this process. Errors:
// ErrBusy if all seats are taken; fs.ErrClosed.
func (p *Pool) Attach() (*Pool, error) {
	r, err := p.another()
	if err != nil {
		return nil, err
	}
	return newPool(r)
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
	if p.closed.Load() != 0 {
		return nil, errClosed
	}
	for seat := range MaxOwners {
		if s := p.reg.Probe(seat); taken(s) || s.Phase == region.Closed {
			continue
		}
		if r, err := p.reg.Attach(seat); err == nil {
			p.raw.Sweep(seat, func() (func(Handle) bool, bool) { return nil, true }, false)
			return r, nil
		}
	}
	return nil, fmt.Errorf("slabpool: all %d seats are taken: %w", MaxOwners, ErrBusy)
}

// Close gives the seat up. While this endpoint holds blocks it gives ErrBusy
// and changes nothing. The last to close removes the name; if two close at the
// same moment it may stay, and the next Open makes the pool anew. Close after
// Close does nothing and returns nil.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer runtime.KeepAlive(p)
	if p.closed.Load() != 0 {
		return nil
	}
	p.closed.Store(1) // pairs with the load in TryAlloc
	if n := p.held(); n > 0 {
		p.closed.Store(0)
		return fmt.Errorf("slabpool: close: %d blocks are held here; free them first: %w", n, ErrBusy)
	}
	p.raw.Flush()
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
	return err
}

func (p *pool) someoneSeated() bool {
	for seat := range MaxOwners {
		if taken(p.reg.State(seat)) {
			return true
		}
	}
	return false
}
