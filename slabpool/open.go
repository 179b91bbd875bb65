package slabpool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/shmkit/shm/region"
)

// A Pool is an endpoint of a pool in a region of its own, for blocks that go to
// any number of processes, up to MaxOwners endpoints at once. Each endpoint has
// a seat, which is a role of the region; handles travel through any channel of
// the library, and say nothing by themselves: whoever gets one must hold the
// block, by Give or Share.
//
// Any goroutine may call any method. When a process dies, what its endpoint held
// comes back: the next allocation that finds no block looks for dead endpoints,
// Recover does so at once, and who takes the seat does first of all. A block
// that the dead process shared with others stays theirs.
//
// What is on its way in a channel when its new holder dies is lost to the
// channel, but not to the pool: the handle is stale then.
type Pool struct{ *pool }

// Open attaches to the pool with this name, or makes it: whoever comes first
// makes it. A bare name lies in /dev/shm (or in $SHMCHAN_DIR); an absolute path
// is used as it is. The classes of the first comer hold; a later one may leave
// them out, and none at all means DefaultClasses. A pool that no living process
// uses is made anew, and handles from before are stale.
//
// Errors: ErrBusy if all seats are taken; ErrMismatch for other classes;
// fs.ErrInvalid; ENOSPC with the size that is needed; and those of region.Open.
func Open(name string, classes ...Class) (*Pool, error) {
	g, err := Plan(classes...)
	if err != nil {
		return nil, err
	}
	seat := 0
	var full bool
	shape := g // of what we are attached to: as accept read it, or as we made it
	c := config(g)
	c.Init = func(r *region.Region) error {
		shape = g
		return InitIn(r, g)
	}
	c.Accept = func(r *region.Region) (region.Verdict, error) {
		live, free := 0, -1
		for i := range min(MaxOwners, r.Roles()) {
			switch s := r.Probe(i); {
			case taken(s):
				live++
			case s.Phase != region.Closed && free < 0:
				free = i
			}
		}
		if live == 0 {
			return region.Remake, nil
		}
		var err error
		if shape, err = accept(r); err != nil {
			return region.Keep, err
		}
		if len(classes) > 0 && !shape.Equal(g) {
			return region.Keep, fmt.Errorf("slabpool: the pool has the classes %v, this program asks for %v; leave them out to take what is there: %w",
				shape.Classes(), g.Classes(), ErrMismatch)
		}
		if full = free < 0; full || free != seat {
			seat = free
			return region.Keep, ErrBusy
		}
		return region.Keep, nil
	}
	for range 4 * MaxOwners {
		r, err := region.Open(name, max(seat, 0), c)
		switch {
		case err == nil:
			return newPool(r, shape)
		case full:
			return nil, fmt.Errorf("slabpool: open %q: all %d seats are taken: %w", name, MaxOwners, ErrBusy)
		case !errors.Is(err, ErrBusy):
			return nil, fmt.Errorf("slabpool: open %q: %w", name, err)
		}
	}
	return nil, fmt.Errorf("slabpool: open %q: others take each seat first: %w", name, ErrBusy)
}

// Memfd makes a pool in an anonymous file. Attach makes more endpoints of it
// here, File in other processes. Errors: those of Plan, and of the system.
func Memfd(classes ...Class) (*Pool, error) { return create(region.Memfd, classes) }

// Heap is Memfd on the Go heap, where the race detector sees the blocks: for
// tests under -race. It cannot leave the process.
func Heap(classes ...Class) (*Pool, error) { return create(region.Heap, classes) }

func create(make func(region.Config) (*region.Region, error), classes []Class) (*Pool, error) {
	g, err := Plan(classes...)
	if err != nil {
		return nil, err
	}
	r, err := make(config(g))
	if err == nil {
		if err = r.Claim(0); err != nil {
			r.Unmap()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("slabpool: %w", err)
	}
	return newPool(r, g)
}

// FromFile attaches through a descriptor that (*Pool).File made here or in
// another process. On success f is closed; after an error it is the caller's.
// Errors: fs.ErrInvalid if f is no such descriptor; ErrBusy if a copy of it was
// attached before; ErrMismatch; ErrCorrupt.
func FromFile(f *os.File) (*Pool, error) {
	if f == nil {
		return nil, fmt.Errorf("slabpool: from file: the file is nil: %w", fs.ErrInvalid)
	}
	var shape Geometry
	var err error
	for seat := range MaxOwners { // the descriptor knows which
		var r *region.Region
		r, err = region.FromFile(f, seat, func(r *region.Region) (err error) {
			shape, err = accept(r)
			return err
		})
		if err == nil {
			return newPool(r, shape)
		}
		if !errors.Is(err, fs.ErrInvalid) {
			break
		}
	}
	return nil, fmt.Errorf("slabpool: from file: %w", err)
}

// Remove takes the name of a pool away. Whoever is attached stays so; whoever
// opens the name next makes a new pool. A name that is not there gives
// fs.ErrNotExist.
func Remove(name string) error {
	if err := region.Remove(name, nil); err != nil {
		return fmt.Errorf("slabpool: remove %q: %w", name, err)
	}
	return nil
}

func config(g Geometry) region.Config {
	return region.Config{
		Roles:    MaxOwners,
		Sections: []region.Section{g.Section()},
		Init:     func(r *region.Region) error { return InitIn(r, g) },
	}
}

// accept tells whether r has a pool, and returns its shape: the only time that it
// is read, since a peer may write another one at any moment.
func accept(r *region.Region) (Geometry, error) {
	g, err := ReadIn(r)
	if err == nil && r.Roles() != MaxOwners {
		err = fmt.Errorf("slabpool: the region has %d roles, a pool has %d: %w", r.Roles(), MaxOwners, ErrMismatch)
	}
	return g, err
}

// taken tells whether a living process has or carries the seat.
func taken(s region.State) bool { return s.Phase == region.Attached || s.Phase == region.Transit }
