package chaos

import (
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// An operation is what a victim is killed in. Its name leads the child to it.
type operation struct {
	name    string
	sends   bool                // the victim is a sender
	opens   bool                // the operation is the attach itself; else the victim attaches before
	parked  bool                // the survivor is parked in its own call meanwhile
	blocks  bool                // the operation ends in a park of its own
	takes   uint64              // see checker
	alone   bool                // the other end has closed already
	stretch *stretch            // nil: all of it is swept
	kinds   func(k *kind) bool  // nil: all channels
	prep    func(v *victim)     // just before
	run     func(v *victim)     // traced
	scene   func(*stage, point) // what surrounds it, and what must be true afterwards
}

// A stretch is a part of an operation: from the first instruction of one function to
// the last one of another.
type stretch struct{ from, to string }

// A claim begins where a region is mapped and found good, and ends when the role is
// taken, the name is unlocked, deaths are watched for and the peer has been told.
var (
	claim     = &stretch{"region.(*Region).take", "shmchan.(*end).init"}
	claimSeat = &stretch{"region.(*Region).take", "slabpool.newPool"}
)

// on tells whether the operation is one of the kind.
func (op *operation) on(k *kind) bool {
	if op.kinds == nil {
		return !k.pool
	}
	return op.kinds(k)
}

// Long operations are not swept on "tight" and "inline", where they are the same.
func usual(k *kind) bool    { return !k.pool && k.name != "tight" && k.name != "inline" }
func named(k *kind) bool    { return usual(k) && k.named() }
func unnamed(k *kind) bool  { return usual(k) && !k.named() }
func typeOnly(k *kind) bool { return !k.pool && k.bufs == nil }
func blocks(k *kind) bool   { return k.bufs != nil && k.name != "inline" }
func pools(k *kind) bool    { return k.pool }

var operations = []operation{
	{name: "Send", sends: true, run: (*victim).send, scene: (*stage).sending},
	{name: "Send, receiver parked", sends: true, parked: true, run: (*victim).send, scene: (*stage).sending},
	{name: "Send, full, parks", sends: true, blocks: true, prep: (*victim).fill, run: (*victim).send, scene: (*stage).sending},
	{name: "Reserve, Commit", sends: true, run: (*victim).reserve, scene: (*stage).sending},
	{name: "Reserve, Commit, receiver parked", sends: true, parked: true, run: (*victim).reserve, scene: (*stage).sending},
	{name: "SendBatch", sends: true, kinds: typeOnly, run: (*victim).sendBatch, scene: (*stage).sending},
	{name: "SendBatch, receiver parked", sends: true, parked: true, kinds: typeOnly, run: (*victim).sendBatch, scene: (*stage).sending},
	{name: "Recv", takes: 1, run: (*victim).recv, scene: (*stage).receiving},
	{name: "Recv, sender parked", takes: 1, parked: true, run: (*victim).recv, scene: (*stage).receiving},
	{name: "Recv, empty, parks", takes: 1, blocks: true, prep: (*victim).empty, run: (*victim).recv, scene: (*stage).receiving},
	{name: "Peek, Release", run: (*victim).peek, scene: (*stage).receiving},
	{name: "Peek, Release, sender parked", parked: true, run: (*victim).peek, scene: (*stage).receiving},
	{name: "RecvBatch", takes: burst, kinds: typeOnly, run: (*victim).recvBatch, scene: (*stage).receiving},
	{name: "RecvBatch, sender parked", takes: burst, parked: true, kinds: typeOnly, run: (*victim).recvBatch, scene: (*stage).receiving},

	{name: "Loan, Release", sends: true, kinds: blocks, run: (*victim).borrow, scene: (*stage).sending},
	{name: "Loan, none free, parks", sends: true, blocks: true, kinds: blocks, prep: (*victim).exhaust, run: (*victim).borrow, scene: (*stage).sending},

	{name: "Pool Alloc", kinds: pools, run: (*victim).alloc, scene: (*stage).pooling},
	{name: "Pool Alloc, from the cache", kinds: pools, prep: (*victim).cache, run: (*victim).alloc, scene: (*stage).pooling},
	{name: "Pool Alloc, from another's cache", kinds: pools, prep: (*victim).most, run: (*victim).alloc, scene: (*stage).pooling},
	{name: "Pool Alloc, none free, parks", blocks: true, kinds: pools, prep: (*victim).all, run: (*victim).alloc, scene: (*stage).pooling},
	{name: "Pool Free, into the cache", kinds: pools, prep: (*victim).alloc, run: (*victim).free, scene: (*stage).pooling},
	{name: "Pool Free, onto the list", kinds: pools, prep: (*victim).full, run: (*victim).free, scene: (*stage).pooling},
	{name: "Pool Free, another waits", parked: true, kinds: pools, prep: (*victim).all, run: (*victim).free, scene: (*stage).pooling},
	{name: "Pool Share, Free", kinds: pools, prep: (*victim).alloc, run: (*victim).share, scene: (*stage).pooling},
	{name: "Pool Give", kinds: pools, prep: (*victim).alloc, run: (*victim).give, scene: (*stage).pooling},

	{name: "Close of the sender", sends: true, kinds: usual, prep: (*victim).two, run: (*victim).close, scene: (*stage).leaving},
	{name: "Close of the sender, last", sends: true, alone: true, kinds: named, run: (*victim).close, scene: (*stage).leaving},
	{name: "Close of the receiver", kinds: usual, run: (*victim).close, scene: (*stage).leaving},
	{name: "Close of the receiver, last", alone: true, kinds: named, run: (*victim).close, scene: (*stage).leaving},
	{name: "Detach of the sender", sends: true, kinds: named, prep: (*victim).two, run: (*victim).detach, scene: (*stage).leaving},
	{name: "Detach of the receiver", kinds: named, run: (*victim).detach, scene: (*stage).leaving},
	{name: "File of the sender", sends: true, kinds: usual, prep: (*victim).two, run: (*victim).file, scene: (*stage).leaving},
	{name: "File of the receiver", kinds: usual, run: (*victim).file, scene: (*stage).leaving},

	{name: "claim of a free role by a sender", sends: true, opens: true, stretch: claim, kinds: named, run: (*victim).attach, scene: (*stage).making},
	{name: "claim of a free role by a receiver", opens: true, stretch: claim, kinds: named, run: (*victim).attach, scene: (*stage).making},
	{name: "claim by the sender's successor", sends: true, opens: true, stretch: claim, kinds: named, run: (*victim).attach, scene: (*stage).succeeding},
	{name: "claim by the receiver's successor", opens: true, stretch: claim, kinds: named, run: (*victim).attach, scene: (*stage).succeeding},
	{name: "claim by a sender from a file", sends: true, opens: true, stretch: claim, kinds: unnamed, run: (*victim).attach, scene: (*stage).carrying},
	{name: "claim by a receiver from a file", opens: true, stretch: claim, kinds: unnamed, run: (*victim).attach, scene: (*stage).carrying},
	{name: "claim of a seat", opens: true, stretch: claimSeat, kinds: pools, run: (*victim).attach, scene: (*stage).pooling},

	{name: "open pool", opens: true, kinds: pools, run: (*victim).attach, scene: (*stage).pooling},
	{name: "open sender, new", sends: true, opens: true, kinds: named, run: (*victim).attach, scene: (*stage).making},
	{name: "open receiver, new", opens: true, kinds: named, run: (*victim).attach, scene: (*stage).making},
	{name: "open sender, succeed", sends: true, opens: true, kinds: named, run: (*victim).attach, scene: (*stage).succeeding},
	{name: "open receiver, succeed", opens: true, kinds: named, run: (*victim).attach, scene: (*stage).succeeding},
	{name: "sender from file", sends: true, opens: true, kinds: unnamed, run: (*victim).attach, scene: (*stage).carrying},
	{name: "receiver from file", opens: true, kinds: unnamed, run: (*victim).attach, scene: (*stage).carrying},
}

func operationOf(name string) *operation {
	for i := range operations {
		if operations[i].name == name {
			return &operations[i]
		}
	}
	for i := range broken {
		if broken[i].name == name {
			return &broken[i].operation
		}
	}
	panic("no operation " + name)
}

// A victim is the child's side of an operation. What is needed beside the call
// itself is made before, so that the traced stretch is the call, and one store
// that says that it has returned.
type victim struct {
	c    *control
	op   *operation
	role role
	life uint64
	tx   sender
	rx   receiver
	pool *slabpool.Pool
	hs   []slabpool.Handle

	states []*atomic.Uint64 // of the blocks of the first class, for a broken one

	next uint64
	ms   [burst]message
}

// victimMain OPERATION KIND WHERE LIFE.
func victimMain(c *control, args []string) {
	runtime.LockOSThread()
	grow(32)
	op := operationOf(args[0])
	v := &victim{c: c, op: op, role: roleOf(args[1], args[2], "park"), life: number(args[3])}
	if !op.opens {
		v.attach()
	}
	if tx, ok := v.tx.(*bufSender); ok {
		tx.borrow() // the first one allocates
	}
	if op.prep != nil {
		op.prep(v)
	}
	v.next = c.acked.Load() + 1
	for i := range v.ms {
		v.ms[i] = sealed(v.next+uint64(i), v.life)
	}
	runtime.Breakpoint()
	op.run(v)
	c.done.Store(1)
	runtime.Breakpoint()
	time.Sleep(2 * patience) // it will be killed
}

var _ = register("victim", victimMain)

// grow makes the stack as large as it will have to be.
//
//go:noinline
func grow(kib int) byte {
	var b [1024]byte
	if kib == 0 {
		return b[0]
	}
	b[kib] = grow(kib - 1)
	return b[kib]
}

func (v *victim) attach() {
	var err error
	switch {
	case v.role.k.pool:
		v.pool, err = slabpool.Open(v.role.where)
	case v.op.sends:
		v.tx, err = v.role.sender()
	default:
		v.rx, err = v.role.receiver()
	}
	if err != nil {
		fail("attach: %v", err)
	}
}

// sent says that n messages were acknowledged.
func (v *victim) sent(n int, err error) {
	if err != nil {
		fail("send: %v", err)
	}
	v.c.acked.Store(v.next + uint64(n) - 1)
}

func (v *victim) send() {
	err := v.tx.Send(bg, v.ms[0])
	v.sent(1, err)
}

func (v *victim) reserve() {
	p, err := v.tx.Reserve(bg)
	if err == nil {
		*p = v.ms[0]
		err = v.tx.Commit()
	}
	v.sent(1, err)
}

func (v *victim) sendBatch() {
	n, err := v.tx.SendBatch(bg, v.ms[:])
	v.sent(n, err)
}

// fill leaves no room.
func (v *victim) fill() {
	for v.next = v.c.acked.Load() + 1; ; v.next++ {
		err := v.tx.TrySend(sealed(v.next, v.life))
		if errors.Is(err, shmchan.ErrFull) {
			return
		}
		v.sent(1, err)
	}
}

// two sends two messages.
func (v *victim) two() {
	for v.next = v.c.acked.Load() + 1; v.next <= 2; v.next++ {
		v.sent(1, v.tx.TrySend(sealed(v.next, v.life)))
	}
}

func (v *victim) got(err error, ms ...message) {
	if err != nil {
		fail("receive: %v", err)
	}
	for _, m := range ms {
		v.c.append(delivery{m, v.life})
	}
}

func (v *victim) recv() {
	m, err := v.rx.Recv(bg)
	v.got(err, m)
}

func (v *victim) peek() {
	p, err := v.rx.Peek(bg)
	if err != nil {
		fail("peek: %v", err)
	}
	v.c.append(delivery{*p, v.life})
	if err := v.rx.Release(); err != nil {
		fail("release: %v", err)
	}
}

func (v *victim) recvBatch() {
	n, err := v.rx.RecvBatch(bg, v.ms[:])
	v.got(err, v.ms[:n]...)
}

// borrow takes a loan and gives it back.
func (v *victim) borrow() {
	if err := v.tx.(*bufSender).borrow(); err != nil {
		fail("borrow: %v", err)
	}
}

// exhaust takes all blocks.
func (v *victim) exhaust() {
	if _, err := v.tx.(*bufSender).exhaust(); err != nil {
		fail("exhaust: %v", err)
	}
}

// empty takes all that is there.
func (v *victim) empty() {
	for {
		m, err := v.rx.TryRecv()
		if errors.Is(err, shmchan.ErrEmpty) {
			return
		}
		v.got(err, m)
	}
}

func (v *victim) close() {
	var err error
	if v.op.sends {
		err = v.tx.Close()
	} else {
		err = v.rx.Close()
	}
	if err != nil {
		fail("close: %v", err)
	}
}

func (v *victim) detach() {
	var err error
	if v.op.sends {
		err = v.tx.Detach()
	} else {
		err = v.rx.Detach()
	}
	if err != nil {
		fail("detach: %v", err)
	}
}

func (v *victim) file() {
	var f *os.File
	var err error
	if v.op.sends {
		f, err = v.tx.File()
	} else {
		f, err = v.rx.File()
	}
	if err != nil || f == nil {
		fail("file: %v", err)
	}
	runtime.KeepAlive(f)
}
