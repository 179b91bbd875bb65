//go:build modelcheck

package shmchan

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/modelcheck"
	"github.com/shmkit/shm/internal/modelcheck/suite"
	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/shmchan/spsc"
	"github.com/shmkit/shm/slabpool"
)

// The models of a Buf channel: ring and pool put together as bufsender.go and
// bufreceiver.go do it, from the source that ships but for the waiting (which
// is that of the typed channel) and for the states of the roles, which are a
// word each: what region's state word says of attached and dead, with an epoch.

const (
	modelSize     = 16
	modelMessages = 2
)

type bufWorld struct {
	w        *modelcheck.World
	ring     []byte
	geo      spsc.Geometry
	mem      []byte
	pool     slabpool.Geometry
	role     [roles]*word.U32 // 2·epoch, +1 if dead
	received *word.U32        // how many messages
	bug      bufBug
}

// A bufBug is a seeded one.
type bufBug struct {
	blindSweep bool // a successor of the sender gives back what is in the ring
	noRecheck  bool // a survivor does not make sure that the dead has no successor yet
}

func newBufWorld(w *modelcheck.World, capacity, blocks int) *bufWorld {
	x := &bufWorld{w: w, received: modelcheck.Alloc[word.U32](w, "received")}
	var err error
	if x.geo, err = spsc.Plan(capacity, unsafe.Sizeof(bufMessage{})); err != nil {
		panic(err)
	}
	if x.pool, err = slabpool.Plan(slabpool.Class{Size: modelSize, Count: blocks}); err != nil {
		panic(err)
	}
	x.ring, x.mem = w.Bytes(int(x.geo.Bytes()), "ring"), w.Bytes(int(x.pool.Bytes()), "pool")
	if err := spsc.Init(unsafe.Pointer(&x.ring[0]), uintptr(len(x.ring)), x.geo); err != nil {
		panic(err)
	}
	if err := slabpool.Init(unsafe.Pointer(&x.mem[0]), uintptr(len(x.mem)), x.pool); err != nil {
		panic(err)
	}
	// What Init takes from chance must be the same in each execution: the tag at
	// 8, and the generation in the state words of the records at 640.
	at := func(offset int) *uint64 { return (*uint64)(unsafe.Pointer(&x.mem[offset])) }
	*at(8) = 7
	for i := range blocks {
		*at(640 + 16*i) = *at(640 + 16*i)&0xffffff | 1<<24
	}
	for i, name := range roleNames {
		x.role[i] = modelcheck.Alloc[word.U32](w, name+" role")
		x.role[i].Store(2)
	}
	return x
}

func (x *bufWorld) seat(role int) *slabpool.Raw {
	p, err := slabpool.Attach(unsafe.Pointer(&x.mem[0]), uintptr(len(x.mem)), x.pool, slabpool.Seat{Owner: role})
	if err != nil {
		panic(err)
	}
	return p
}

func (x *bufWorld) producer() spsc.Producer {
	p, err := spsc.AttachProducer(unsafe.Pointer(&x.ring[0]), uintptr(len(x.ring)), x.geo)
	if err != nil {
		panic(err)
	}
	return p
}

func (x *bufWorld) consumer() spsc.Consumer {
	c, err := spsc.AttachConsumer(unsafe.Pointer(&x.ring[0]), uintptr(len(x.ring)), x.geo)
	if err != nil {
		panic(err)
	}
	return c
}

// spin looks until ready reports true; see the ring's models for the fence.
func spin(ready func() bool) {
	for !ready() {
		word.Fence()
		if ready() {
			return
		}
		word.Pause(1)
	}
}

// send is Loan and Send of the messages that were not published yet.
func (x *bufWorld) send(pool *slabpool.Raw, ring *spsc.Producer, sweep func()) {
	for ring.Position() < modelMessages {
		var h slabpool.Handle
		spin(func() (ok bool) {
			var err error
			if h, err = pool.TryAlloc(modelSize); err != nil {
				sweep()
			}
			return err == nil
		})
		b, err := pool.Bytes(h)
		if err != nil {
			panic(err)
		}
		word.Writes(unsafe.Pointer(&b[0]), modelSize)
		*(*uint64)(unsafe.Pointer(&b[0])) = ring.Position() + 1
		var at unsafe.Pointer
		spin(func() bool { at = ring.Slot(); return at != nil })
		if err := pool.Post(h); err != nil {
			panic(err)
		}
		m := (*bufMessage)(at)
		m.Head = kindBlock
		*m.handle() = h
		ring.Publish()
	}
}

// recv is Recv and Release of all messages.
func (x *bufWorld) recv(pool *slabpool.Raw, ring *spsc.Consumer, sweep func()) {
	for ring.Position() < modelMessages {
		var at unsafe.Pointer
		spin(func() bool {
			if at = ring.Slot(); at == nil {
				sweep()
			}
			return at != nil
		})
		m := (*bufMessage)(at)
		word.Reads(at, unsafe.Sizeof(bufMessage{}))
		h := *m.handle()
		if err := pool.Take(h); err != nil {
			panic(fmt.Sprintf("message %d has no block: %v", ring.Position(), err))
		}
		number := ring.Position() + 1
		ring.Release()
		x.received.Add(1)
		b, err := pool.Bytes(h)
		if err != nil {
			panic(err)
		}
		word.Reads(unsafe.Pointer(&b[0]), modelSize)
		if v := *(*uint64)(unsafe.Pointer(&b[0])); v != number {
			panic(fmt.Sprintf("message %d says %d", number, v))
		}
		if err := pool.Free(h); err != nil {
			panic(err)
		}
	}
}

// survivor is sweepPeer: once for each death that it sees.
func (x *bufWorld) survivor(pool *slabpool.Raw, peer int, published func(func(unsafe.Pointer))) func() {
	swept := uint32(0)
	return func() {
		st := x.role[peer].Load()
		if st&1 == 0 || st == swept {
			return
		}
		swept = st
		pool.Sweep(peer, func() (func(slabpool.Handle) bool, bool) {
			kept := inRing(published)
			return kept, x.bug.noRecheck || x.role[peer].Load() == st
		}, false)
	}
}

// world has a sender and a receiver, of whom victims die, each with a
// successor; a watch tells of the deaths.
func world(capacity, blocks int, successors ...int) func(*modelcheck.World) {
	return buggy(bufBug{}, capacity, blocks, successors...)
}

func buggy(b bufBug, capacity, blocks int, successors ...int) func(*modelcheck.World) {
	return func(w *modelcheck.World) {
		x := newBufWorld(w, capacity, blocks)
		x.bug = b
		tx, rx := x.seat(roleSender), x.seat(roleReceiver)
		p, c := x.producer(), x.consumer()
		w.Go("sender", func() { x.send(tx, &p, x.survivor(tx, roleReceiver, p.Published)) })
		w.Go("receiver", func() { x.recv(rx, &c, x.survivor(rx, roleSender, c.Published)) })
		for _, role := range successors {
			pool, name := x.seat(role), roleNames[role]
			w.Go("watch "+name, func() {
				w.AwaitDeath(name)
				x.role[role].CompareAndSwap(2, 3)
			})
			w.Go("next "+name, func() {
				w.AwaitDeath(name)
				x.role[role].Store(4)
				if role == roleSender {
					p := x.producer()
					if x.bug.blindSweep {
						pool.Sweep(roleSender, func() (func(slabpool.Handle) bool, bool) { return nil, true }, false)
					} else {
						sweepSender(pool, &p)
					}
					x.send(pool, &p, x.survivor(pool, roleReceiver, p.Published))
				} else {
					c := x.consumer()
					sweepReceiver(pool, &c)
					x.recv(pool, &c, x.survivor(pool, roleSender, c.Published))
				}
			})
		}
		w.Final(func() error {
			got := int(x.received.Load())
			if lost := modelMessages - got; lost < 0 || lost > 0 && !w.Crashed("receiver") || lost > 1 {
				return fmt.Errorf("%d of %d messages were received", got, modelMessages)
			}
			pool := x.seat(2)
			for _, role := range []int{roleSender, roleReceiver} {
				if w.Crashed(roleNames[role]) { // whoever needs blocks next
					pool.Sweep(role, func() (func(slabpool.Handle) bool, bool) { return nil, true }, false)
				}
			}
			seen := map[int]bool{}
			for range blocks {
				h, err := pool.TryAlloc(modelSize)
				if err != nil || seen[h.Index()] {
					return fmt.Errorf("after %d of %d blocks: %v, %w", len(seen), blocks, h, err)
				}
				seen[h.Index()] = true
			}
			return nil
		})
	}
}

func TestModelBufs(t *testing.T) {
	models := suite.New(t)
	for _, m := range suite.Models {
		cfg := modelcheck.Config{Model: m, MaxExecutions: 10_000}
		models.Explore("Buf channel of 1, 1 block", cfg, world(1, 1))
		models.Explore("Buf channel of 2, 2 blocks", cfg, world(2, 2))
		cfg.MaxExecutions = suite.UpTo(250, 2_500) // for each step
		models.Sweep("sender of Bufs dies, successor", cfg, "sender", world(2, 1, roleSender))
		models.Sweep("sender of Bufs dies, 2 blocks", cfg, "sender", world(1, 2, roleSender))
		models.Sweep("receiver of Bufs dies, successor", cfg, "receiver", world(2, 1, roleReceiver))
		models.Sweep("receiver of Bufs dies, 2 blocks", cfg, "receiver", world(1, 2, roleReceiver))
		few := modelcheck.Config{Model: m, Search: modelcheck.Bounded, Preemptions: 1, MaxExecutions: suite.UpTo(2_000, 6_000)}
		models.Sweep("sender of Bufs dies, few switches", few, "sender", world(1, 1, roleSender))
		models.Sweep("receiver of Bufs dies, few switches", few, "receiver", world(1, 1, roleReceiver))
		cfg.MaxExecutions = suite.UpTo(12, 50) // for each pair of steps
		models.SweepPair("both ends of Bufs die", cfg, "sender", "receiver", world(1, 1, roleSender, roleReceiver))
	}
}

// TestModelBufBugs: the sender dies where it matters, after its block was
// posted and published, or when it holds one.
func TestModelBufBugs(t *testing.T) {
	models := suite.New(t)
	for _, x := range []struct {
		name             string
		bug              bufBug
		capacity, blocks int
		step             int // at which the sender dies
		execution        int
	}{
		{"a sweep that does not look at the ring", bufBug{blindSweep: true}, 2, 2, 14, 1051},
		{"a survivor that does not look again", bufBug{noRecheck: true}, 1, 1, 14, 116},
	} {
		cfg := modelcheck.Config{MaxExecutions: 2_000, Crashes: []modelcheck.Crash{{Thread: "sender", Step: x.step}}}
		models.Bug(x.name, cfg, buggy(x.bug, x.capacity, x.blocks, roleSender), modelcheck.Panic, x.execution)
	}
}
