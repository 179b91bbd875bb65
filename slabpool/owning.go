package slabpool

import (
	"fmt"

	"github.com/shmkit/shm/region"
)

const sectionVersion = 1

// Section asks for the memory of a pool of this shape in a new region. Make
// the pool there with InitIn, from the region's Init function.
func (g Geometry) Section() region.Section {
	return region.Section{Kind: region.KindPool, Version: sectionVersion, Required: true, Size: uint64(g.Bytes()), Align: Align}
}

// InitIn is Init in the pool section of a region.
func InitIn(r *region.Region, g Geometry) error {
	mem, n, _, ok := r.Section(region.KindPool)
	if !ok {
		return errNoPool
	}
	return Init(mem, uintptr(n), g)
}

// ReadIn is Read in the pool section of a region. A region without one gives
// ErrMismatch.
func ReadIn(r *region.Region) (Geometry, error) {
	mem, n, version, ok := r.Section(region.KindPool)
	if err := checkSection(version, ok); err != nil {
		return Geometry{}, err
	}
	return Read(mem, uintptr(n))
}

func checkSection(version uint16, ok bool) error {
	if !ok {
		return errNoPool
	}
	if version != sectionVersion {
		return fmt.Errorf("slabpool: pool of version %d, this library knows version %d; use the same release on both sides: %w",
			version, sectionVersion, ErrMismatch)
	}
	return nil
}

// AttachIn is Attach in the pool section of a region, which has the shape g: the one
// that ReadIn gave, or that InitIn made. It is not read again, so what the caller has
// looked at is what is used. The Raw keeps the region alive.
func AttachIn(r *region.Region, g Geometry, s Seat) (*Raw, error) {
	mem, n, version, ok := r.Section(region.KindPool)
	if err := checkSection(version, ok); err != nil {
		return nil, err
	}
	if err := g.check(mem, uintptr(n)); err != nil {
		return nil, err
	}
	p, err := attach(mem, g, s)
	if err != nil {
		return nil, err
	}
	p.owner = r
	return p, nil
}

var errNoPool = fmt.Errorf("slabpool: the region has no pool section: %w", ErrMismatch)
