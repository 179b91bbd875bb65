package shmchan

import (
	"fmt"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/shmchan/spsc"
)

// A Tail reads messages as they pass, without taking any. It is a sampler:
// nobody waits for it, so what is overwritten before it was read is skipped,
// and counted. On amd64 a message can be read until the sender has come round
// to its slot; elsewhere only while the receiver has not taken it.
//
// It belongs to one goroutine at a time.
type Tail struct {
	o       *Observer
	next    uint64
	skipped uint64
	buf     []byte
}

// A Sample is a message that has passed.
type Sample struct {
	Position uint64 // messages that were sent before it
	Skipped  uint64 // messages before it, since the last Sample, that could not be read
	Bytes    []byte // valid until the next call
}

// Tail begins to read: at the next message that is sent, or, with old, at the
// oldest that still lies in the channel. Errors are those of Stats.
func (o *Observer) Tail(old bool) (*Tail, error) {
	t := &Tail{o: o, buf: make([]byte, o.info.Size)}
	err := o.look(func(v *spsc.View, _ sections) error {
		if v.Cap() != o.info.Cap || int(v.Size()) != o.info.Size {
			return errReshaped
		}
		t.next = v.Tail()
		if !old {
			return nil
		}
		head, oldest := v.Head(), t.next-min(t.next, uint64(v.Cap()))
		switch {
		case !word.NeedsFence: // what was taken is not given
			oldest = max(oldest, min(head, t.next))
		case oldest < head && t.next-oldest == uint64(v.Cap()): // the sender may be at work in its slot
			oldest++
		}
		t.next = oldest
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

var errReshaped = fmt.Errorf("shmchan: the shape of the ring has changed: %w", ErrCorrupt)

// Next returns the next message that can be read, if there is one now. It does
// not wait. Errors are those of Stats.
func (t *Tail) Next() (s Sample, ok bool, err error) {
	err = t.o.look(func(v *spsc.View, _ sections) error {
		if v.Cap() != t.o.info.Cap || int(v.Size()) != t.o.info.Size {
			return errReshaped
		}
		tail := v.Tail()
		behind := int64((tail-t.next)<<1) >> 1
		if behind < 0 { // no sound peer goes back
			t.next = tail
			return nil
		}
		if far := behind - int64(v.Cap()); far > 0 {
			t.skipped += uint64(far)
			t.next += uint64(far)
			behind = int64(v.Cap())
		}
		for ; behind > 0 && !ok; behind-- {
			if ok = v.Message(t.next, t.buf); ok {
				s = Sample{Position: t.next, Skipped: t.skipped, Bytes: t.buf}
				t.skipped = 0
			} else {
				t.skipped++
			}
			t.next++
		}
		return nil
	})
	return s, ok && err == nil, err
}

// Skipped returns how many messages could not be read since the last Sample.
func (t *Tail) Skipped() uint64 { return t.skipped }
