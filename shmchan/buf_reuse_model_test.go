//go:build modelcheck

package shmchan

import (
	"errors"
	"fmt"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/waiter"
)

// The models of a Buf of the caller's, which holds one message after the other
// while another goroutine ends a hold of an earlier one. Bufs, pool and ring are
// what ships; nobody dies here, since all this is within one process.

// A reuseWorld is a channel of two messages, of a block each, and the endpoints
// of this process without what they wait with.
type reuseWorld struct {
	*bufWorld
	tx *BufSender
	rx *BufReceiver
	b  *Buf

	// release is (*Buf).Release, or one with a bug.
	release func(*Buf) error
}

func newReuseWorld(w *modelcheck.World, release func(*Buf) error) *reuseWorld {
	x := &reuseWorld{bufWorld: newBufWorld(w, 2, 2), release: release}
	side := func(role int, e *end) *bufSide {
		e.role = role
		e.holds.Store(1)
		e.wake = waiter.NewWaker(modelcheck.Alloc[waiter.Event](w, roleNames[role]+" wakes"))
		return &bufSide{e: e, pool: x.seat(role), base: unsafe.Pointer(&x.mem[0])}
	}
	se, re := &sendEnd{ring: x.producer()}, &recvEnd{ring: x.consumer()}
	x.tx = &BufSender{e: se, side: side(roleSender, &se.end)}
	x.rx = &BufReceiver{e: re, side: side(roleReceiver, &re.end)}
	x.b = &Buf{}
	return x
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// loan puts message number n into b, as LoanInto does.
func (x *reuseWorld) loan(b *Buf, n uint64) error {
	return b.fill(func() error {
		h, err := x.tx.side.pool.TryAlloc(modelSize)
		if err != nil {
			return err
		}
		if _, err = x.tx.side.large(b, h); err == nil {
			word.Writes(unsafe.Pointer(&b.Bytes()[0]), modelSize)
			*(*uint64)(unsafe.Pointer(&b.Bytes()[0])) = n
		}
		return err
	})
}

// send is TrySend.
func (x *reuseWorld) send(b *Buf) error {
	x.tx.e.use.Store(working)
	return x.tx.put((*bufMessage)(x.tx.e.ring.Slot()), b)
}

// recv is TryRecvInto.
func (x *reuseWorld) recv(b *Buf) error {
	return b.fill(func() error {
		x.rx.e.use.Store(working)
		_, err := x.rx.get(x.rx.e.ring.Slot(), b)
		return err
	})
}

// look checks that b holds message n.
func (x *reuseWorld) look(b *Buf, n uint64) {
	v := b.Bytes()
	if len(v) != modelSize {
		panic(fmt.Sprintf("a Buf with message %d has %d bytes", n, len(v)))
	}
	word.Reads(unsafe.Pointer(&v[0]), modelSize)
	if got := *(*uint64)(unsafe.Pointer(&v[0])); got != n {
		panic(fmt.Sprintf("a Buf with message %d says %d", n, got))
	}
}

// free says that all blocks are, and no Buf is held.
func (x *reuseWorld) free() error {
	for _, e := range []*end{x.tx.side.e, x.rx.side.e} {
		if n := e.holds.Load(); n != 1 {
			return fmt.Errorf("%d holds of the %s are left", n, roleNames[e.role])
		}
	}
	if s := x.tx.side.pool.Stats()[0]; s.InUse != 0 || x.b.held() {
		return fmt.Errorf("%v at the end", s)
	}
	return nil
}

// receives: the owner of a Buf and another goroutine each end a hold of the first
// message, and then the owner gets the second into the same Buf.
func receives(release func(*Buf) error) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		x := newReuseWorld(w, release)
		for n := range uint64(2) {
			var b Buf
			check(x.loan(&b, n+1))
			check(x.send(&b))
		}
		check(x.recv(x.b))
		check(x.b.Retain())
		w.Go("owner", func() {
			x.look(x.b, 1)
			check(x.release(x.b))
			spin(func() bool {
				err := x.recv(x.b)
				if err != nil && !errors.Is(err, ErrBusy) {
					panic(err)
				}
				return err == nil
			})
			x.look(x.b, 2)
			check(x.release(x.b))
		})
		w.Go("other", func() {
			x.look(x.b, 1)
			check(x.release(x.b))
		})
		w.Final(x.free)
	}
}

// sends: the owner of a Buf sends a loan as soon as the hold of another goroutine
// has ended, and has the next one in the same Buf.
func sends(release func(*Buf) error) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		x := newReuseWorld(w, release)
		check(x.loan(x.b, 1))
		check(x.b.Retain())
		w.Go("owner", func() {
			spin(func() bool {
				err := x.send(x.b)
				if err != nil && !errors.Is(err, ErrBusy) {
					panic(err)
				}
				return err == nil
			})
			check(x.loan(x.b, 2))
			x.look(x.b, 2)
			check(x.send(x.b))
			for n := range uint64(2) {
				check(x.recv(x.b))
				x.look(x.b, n+1)
				check(x.release(x.b))
			}
		})
		w.Go("other", func() {
			x.look(x.b, 1)
			check(x.release(x.b))
		})
		w.Final(x.free)
	}
}

// overlooked is a Release that makes the Buf stale before it has looked what to
// free, as it did when no Buf was used twice.
func overlooked(b *Buf) error {
	for {
		n := b.uses.Load()
		if n == 0 {
			return errStale
		}
		if !b.uses.CompareAndSwap(n, n-1) {
			continue
		}
		if n > 1 {
			return nil
		}
		word.Pause(1) // somewhere else
		defer b.side.e.letGo()
		return b.side.pool.Free(b.block().handle)
	}
}

// dropped is a Release that drops its hold before it asks whether it was the last.
func dropped(b *Buf) error {
	b.uses.Add(^uint32(0))
	if b.uses.CompareAndSwap(0, moving) {
		return b.free()
	}
	return nil
}

func TestModelReuse(t *testing.T) {
	s := suite.New(t)
	for _, m := range suite.Models {
		cfg := modelcheck.Config{Model: m, MaxExecutions: suite.UpTo(20_000, 300_000)}
		s.Explore("a Buf that receives again", cfg, receives((*Buf).Release))
		s.Explore("a Buf that sends again", cfg, sends((*Buf).Release))
	}
	cfg := modelcheck.Config{MaxExecutions: 20_000}
	s.Bug("a Buf that is stale before it is done with", cfg, receives(overlooked), modelcheck.Panic, 1)
	s.Bug("a hold that is dropped before it is looked at", cfg, receives(dropped), modelcheck.Panic, 37)
}
