package spsc

import (
	"fmt"

	"github.com/shmkit/shm/region"
)

// Section asks for the memory of a ring of this shape in a new region. Make
// the ring there with InitIn, from the region's Init function.
func (g Geometry) Section() region.Section {
	return region.Section{Kind: region.KindLane, Version: 1, Required: true, Size: uint64(g.Bytes()), Align: Align}
}

// InitIn is Init in the lane section of a region.
func InitIn(r *region.Region, g Geometry) error {
	mem, n, _, ok := r.Section(region.KindLane)
	if !ok {
		return errNoLane
	}
	return Init(mem, uintptr(n), g)
}

// ReadIn is Read in the lane section of a region.
func ReadIn(r *region.Region) (Geometry, error) {
	mem, n, version, ok := r.Section(region.KindLane)
	if !ok {
		return Geometry{}, errNoLane
	}
	if version != 1 {
		return Geometry{}, fmt.Errorf("spsc: lane of version %d, this library knows version 1: %w", version, region.ErrMismatch)
	}
	return Read(mem, uintptr(n))
}

// ProducerIn is AttachProducer in the lane section of a region, of the shape
// that it has. The Producer keeps the region alive.
func ProducerIn(r *region.Region) (Producer, error) {
	g, err := ReadIn(r)
	if err != nil {
		return Producer{}, err
	}
	mem, n, _, _ := r.Section(region.KindLane)
	p, err := AttachProducer(mem, uintptr(n), g)
	p.owner = r
	return p, err
}

// ConsumerIn is AttachConsumer in the lane section of a region, of the shape
// that it has. The Consumer keeps the region alive.
func ConsumerIn(r *region.Region) (Consumer, error) {
	g, err := ReadIn(r)
	if err != nil {
		return Consumer{}, err
	}
	mem, n, _, _ := r.Section(region.KindLane)
	c, err := AttachConsumer(mem, uintptr(n), g)
	c.owner = r
	return c, err
}

// TailIn returns the position that a new Producer in the lane section of a region
// would begin at, and writes nothing. It is right while no producer is at work;
// beside one it may be an error without reason.
func TailIn(r *region.Region) (uint64, error) { return scanIn(r, (*ring).scanTail) }

// HeadIn is TailIn for a Consumer.
func HeadIn(r *region.Region) (uint64, error) { return scanIn(r, (*ring).scanHead) }

func scanIn(r *region.Region, scan func(*ring) (uint64, error)) (uint64, error) {
	g, err := ReadIn(r)
	if err != nil {
		return 0, err
	}
	mem, n, _, _ := r.Section(region.KindLane)
	lane, err := attach(mem, uintptr(n), g)
	if err != nil {
		return 0, err
	}
	stamp, err := scan(&lane)
	return stamp >> 1, err
}

var errNoLane = fmt.Errorf("spsc: the region has no lane section: %w", region.ErrMismatch)
