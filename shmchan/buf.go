package shmchan

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"runtime"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/slabpool"
)

// A Buf is a message of a Buf channel: a run of bytes in shared memory, or, if it
// is short, in this process. It comes from Loan, and goes with Send; or from
// Recv, and goes with Release. After that it is stale: Bytes gives nil, and
// everything else ErrStaleHandle. A Buf that is dropped without Send or Release
// keeps its block from others until its endpoint is closed and the process ends;
// and an endpoint that is dropped too is then not cleaned up: its peer is told
// when the process ends.
//
// Release and Retain may be called from any goroutine, everything else by one at
// a time.
//
// Recv and Loan give a new Buf for each message, so that a pointer that was kept
// never reaches another message. That is 80 bytes of the Go heap, allocated some
// 50 at a time. A program that wants none declares a Buf of its own, and has one
// message after the other put into it:
//
//	var b shmchan.Buf
//	for {
//		if err := rx.RecvInto(ctx, &b); err != nil {
//			return err
//		}
//		use(b.Bytes())
//		if err := b.Release(); err != nil {
//			return err
//		}
//	}
//
// RecvInto and LoanInto take the zero Buf, which is stale too, and one that has
// become stale, whatever endpoint it came from. One that holds a message gives
// ErrBusy, and keeps it. A pointer to such a Buf is good for whatever it holds: who
// uses one after Send or Release finds the next message. It must not be copied: the
// copy of a Buf that holds a message is of no use, and go vet finds it.
//
// Invariants:
//   - uses is how many holds there are; moving while one goroutine puts a message
//     in or takes it out; 0 of a stale Buf, which it stays until the program gives it
//     to RecvInto or LoanInto;
//   - moving begins by a compare and swap, from 0 or from 1, and only whoever made
//     it touches the rest of the Buf until he stores something else;
//   - self is the address of the Buf that got the message, and a stale Buf has no
//     side, so that it keeps no endpoint.
type Buf struct {
	_      noCopy
	uses   word.U32
	inline bool
	n      int
	side   *bufSide
	self   *Buf
	body   [inlineSize]byte // the message, or its bufBlock
}

// moving is what uses says while a message comes or goes. That many holds would be
// one too many.
const moving = math.MaxUint32

// A bufBlock is where a message is that has a block.
type bufBlock struct {
	handle slabpool.Handle
	at     uintptr // of the block in the pool
	room   int     // bytes of it
}

var _ [inlineSize - unsafe.Sizeof(bufBlock{})]byte // it fits

func (b *Buf) block() *bufBlock { return (*bufBlock)(unsafe.Pointer(&b.body)) }

// noCopy is for go vet, as that of package sync.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

// held tells whether b holds a message.
func (b *Buf) held() bool { return b.holds(b.uses.Load()) }

// holds is held for one who has loaded uses.
func (b *Buf) holds(n uint32) bool { return n != 0 && n != moving && b.self == b }

// claim begins to put a message into a stale Buf, until a store to uses.
func (b *Buf) claim() error {
	if b == nil {
		return errNoBuf
	}
	if !b.uses.CompareAndSwap(0, moving) { // pairs with the store in empty
		return errHolds
	}
	b.self = b
	return nil
}

// fill puts into b what get puts there.
func (b *Buf) fill(get func() error) error {
	if err := b.claim(); err != nil {
		return err
	}
	full := false
	defer func() { // also after a fault
		if !full {
			b.empty()
		}
	}()
	err := get()
	full = err == nil // and get has stored uses
	return err
}

// empty makes b stale, which is moving.
func (b *Buf) empty() {
	b.side = nil
	b.uses.StoreRelease(0) // pairs with the swap in claim
}

// Bytes returns the contents, Len bytes long, in their place: what is written
// there is what is sent. They must not be used after Send or Release, and stay
// mapped until then, whatever is closed meanwhile. Of a received Buf they lie in
// memory that the sender could write to; a sound one does not. nil after Send or
// Release.
func (b *Buf) Bytes() []byte {
	if !b.held() {
		return nil
	}
	return b.room()[:b.n]
}

func (b *Buf) room() []byte {
	if b.inline {
		return b.body[:]
	}
	return unsafe.Slice((*byte)(unsafe.Add(b.side.base, b.block().at)), b.block().room)
}

// Len returns the length in bytes, 0 after Send or Release.
func (b *Buf) Len() int { return len(b.Bytes()) }

// Cap returns how long the Buf can be made, in bytes: at least what was asked
// of Loan. 0 after Send or Release.
func (b *Buf) Cap() int { return cap(b.Bytes()) }

// SetLen makes the Buf n bytes long, 0 to Cap. What comes to it is whatever lies
// there. Errors: fs.ErrInvalid; ErrStaleHandle.
func (b *Buf) SetLen(n int) error {
	if !b.held() {
		return errStale
	}
	if n < 0 || n > cap(b.room()) {
		return fmt.Errorf("shmchan: length %d of a Buf with room for %d: %w", n, cap(b.room()), fs.ErrInvalid)
	}
	b.n = n
	return nil
}

// Retain adds a hold within this process: one more Release is needed, and the
// Buf cannot be sent before. For several processes see slabpool.Pool. Errors:
// ErrStaleHandle; fs.ErrInvalid at 2³²-2 holds.
func (b *Buf) Retain() error {
	for {
		n := b.uses.Load()
		if !b.holds(n) {
			return errStale
		}
		if n == moving-1 {
			return errHoards
		}
		if b.uses.CompareAndSwap(n, n+1) {
			return nil
		}
	}
}

// Release ends a hold. With the last one the block goes back to the pool, and
// who waits for one is woken. It never blocks, and may be called after the
// endpoint was closed. Errors: ErrStaleHandle after Send, or for a Release too
// many; ErrCorrupt, under Guard also for a file that was cut off.
func (b *Buf) Release() error {
	for {
		n := b.uses.Load()
		if !b.holds(n) {
			return errStale
		}
		if n > 1 {
			if b.uses.CompareAndSwap(n, n-1) { // nothing of b after this: it may be gone, and come again
				return nil
			}
		} else if b.uses.CompareAndSwap(1, moving) {
			return b.free()
		}
	}
}

// free gives the block back, after the last hold: b is moving.
func (b *Buf) free() (err error) {
	side, h, inline := b.side, b.block().handle, b.inline
	b.empty() // from here on b is stale, also if the memory faults
	if inline {
		return nil
	}
	done := false
	defer func() {
		defer func() {
			side.e.letGo()
			runtime.KeepAlive(side) // until the hold has ended, or the cleanup of the endpoint would spare it
		}()
		if done {
			return
		}
		// A fault, under Guard. If this is deferred because of another one, Guard
		// could not tell the two apart.
		if p := recover(); p != nil {
			err = guarded(func() error { panic(p) })
		}
	}()
	err = side.pool.Free(h)
	done = true
	if err != nil {
		return fmt.Errorf("shmchan: a block was changed under its holder: %w: %w", err, ErrCorrupt)
	}
	return nil
}

// Write appends p, as far as there is room: SetLen(0) first, to write from the
// start. Errors: io.ErrShortWrite; ErrStaleHandle.
func (b *Buf) Write(p []byte) (int, error) {
	if !b.held() {
		return 0, errStale
	}
	n := copy(b.room()[b.n:], p)
	b.n += n
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// ReadFrom appends what r gives, straight into the block, until r is at its end.
// If the block is full before, it gives io.ErrShortBuffer: send this Buf and go on
// with another. SetLen(0) first, to read to the start. Errors: those of r;
// ErrStaleHandle.
func (b *Buf) ReadFrom(r io.Reader) (total int64, err error) {
	if !b.held() {
		return 0, errStale
	}
	for empty := 0; ; {
		free := b.room()[b.n:]
		if len(free) == 0 {
			return total, io.ErrShortBuffer
		}
		n, err := r.Read(free)
		if n < 0 || n > len(free) {
			return total, fmt.Errorf("shmchan: a Reader that reads %d bytes into %d: %w", n, len(free), fs.ErrInvalid)
		}
		b.n += n
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		if n > 0 {
			empty = 0
		} else if empty++; empty == 100 {
			return total, io.ErrNoProgress
		}
	}
}

// WriteTo writes the contents to w, straight from the block. The Buf stays as it
// is. Errors: those of w; ErrStaleHandle.
func (b *Buf) WriteTo(w io.Writer) (int64, error) {
	if !b.held() {
		return 0, errStale
	}
	n, err := w.Write(b.Bytes())
	if err == nil && n < b.n {
		err = io.ErrShortWrite
	}
	return int64(n), err
}

var (
	errStale    = fmt.Errorf("shmchan: the Buf holds no message: it was sent or released before, is new, or is a copy: %w", ErrStaleHandle)
	errHolds    = fmt.Errorf("shmchan: the Buf holds a message; send or release it first: %w", ErrBusy)
	errHoards   = fmt.Errorf("shmchan: the Buf has as many holds as can be counted; Release goes with Retain: %w", fs.ErrInvalid)
	errNoBuf    = fmt.Errorf("shmchan: the Buf is nil; pass the address of one: %w", fs.ErrInvalid)
	errForeign  = fmt.Errorf("shmchan: the Buf is not a loan of this sender; copy it into one: %w", fs.ErrInvalid)
	errRetained = fmt.Errorf("shmchan: the Buf has further holds; release those before it is sent: %w", ErrBusy)
	errNoBlock  = fmt.Errorf("shmchan: no block that is large enough is free: %w", ErrFull)
)

var _ [80]byte = [unsafe.Sizeof(Buf{})]byte{}
