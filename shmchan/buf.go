package shmchan

import (
	"fmt"
	"io"
	"io/fs"
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
// a time. Each Buf is used once: it costs 104 bytes of the Go heap, allocated 64
// at a time.
//
// Invariant: uses is how many holds there are, and once it is 0 it stays so. The
// goroutine that makes it 0 is the only one to touch the block after.
type Buf struct {
	uses   word.U32
	inline bool
	n      int
	side   *bufSide
	data   unsafe.Pointer // of the block
	cap    int
	handle slabpool.Handle
	small  [inlineSize]byte
}

// Bytes returns the contents, Len bytes long, in their place: what is written
// there is what is sent. They must not be used after Send or Release, and stay
// mapped until then, whatever is closed meanwhile. Of a received Buf they lie in
// memory that the sender could write to; a sound one does not. nil after Send or
// Release.
func (b *Buf) Bytes() []byte {
	if b.uses.Load() == 0 {
		return nil
	}
	return b.room()[:b.n]
}

func (b *Buf) room() []byte {
	if b.inline {
		return b.small[:]
	}
	return unsafe.Slice((*byte)(b.data), b.cap)
}

// Len returns the length in bytes, 0 after Send or Release.
func (b *Buf) Len() int { return len(b.Bytes()) }

// Cap returns how long the Buf can be made, in bytes: at least what was asked
// of Loan. 0 after Send or Release.
func (b *Buf) Cap() int { return cap(b.Bytes()) }

// SetLen makes the Buf n bytes long, 0 to Cap. What comes to it is whatever lies
// there. Errors: fs.ErrInvalid; ErrStaleHandle.
func (b *Buf) SetLen(n int) error {
	if b.uses.Load() == 0 {
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
// ErrStaleHandle.
func (b *Buf) Retain() error {
	for {
		n := b.uses.Load()
		if n == 0 {
			return errStale
		}
		if b.uses.CompareAndSwap(n, n+1) {
			return nil
		}
	}
}

// Release ends a hold. With the last one the block goes back to the pool, and
// who waits for one is woken. It never blocks, and may be called after the
// endpoint was closed. Errors: ErrStaleHandle after Send, or for a Release too
// many; ErrCorrupt.
func (b *Buf) Release() error {
	for {
		n := b.uses.Load()
		if n == 0 {
			return errStale
		}
		if !b.uses.CompareAndSwap(n, n-1) {
			continue
		}
		if n > 1 || b.inline {
			return nil
		}
		return b.free()
	}
}

// free gives the block back, after the last hold.
func (b *Buf) free() error {
	defer func() { // also after a fault
		b.side.e.letGo()
		runtime.KeepAlive(b) // until the hold has ended, or the cleanup of the endpoint would spare it
	}()
	if err := b.side.pool.Free(b.handle); err != nil {
		return fmt.Errorf("shmchan: a block was changed under its holder: %w: %w", err, ErrCorrupt)
	}
	return nil
}

// Write appends p, as far as there is room: SetLen(0) first, to write from the
// start. Errors: io.ErrShortWrite; ErrStaleHandle.
func (b *Buf) Write(p []byte) (int, error) {
	if b.uses.Load() == 0 {
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
	if b.uses.Load() == 0 {
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
	if b.uses.Load() == 0 {
		return 0, errStale
	}
	n, err := w.Write(b.Bytes())
	if err == nil && n < b.n {
		err = io.ErrShortWrite
	}
	return int64(n), err
}

var (
	errStale    = fmt.Errorf("shmchan: the Buf was sent or released before: %w", ErrStaleHandle)
	errForeign  = fmt.Errorf("shmchan: the Buf is not a loan of this sender; copy it into one: %w", fs.ErrInvalid)
	errRetained = fmt.Errorf("shmchan: the Buf has further holds; release those before it is sent: %w", ErrBusy)
	errNoBlock  = fmt.Errorf("shmchan: no block that is large enough is free: %w", ErrFull)
)

var _ [104]byte = [unsafe.Sizeof(Buf{})]byte{}
