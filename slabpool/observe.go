package slabpool

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/shmkit/shm/region"
)

// An Observer looks at a named pool from outside: what is in use, and by whom.
// It needs permission to read the file and no more, can change nothing, and
// holds no lock. A look reads 16 bytes for each block of the pool.
//
// It keeps looking at the pool that it was made for, also after Remove: see
// Look.Retired.
//
// All methods may be called from any goroutine, and none blocks.
type Observer struct {
	reg     *region.Observer
	classes []Class
}

// A Look is what an Observer has seen. Each number is right for itself;
// together they may be of slightly different instants.
type Look struct {
	Time    time.Time
	Classes []Stats // by size
	Seats   [MaxOwners]SeatStats
	Waiting bool // somebody may be parked until a block is available
	Retired bool // removed or replaced: the name leads to another pool, or to none
}

// SeatStats are one endpoint of a pool, and what it has. What a dead one has
// comes back when somebody sweeps after it.
type SeatStats struct {
	region.Endpoint
	Holdings
}

// Observe looks at the pool with this name. Errors are those of
// region.Observe; ErrMismatch if there is something else than a pool, or one of
// another version of this library.
func Observe(name string) (*Observer, error) {
	r, err := region.Observe(name)
	if err != nil {
		return nil, fmt.Errorf("slabpool: observe %q: %w", name, err)
	}
	o, err := ObserverOf(r)
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("slabpool: observe %q: %w", name, err)
	}
	return o, nil
}

// ObserverOf is Observe for a region that is observed already. The Observer
// closes r; after an error r is the caller's.
func ObserverOf(r *region.Observer) (*Observer, error) {
	if n := r.Layout().Roles; n != MaxOwners {
		return nil, fmt.Errorf("the region has %d roles, a pool has %d: %w", n, MaxOwners, ErrMismatch)
	}
	o := &Observer{reg: r}
	err := o.look(func(v *View) { o.classes = v.Classes() })
	if err != nil {
		return nil, err
	}
	return o, nil
}

// look calls f while the memory may be read.
func (o *Observer) look(f func(v *View)) (err error) {
	rerr := o.reg.Read(func(at func(region.Kind) (unsafe.Pointer, uint64, uint16, bool)) {
		var v View
		if v, err = ViewIn(at); err == nil {
			f(&v)
		}
	})
	if rerr != nil {
		return rerr
	}
	return err
}

// Classes returns the classes, by size. The caller must not change them.
func (o *Observer) Classes() []Class { return o.classes }

// Region returns the observer of the pool's region.
func (o *Observer) Region() *region.Observer { return o.reg }

// Look looks at the pool. Errors: ErrCorrupt if its memory is no pool's any
// more, fs.ErrClosed after Close.
func (o *Observer) Look() (l Look, err error) {
	l.Time = time.Now()
	for seat := range l.Seats {
		if l.Seats[seat].Endpoint, err = o.reg.Endpoint(seat); err != nil {
			return l, err
		}
	}
	err = o.look(func(v *View) {
		l.Classes, l.Waiting = v.Stats(), v.Waiting()
		for seat, h := range v.Holdings() {
			l.Seats[seat].Holdings = h
		}
	})
	if err != nil {
		return l, err
	}
	l.Retired, err = o.reg.Retired()
	return l, err
}

// Close ends the look. Closing twice does nothing.
func (o *Observer) Close() error { return o.reg.Close() }
