package shmchan

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"reflect"
	"unsafe"

	"github.com/shmkit/shm/internal/schema"
	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan/spsc"
	"github.com/shmkit/shm/slabpool"
	"github.com/shmkit/shm/waiter"
)

// A channel in a region: the lane (a ring), one event a role (on which that
// role sleeps), for a Buf channel a pool of blocks, and the schema of T:
//
//	schema   0  16 bytes  fingerprint of the layout of T
//	        16   8 bytes  length of the encoding, 0 if it was too long
//	        24   ...      the encoding, for tools
//
// The schema is written before anybody can see the region, and never again.

const (
	roleSender   = 0
	roleReceiver = 1
	roles        = 2

	schemaVersion = 1
	schemaHead    = 24
	eventsVersion = 1
)

var roleNames = [roles]string{"sender", "receiver"}

// A plan is the channel that an opener has in mind.
type plan struct {
	options
	layout *schema.Layout
	code   []byte
	geo    spsc.Geometry
	pool   *slabpool.Geometry // of a Buf channel, nil for others

	uncounted bool // make the channel without counters: for the benchmark of what they cost
}

func newPlan[T any](opts []Option) (*plan, error) {
	o, err := gather(opts)
	if err != nil {
		return nil, err
	}
	if o.classes != nil {
		return nil, fmt.Errorf("shmchan: WithPool goes with Buf channels only: %w", fs.ErrInvalid)
	}
	return planOf(o, reflect.TypeFor[T]())
}

// planOf plans a channel of messages of type t.
func planOf(o options, t reflect.Type) (*plan, error) {
	l, err := schema.Of(t)
	if err != nil {
		return nil, fmt.Errorf("shmchan: %w", err)
	}
	n := o.capacity
	if n == 0 {
		n = defaultCapacity
	}
	g, err := spsc.Plan(n, l.Size)
	if err != nil {
		return nil, fmt.Errorf("shmchan: %w", err)
	}
	p := &plan{options: o, layout: l, geo: g}
	if code, err := l.Encode(); err == nil { // one that is too long travels without a description
		p.code = code
	}
	return p, nil
}

// config returns what makes such a channel.
func (p *plan) config() region.Config {
	c := region.Config{
		Roles:     roles,
		Mode:      p.mode,
		HugePages: p.hugePages,
		Sections: []region.Section{
			{Kind: region.KindEvents, Version: eventsVersion, Required: true, Size: roles * waiter.Size, Align: waiter.Size},
			{Kind: region.KindSchema, Version: schemaVersion, Required: true, Size: uint64(schemaHead + len(p.code))},
			p.geo.Section(),
		},
		Init: p.init,
	}
	if !p.uncounted {
		c.Sections = append(c.Sections, countersSection())
	}
	if p.pool != nil {
		c.Sections = append(c.Sections, p.pool.Section())
	}
	return c
}

func (p *plan) init(r *region.Region) error {
	mem, size, _, _ := r.Section(region.KindSchema)
	b := unsafe.Slice((*byte)(mem), size)
	sum := p.layout.Fingerprint()
	copy(b, sum[:])
	binary.NativeEndian.PutUint64(b[16:], uint64(len(p.code)))
	copy(b[schemaHead:], p.code)
	if p.pool != nil {
		if err := slabpool.InitIn(r, *p.pool); err != nil {
			return err
		}
	}
	return spsc.InitIn(r, p.geo)
}

// check tells whether the channel in r is the one that p has in mind.
func (p *plan) check(r *region.Region) error {
	mem, size, version, ok := r.Section(region.KindSchema)
	if !ok || size < schemaHead {
		return fmt.Errorf("shmchan: the region holds no channel (no schema): %w", ErrMismatch)
	}
	if version != schemaVersion {
		return fmt.Errorf("shmchan: schema of version %d, this library knows version %d; use the same release on both sides: %w", version, schemaVersion, ErrMismatch)
	}
	if _, size, version, ok := r.Section(region.KindEvents); !ok || version != eventsVersion || size < roles*waiter.Size {
		return fmt.Errorf("shmchan: the region has no events of version %d: %w", eventsVersion, ErrMismatch)
	}
	if r.Roles() != roles {
		return fmt.Errorf("shmchan: the region has %d roles, a channel has %d: %w", r.Roles(), roles, ErrMismatch)
	}
	if err := p.checkPool(r); err != nil {
		return err
	}
	g, err := spsc.ReadIn(r)
	if err != nil {
		return fmt.Errorf("shmchan: %w", err)
	}
	b := append([]byte(nil), unsafe.Slice((*byte)(mem), min(size, schemaHead+schema.MaxEncoded))...)
	if sum := p.layout.Fingerprint(); string(sum[:]) != string(b[:16]) || g.Size != p.layout.Size {
		return fmt.Errorf("shmchan: the channel carries %s, this program has %s; use the same type on both sides, or Remove the channel: %w",
			described(b), p.layout, ErrMismatch)
	}
	if p.capacity != 0 && g.Capacity != p.geo.Capacity {
		return fmt.Errorf("shmchan: the channel has capacity %d, this program asks for %d; leave WithCapacity out to take what is there: %w",
			g.Capacity, p.geo.Capacity, ErrMismatch)
	}
	if p.mode != 0 && p.mode != r.Mode() {
		return fmt.Errorf("shmchan: the channel has mode %#o (0: it has no name), this program asks for %#o; leave WithMode out to take what is there: %w",
			uint32(r.Mode()), uint32(p.mode), ErrMismatch)
	}
	if p.hugePages && !r.Layout().HugePages {
		return fmt.Errorf("shmchan: the channel was made without huge pages; leave WithHugePages out to take what is there: %w", ErrMismatch)
	}
	return nil
}

// described renders the schema section of a peer for people.
func described(b []byte) string {
	n := binary.NativeEndian.Uint64(b[16:])
	if n == 0 || n > uint64(len(b)-schemaHead) {
		return fmt.Sprintf("another type (layout %x)", b[:16])
	}
	l, err := schema.Decode(b[schemaHead : schemaHead+n])
	if err != nil {
		return fmt.Sprintf("another type (layout %x)", b[:16])
	}
	return l.String()
}

// event returns the event on which a role sleeps.
func event(r *region.Region, role int) *waiter.Event {
	mem, _, _, _ := r.Section(region.KindEvents)
	return (*waiter.Event)(unsafe.Add(mem, role*waiter.Size))
}
