package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// What a prey counts.
const (
	noteAttach = iota
	noteWalled
	noteCall
	noteFine
	noteCorrupt
	noteClosed
	noteDied
	noteOther
)

// note counts a call by its error, which must be one that a caller may see whose
// channel holds garbage.
func note(c *control, what string, err error) {
	c.notes[noteCall].Add(1)
	switch {
	case err == nil:
		c.notes[noteFine].Add(1)
		return
	case errors.Is(err, shmchan.ErrCorrupt):
		c.notes[noteCorrupt].Add(1)
		return
	case errors.Is(err, shmchan.ErrClosed):
		c.notes[noteClosed].Add(1)
		return
	case errors.Is(err, shmchan.ErrPeerDied):
		c.notes[noteDied].Add(1)
		return
	}
	c.notes[noteOther].Add(1)
	for _, ok := range []error{
		io.EOF, fs.ErrClosed, shmchan.ErrFull, shmchan.ErrEmpty, shmchan.ErrBusy, shmchan.ErrMismatch,
		context.DeadlineExceeded, fs.ErrInvalid, fs.ErrNotExist,
		shmchan.ErrStaleHandle, shmchan.ErrTooLarge, slabpool.ErrExhausted, // of Bufs
	} {
		if errors.Is(err, ok) {
			return
		}
	}
	fail("%s: %v", what, err)
}

// preyMain KIND WHERE SIDE POLICY SIZE CHEAT: uses a channel in all ways until it is
// told to stop. With a name it opens both ends, closes them and opens them again.
func preyMain(c *control, args []string) {
	size, err := strconv.Atoi(args[4])
	if err != nil {
		fail("%v", err)
	}
	r := roleOf(args[0], args[1], args[3])
	for c.stop.Load() == 0 {
		if r.k.pool {
			preyOnPool(c, r.where, uintptr(size))
		} else {
			preyOnce(c, r, args[2], uintptr(size), args[5])
		}
		if r.where == "" {
			break // its descriptor can be used once
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if m.HeapSys > 256<<20 || runtime.NumGoroutine() > 200 {
			fail("%d MiB of heap, %d goroutines", m.HeapSys>>20, runtime.NumGoroutine())
		}
	}
}

var _ = register("prey", preyMain)

// preyOnce attaches, works for some milliseconds (or, with a descriptor, to the
// end), and leaves.
func preyOnce(c *control, r role, side string, size uintptr, cheat string) {
	var tx sender
	var rx receiver
	var err error
	if r.where != "" || side == "sender" {
		w := newWalls(size)
		defer w.remove()
		tx, err = r.sender()
		note(c, "open sender", err)
		if err != nil {
			tx = nil
		} else {
			w.count(c)
			w.cheat(cheat)
		}
	}
	if r.where != "" || side == "receiver" {
		w := newWalls(size)
		defer w.remove()
		rx, err = r.receiver()
		note(c, "open receiver", err)
		if err != nil {
			rx = nil
		} else {
			w.count(c)
		}
	}
	end := time.Now().Add(time.Duration(rand.N(int64(20 * time.Millisecond))))
	over := func() bool { return c.stop.Load() != 0 || r.where != "" && time.Now().After(end) }
	var work sync.WaitGroup
	if tx != nil {
		work.Go(func() { sendUntil(c, tx, over) })
		work.Go(func() { watchUntil(c, tx, over) })
	}
	if rx != nil {
		work.Go(func() { recvUntil(c, rx, over) })
		work.Go(func() { watchUntil(c, rx, over) })
	}
	work.Wait()
	if tx != nil {
		leave(c, tx)
	}
	if rx != nil {
		leave(c, rx)
	}
	if r.where != "" && (tx == nil || rx == nil || rand.N(4) == 0) { // nothing good will come of this one
		note(c, "remove", shmchan.Remove(r.where))
	}
}

func leave(c *control, e interface {
	Close() error
	Detach() error
	File() (*os.File, error)
}) {
	switch rand.N(4) {
	case 0:
		note(c, "detach", e.Detach())
	case 1:
		f, err := e.File()
		note(c, "file", err)
		if err == nil {
			f.Close()
		}
	default:
		note(c, "close", e.Close())
	}
}

// brief is a context for one call: ended, or about to.
func brief(i int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(bg, time.Duration(i%5)*250*time.Microsecond)
}

func sendUntil(c *control, tx sender, over func() bool) {
	var buf [6]message
	for i := 0; !over(); i++ {
		ctx, cancel := brief(i / 8)
		noteOdd(c, tx, ctx, i)
		var err error
		switch i % 8 {
		case 0, 1, 2:
			err = tx.Send(ctx, buf[0])
		case 3, 4:
			err = tx.TrySend(buf[0])
		case 5:
			_, err = tx.SendBatch(ctx, buf[:])
		default:
			var p *message
			for range 1 + i%2 {
				if p, err = tx.Reserve(ctx); err == nil {
					*p = sealed(uint64(i), 1)
				}
			}
			if err == nil {
				err = tx.Commit()
			}
		}
		cancel()
		note(c, "send", err)
	}
}

func recvUntil(c *control, rx receiver, over func() bool) {
	var buf [6]message
	sink := uint64(0)
	for i := 0; !over(); i++ {
		ctx, cancel := brief(i / 8)
		noteOdd(c, rx, ctx, i)
		var err error
		switch i % 8 {
		case 0, 1, 2:
			_, err = rx.Recv(ctx)
		case 3, 4:
			_, err = rx.TryRecv()
		case 5:
			var n int
			if n, err = rx.RecvBatch(ctx, buf[:]); err == nil && n == 0 {
				fail("RecvBatch gave nothing and no error")
			}
		default:
			var p *message
			for range 1 + i%2 {
				if p, err = rx.Peek(ctx); err == nil {
					sink += p.sum()
				}
			}
			if err == nil {
				err = rx.Release()
			}
		}
		cancel()
		note(c, "receive", err)
	}
	runtime.KeepAlive(sink)
}

// noteOdd makes now and then the calls that only Bufs have.
func noteOdd(c *control, end any, ctx context.Context, i int) {
	if e, ok := end.(interface{ odd(context.Context) []error }); ok && i%16 == 5 {
		for n, err := range e.odd(ctx) {
			note(c, fmt.Sprintf("call %d on a Buf", n), err)
		}
	}
}

// watchUntil uses what any goroutine may call.
func watchUntil(c *control, e interface {
	Len() int
	Cap() int
	Ready() <-chan struct{}
	WaitPeer(context.Context) error
}, over func() bool) {
	ready := e.Ready()
	for i := 0; !over(); i++ {
		if n := e.Len(); n < 0 || n > e.Cap() || e.Cap() != capacity {
			fail("Len %d of %d", n, e.Cap())
		}
		select {
		case <-ready:
		case <-time.After(100 * time.Microsecond):
		}
		ctx, cancel := brief(i)
		note(c, "WaitPeer", e.WaitPeer(ctx))
		cancel()
	}
}

// senderWork and receiverWork are what a hostile peer does with its own end.
func senderWork(c *control, tx sender) {
	sendUntil(c, tx, func() bool { return c.stop.Load() != 0 })
}

func receiverWork(c *control, rx receiver) {
	recvUntil(c, rx, func() bool { return c.stop.Load() != 0 })
}

// walls are address space without access on both sides of a hole, into which the
// kernel is made to put the next mapping of the hole's size: an access that leaves
// the mapping, by up to wall bytes, is a fault.
type walls struct {
	base  unsafe.Pointer
	size  uintptr
	plugs []unsafe.Pointer
}

const wall = 256 << 20

func reserve(size uintptr) unsafe.Pointer {
	p, err := unix.MmapPtr(-1, 0, nil, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		fail("reserve: %v", err)
	}
	return p
}

func newWalls(size uintptr) *walls {
	w := &walls{base: reserve(wall + size + wall), size: size}
	hole := unsafe.Add(w.base, wall)
	unix.MunmapPtr(hole, size)
	for range 10_000 { // until every other gap of the size is filled
		p := reserve(size)
		if p == hole {
			unix.MunmapPtr(p, size)
			break
		}
		w.plugs = append(w.plugs, p)
	}
	return w
}

// count tells whether a channel was mapped into the hole.
func (w *walls) count(c *control) {
	c.notes[noteAttach].Add(1)
	for _, m := range mappings() {
		if m.from == uintptr(w.base)+wall && m.to == m.from+w.size && m.name != "" {
			c.notes[noteWalled].Add(1)
		}
	}
}

// remove takes the walls away, but not what is in the hole.
func (w *walls) remove() {
	unix.MunmapPtr(w.base, wall)
	unix.MunmapPtr(unsafe.Add(w.base, wall+w.size), wall)
	for _, p := range w.plugs {
		unix.MunmapPtr(p, w.size)
	}
}

var hoard [][]byte

// cheat does what no call may.
func (w *walls) cheat(how string) {
	switch how {
	case "stray before":
		hoard = append(hoard, []byte{*(*byte)(unsafe.Add(w.base, wall-1))})
	case "stray behind":
		hoard = append(hoard, []byte{*(*byte)(unsafe.Add(w.base, wall+w.size))})
	case "panic":
		panic("as it was told")
	case "hoard":
		hoard = append(hoard, make([]byte, 512<<20))
	case "hang":
		select {}
	case "undocumented":
		note(&control{}, "cheat", errors.New("an error that is not documented"))
	}
}
