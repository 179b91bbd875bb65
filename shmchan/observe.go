package shmchan

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"github.com/shmkit/shm/internal/schema"
	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan/spsc"
	"github.com/shmkit/shm/slabpool"
	"github.com/shmkit/shm/waiter"
)

// An Observer looks at a named channel from outside: how full it is, who is at
// its ends, what they have done, what passes. It needs permission to read the
// file and no more, can change nothing, holds no lock, and costs the channel
// some twenty cache lines that it reads at each look.
//
// It keeps looking at the channel that it was made for, also after Remove: see
// Stats.Retired.
//
// All methods may be called from any goroutine, and none blocks.
type Observer struct {
	reg  *region.Observer
	info Info
	t    *schema.Layout // nil if the channel does not describe it
}

// An Info is what does not change in the life of a channel.
type Info struct {
	Name    string // absolute path
	ID      [16]byte
	Created time.Time
	Creator int              // process id, as the creator saw itself
	Bytes   uint64           // of the whole region
	Type    string           // layout of T, as in the messages of ErrMismatch; "Buf" of a Buf channel
	Size    int              // of T, in bytes
	Cap     int              // in messages
	Classes []slabpool.Class // of a Buf channel's pool, by size; nil for others
}

// Stats are what changes. Each number is right for itself; together they may
// be of slightly different instants.
type Stats struct {
	Time     time.Time
	Sent     uint64 // messages published since the channel was made
	Received uint64 // messages taken
	Len      int    // messages in the channel
	High     int    // most that were seen in it, by this look or by an end that waited
	Lost     uint64 // messages that nobody can receive any more: the receiver has closed
	Retired  bool   // removed or replaced: the name leads to another channel, or to none
	Sender   EndStats
	Receiver EndStats
}

// EndStats are what one end is and has done, its predecessors in the role
// included. Epoch-1 of them were taken over from, Deaths without a Close. The
// Tally and Refused are 0 in a channel that does not count.
//
// The waits of a sender found the channel full, or no free block; those of a
// receiver found it empty. A wait that did not sleep was served while it spun.
// Parks are also those of Ready, Select and WaitPeer, which are no waits.
type EndStats struct {
	region.Endpoint
	waiter.Tally
	Refused  uint64 // Try calls that found no room, no message, or no block
	Counted  bool   // the channel has counters
	Sleeping bool   // it is parked, or about to be, or was when its process died
}

// Spun returns how many waits ended without parking.
func (s EndStats) Spun() uint64 { return s.Waits - min(s.Slept, s.Waits) }

// Observe looks at the channel with this name. Errors are those of
// region.Observe; ErrMismatch if there is something else than a channel, or
// one of another version of this library.
func Observe(name string) (*Observer, error) {
	r, err := region.Observe(name)
	if err != nil {
		return nil, fmt.Errorf("shmchan: observe %q: %w", name, err)
	}
	o, err := ObserverOf(r)
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("shmchan: observe %q: %w", name, err)
	}
	return o, nil
}

// ObserverOf is Observe for a region that is observed already. The Observer
// closes r; after an error r is the caller's.
func ObserverOf(r *region.Observer) (*Observer, error) {
	l := r.Layout()
	if l.Roles != roles {
		return nil, fmt.Errorf("the region has %d roles, a channel has %d: %w", l.Roles, roles, ErrMismatch)
	}
	o := &Observer{reg: r, info: Info{
		Name: r.Name(), ID: l.ID, Created: time.Unix(0, l.Created), Creator: l.Creator, Bytes: l.Size,
	}}
	var head []byte // of the schema section
	err := o.look(func(v *spsc.View, at sections) error {
		o.info.Cap, o.info.Size = v.Cap(), int(v.Size())
		mem, size, version, ok := at(region.KindSchema)
		if !ok || size < schemaHead || version != schemaVersion {
			return fmt.Errorf("the region has no schema of version %d: %w", schemaVersion, ErrMismatch)
		}
		classes, err := classesOf(at)
		if err != nil {
			return err
		}
		o.info.Classes = classes
		head = append(head, unsafe.Slice((*byte)(mem), min(size, schemaHead+schema.MaxEncoded))...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	o.info.Type = described(head)
	if o.info.Classes != nil {
		o.info.Type = "Buf"
	}
	if n := binary.NativeEndian.Uint64(head[16:]); n > 0 && n <= uint64(len(head)-schemaHead) {
		t, err := schema.Decode(head[schemaHead : schemaHead+n])
		if err == nil && t.Fingerprint() == [16]byte(head[:16]) && t.Size == uintptr(o.info.Size) {
			o.t = t
		}
	}
	return o, nil
}

type sections = func(region.Kind) (mem unsafe.Pointer, size uint64, version uint16, ok bool)

// look calls f while the memory may be read.
func (o *Observer) look(f func(v *spsc.View, at sections) error) (err error) {
	rerr := o.reg.Read(func(at func(region.Kind) (unsafe.Pointer, uint64, uint16, bool)) {
		mem, size, version, ok := at(region.KindLane)
		if !ok || version != 1 {
			err = fmt.Errorf("the region has no lane of version 1: %w", ErrMismatch)
			return
		}
		var v spsc.View
		if v, err = spsc.ViewOf(mem, uintptr(size)); err == nil {
			err = f(&v, at)
		}
	})
	if rerr != nil {
		return rerr
	}
	return err
}

// Info returns what does not change.
func (o *Observer) Info() Info { return o.info }

// Region returns the observer of the channel's region.
func (o *Observer) Region() *region.Observer { return o.reg }

// Stats looks at the channel. Errors: ErrCorrupt if its memory is no channel's
// any more, fs.ErrClosed after Close.
func (o *Observer) Stats() (s Stats, err error) {
	s.Time = time.Now()
	ends := [roles]*EndStats{roleSender: &s.Sender, roleReceiver: &s.Receiver}
	for role, e := range ends {
		if e.Endpoint, err = o.reg.Endpoint(role); err != nil {
			return s, err
		}
	}
	err = o.look(func(v *spsc.View, at sections) error {
		s.Sent = v.Tail()
		s.Received = min(v.Head(), s.Sent) // what was taken meanwhile was sent after that instant
		s.Len = int(min(s.Sent-s.Received, uint64(v.Cap())))
		s.High = s.Len
		mem, size, version, ok := at(region.KindCounters)
		ok = ok && version == countersVersion && size >= roles*countersSize
		ev, evSize, _, _ := at(region.KindEvents)
		for role, e := range ends {
			if ok {
				c := (*counters)(unsafe.Add(mem, role*countersSize))
				e.Counted, e.Tally, e.Refused = true, c.waiting.Read(), c.refused.Load()
				if high := c.high.Load(); high <= uint64(v.Cap()) { // pairs with the store in seen
					s.High = max(s.High, int(high))
				}
			}
			if evSize >= roles*waiter.Size {
				e.Sleeping = (*waiter.Event)(unsafe.Add(ev, role*waiter.Size)).Sleeping()
			}
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	if s.Receiver.Phase == region.Closed {
		s.Lost = uint64(s.Len)
	}
	s.Retired, err = o.reg.Retired()
	return s, err
}

// Check looks at every slot and tells whether the ring is sound. It reads the
// whole channel, so it is not for every second. Errors wrap ErrCorrupt.
func (o *Observer) Check() error {
	return o.look(func(v *spsc.View, _ sections) error { return v.Check() })
}

// AppendText appends a message in the form that fmt's %+v gives it, by the
// layout in the channel's header; in hexadecimal if the channel does not
// describe its messages.
func (o *Observer) AppendText(dst, message []byte) []byte {
	if o.t == nil {
		return fmt.Appendf(dst, "%x", message)
	}
	return o.t.AppendText(dst, message)
}

// AppendJSON appends a message as JSON: an object for a struct, an array for
// an array or a complex number, a string for what JSON has no number for; or,
// if the channel does not describe its messages, one string in hexadecimal.
func (o *Observer) AppendJSON(dst, message []byte) []byte {
	if o.t == nil {
		return fmt.Appendf(dst, `"%x"`, message)
	}
	return o.t.AppendJSON(dst, message)
}

// Close ends the look. Closing twice does nothing.
func (o *Observer) Close() error { return o.reg.Close() }
