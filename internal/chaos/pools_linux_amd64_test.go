package chaos

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

func (v *victim) alloc() {
	h, err := v.pool.TryAlloc(40)
	if v.op.blocks {
		if err == nil {
			fail("there is a block")
		}
		h, err = v.pool.Alloc(bg, 40)
	}
	if err != nil {
		fail("alloc: %v", err)
	}
	v.hs = append(v.hs, h)
}

func (v *victim) free() {
	if err := v.pool.Free(v.hs[0]); err != nil {
		fail("free: %v", err)
	}
}

func (v *victim) several(n int) {
	for range n {
		h, err := v.pool.TryAlloc(40)
		if err != nil {
			fail("alloc %d: %v", len(v.hs), err)
		}
		v.hs = append(v.hs, h)
	}
}

// cache leaves a block in the cache.
func (v *victim) cache() {
	v.several(1)
	v.free()
	v.hs = v.hs[1:]
}

// full leaves the cache full, and one block in use.
func (v *victim) full() {
	v.several(cached + 1)
	for range cached {
		v.free()
		v.hs = v.hs[1:]
	}
}

// most leaves only blocks that another endpoint has in its cache.
func (v *victim) most() { v.several(poolClass.Count - cached) }

func (v *victim) all() { v.several(poolClass.Count) }

// The test has seat 0.
func (v *victim) share() {
	if err := v.pool.Share(v.hs[0], 0); err != nil {
		fail("share: %v", err)
	}
	v.free()
}

func (v *victim) give() {
	if err := v.pool.Give(v.hs[0], 0); err != nil {
		fail("give: %v", err)
	}
}

// pooling: the victim uses a pool in which the test has a seat.
func (st *stage) pooling(at point) {
	var err error
	if st.pool == nil {
		st.pool, err = slabpool.Open(st.where, poolClass)
		st.must(err)
		st.Cleanup(func() { st.pool.Close() })
	}
	ctx, cancel := st.enough()
	defer cancel()
	first := make(chan error, 1)
	var park func()
	if st.op.parked {
		park = func() {
			go func() {
				_, err := st.pool.Alloc(ctx, 40)
				first <- err
			}()
			time.Sleep(parking)
		}
	}
	st.strike(at, nil, park)
	if st.op.parked {
		st.must(<-first) // what it freed, or had when it died
	}
	st.pool.Recover()
	for _, h := range st.pool.Held() {
		st.must(st.pool.Free(h))
	}
	st.must(counted(st.pool))
}

// An allocator is what counted asks of a pool.
type allocator interface {
	Stats() []slabpool.Stats
	TryAlloc(n int) (slabpool.Handle, error)
	Bytes(slabpool.Handle) ([]byte, error)
	Free(slabpool.Handle) error
}

// counted looks for all blocks of a pool in which nobody holds any: each can be had,
// once. It leaves some in the cache of p.
func counted(p allocator) error {
	s := p.Stats()[0]
	if s.InUse != 0 || s.Free+s.Cached != s.Count {
		return fmt.Errorf("blocks are in use that nobody holds: %v", s)
	}
	var hs []slabpool.Handle
	for {
		h, err := p.TryAlloc(40)
		if errors.Is(err, slabpool.ErrExhausted) {
			break
		}
		if err != nil {
			return err
		}
		b, err := p.Bytes(h)
		if err != nil {
			return err
		}
		b[0] = byte(len(hs))
		hs = append(hs, h)
		if len(hs) > s.Count {
			break
		}
	}
	if len(hs) != s.Count {
		return fmt.Errorf("%d blocks could be had, of %v", len(hs), s)
	}
	for i, h := range hs {
		b, err := p.Bytes(h)
		if err == nil && b[0] != byte(i) {
			err = fmt.Errorf("%v was given out twice", h)
		}
		if err = errors.Join(err, p.Free(h)); err != nil {
			return err
		}
	}
	return nil
}

// holdMain KIND WHERE SIDE: has Bufs that it does not release.
func holdMain(c *control, args []string) {
	r := roleOf(args[0], args[1], "park")
	var tx sender
	var rx receiver
	var err error
	if args[2] == "sender" {
		if tx, err = r.sender(); err == nil {
			_, err = tx.Reserve(bg)
		}
	} else if rx, err = r.receiver(); err == nil {
		var m *message
		if m, err = rx.Peek(bg); err == nil {
			c.append(delivery{*m, 1})
		}
	}
	if err != nil {
		fail("hold: %v", err)
	}
	c.done.Store(1)
	time.Sleep(2 * patience)
}

var _ = register("hold", holdMain)

// hold lets a child die with Bufs of the victim's end.
func (st *stage) hold() {
	st.ctl.done.Store(0)
	side := "receiver"
	if st.op.sends {
		side = "sender"
	}
	child := spawn(st, "hold", []*os.File{st.page}, st.k.name, st.where, side)
	end := time.Now().Add(patience)
	for st.ctl.done.Load() == 0 && time.Now().Before(end) {
		time.Sleep(100 * time.Microsecond)
	}
	child.Process.Kill()
	st.must(reap(child, true))
	if st.ctl.done.Load() == 0 {
		st.must(errors.New("the predecessor has not come to hold anything"))
	}
	st.must(st.ctl.check(&st.check))
}

// poolWords are the head of the free list of the first class, the word that tells of
// free blocks beside it, and the states of its blocks, in the memory that is shared under the name: see package slabpool.
func poolWords(where string) (head, hidden *atomic.Uint64, states []*atomic.Uint64) {
	for _, m := range mappings() {
		if m.name == where {
			at := m.from
			r := newRegion(unsafe.Slice(*(**byte)(unsafe.Pointer(&at)), m.to-m.from))
			for i := range poolClass.Count {
				states = append(states, r.word(r.states+16*i))
			}
			return r.word(r.heads), r.word(r.heads + 8), states
		}
	}
	fail("nothing is mapped that has the name")
	return nil, nil, nil
}

// A generous pool gives its first block to its third customer too.
type generous struct {
	*slabpool.Pool
	given  []slabpool.Handle
	hidden slabpool.Handle
}

func (p *generous) TryAlloc(n int) (slabpool.Handle, error) {
	h, err := p.Pool.TryAlloc(n)
	if len(p.given) == 2 {
		p.hidden, h = h, p.given[0]
	}
	p.given = append(p.given, h)
	return h, err
}

// A block that two have is found, in a pool and in a Buf channel.
func TestGivenTwiceIsSeen(t *testing.T) {
	p, err := slabpool.Memfd(poolClass)
	must(t, err)
	defer p.Close()
	if err := counted(&generous{Pool: p}); err == nil || !strings.Contains(err.Error(), "given out twice") {
		t.Errorf("a pool: found %v", err)
	}
	tx, rx, err := kindOf("block named").pair(shmchan.WithCapacity(capacity))
	must(t, err)
	defer tx.Close()
	defer rx.Close()
	s := tx.(*bufSender)
	var given []*shmchan.Buf
	err = s.account(func(n int) (*shmchan.Buf, error) {
		b, err := s.TryLoan(n)
		if len(given) == 2 {
			b = given[0]
		}
		given = append(given, b)
		return b, err
	})
	if err == nil || !strings.Contains(err.Error(), "given out twice") {
		t.Errorf("a Buf channel: found %v", err)
	}
}

// What the count of a pool must find, beside what TestSweepFinds does to it.
func TestCounted(t *testing.T) {
	k := kindOf("pool")
	where := k.place(t)
	p, err := slabpool.Open(where, poolClass)
	must(t, err)
	defer p.Close()
	must(t, counted(p))
	h, err := p.TryAlloc(1)
	must(t, err)
	if counted(p) == nil {
		t.Error("a block that is held was not seen")
	}
	must(t, p.Free(h))
	must(t, counted(p))
	q, err := slabpool.Open(where) // its mapping has the name, that of the maker another one
	must(t, err)
	defer q.Close()
	head, hidden, states := poolWords(where)
	list, more := head.Swap(0), hidden.Swap(0)
	if counted(p) == nil {
		t.Error("free blocks that cannot be had were not seen")
	}
	head.Store(list)
	hidden.Store(more)
	w := states[0].Swap(4)
	if counted(p) == nil {
		t.Error("a block that is in no state was not seen")
	}
	states[0].Store(w)
}

// A Buf channel's count sees a block too many and one too few.
func TestAccounted(t *testing.T) {
	k := kindOf("block named")
	tx, rx, err := k.pair(shmchan.WithCapacity(capacity))
	must(t, err)
	defer tx.Close()
	defer rx.Close()
	must(t, tx.Send(bg, sealed(1, 1)))
	must(t, accounted(tx))
	must(t, accounted(rx))
	_, err = rx.Peek(bg)
	must(t, err)
	if accounted(tx) == nil {
		t.Error("a Buf that is held was not seen")
	}
	must(t, accounted(rx)) // releases it
	must(t, accounted(tx))
	loan, err := tx.(*bufSender).TryLoan(full)
	must(t, err)
	if accounted(tx) == nil || accounted(rx) == nil {
		t.Error("a loan was not seen")
	}
	must(t, loan.Release())
	must(t, accounted(tx))
}
