package shmchan

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan/spsc"
	"github.com/shmkit/shm/slabpool"
)

// Pool looks at all blocks of a Buf channel's pool, and returns what it finds
// by class; nil for a channel of a type. It reads 16 bytes for each block.
// Errors are those of Stats.
func (o *Observer) Pool() (all []slabpool.Stats, err error) {
	if o.info.Classes == nil {
		return nil, nil
	}
	err = o.look(func(_ *spsc.View, at sections) error {
		v, err := slabpool.ViewIn(at)
		if err == nil {
			all = v.Stats()
		}
		return err
	})
	return all, err
}

// A BufSample is a message of a Buf channel that has passed.
type BufSample struct {
	Len    int             // of the message, in bytes
	Inline bool            // it travelled in its slot, without a block
	Handle slabpool.Handle // of its block
	Bytes  []byte          // its first bytes, nil if they cannot be read any more
}

// Buf reads what a Sample's bytes say of a message of a Buf channel, and its
// contents, which it copies to buf as far as they fit. The contents of a block
// can be read until its receiver has released it; they are what its holders have
// written until then. A BufSample without Bytes and without an error is one that
// came too late.
//
// Errors: ErrMismatch if this is no Buf channel; ErrCorrupt if the message names
// no block of the channel's pool; those of Stats.
func (o *Observer) Buf(message, buf []byte) (s BufSample, err error) {
	if o.info.Classes == nil {
		return s, fmt.Errorf("shmchan: a channel of %s has no Bufs: %w", o.info.Type, ErrMismatch)
	}
	if len(message) != int(unsafe.Sizeof(bufMessage{})) {
		return s, fmt.Errorf("shmchan: %d bytes are no message of Bufs: %w", len(message), ErrCorrupt)
	}
	var m bufMessage
	m.Head = binary.NativeEndian.Uint64(message)
	copy(m.Body[:], message[8:])
	switch n := m.Head >> 8; {
	case m.Head&0xff == kindInline && n <= inlineSize:
		s.Inline, s.Len = true, int(n)
		s.Bytes = buf[:copy(buf, m.Body[:n])]
		return s, nil
	case m.Head != kindBlock:
		return s, fmt.Errorf("shmchan: a message of kind %#x: %w", m.Head, ErrCorrupt)
	}
	s.Handle = *m.handle()
	s.Len = s.Handle.Len()
	if k := s.Handle.Class(); k >= len(o.info.Classes) || s.Len > o.info.Classes[k].Size || s.Handle.Index() >= o.info.Classes[k].Count {
		return s, fmt.Errorf("shmchan: the pool has no %v: %w", s.Handle, ErrCorrupt)
	}
	err = o.look(func(_ *spsc.View, at sections) error {
		v, err := slabpool.ViewIn(at)
		if err != nil {
			return err
		}
		if n, err := v.Sample(s.Handle, buf); err == nil {
			s.Bytes = buf[:n]
		}
		return nil
	})
	return s, err
}

// classesOf reads the classes of a Buf channel's pool; nil of another channel.
func classesOf(at sections) ([]slabpool.Class, error) {
	if _, _, _, ok := at(region.KindPool); !ok {
		return nil, nil
	}
	v, err := slabpool.ViewIn(at)
	if err != nil {
		return nil, err
	}
	return v.Classes(), nil
}
