package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// A stage is where one operation of one kind of channel is killed again and
// again. The test holds the other end. With a name, one channel lives through all
// the kills of its work, and each victim is the successor of the last one.
type stage struct {
	testing.TB
	k     *kind
	op    *operation
	where string
	ctl   *control
	page  *os.File
	tx    sender   // the test's own end
	rx    receiver // the test's own end
	pool  *slabpool.Pool
	check checker
	life  uint64 // of the last victim, or of our own end that stood in its place
	next  uint64 // number of the next message that we send

	patience time.Duration // until a survivor counts as hung
	trace    []instruction // of the operation that was last run as a whole
	public   []bool        // which of them others can see
	before   int           // how many were run before the recorded one
	kills    int
	missed   int // points that the operation did not come to
}

// A point is an instruction of an operation: the one behind so many steps from the
// beginning, or, if pc is set, from where the thread is about to execute pc for the
// nth time.
type point struct {
	steps int
	pc    instruction
	nth   int
	is    instruction // what is executed next there; 0 if that cannot be told
}

// whole is the point behind an operation, reached step by step; the instructions are
// recorded.
var whole = point{steps: -1}

func newStage(t testing.TB, k *kind, op *operation) *stage {
	st := &stage{TB: t, k: k, op: op, where: k.place(t), patience: patience}
	st.ctl, st.page = newControl(t)
	st.clear()
	return st
}

// clear forgets the last channel.
func (st *stage) clear() {
	st.ctl.reset()
	st.check = checker{burst: burst, takes: st.k.takes(st.op.takes)}
	st.life, st.next = 0, 1
	st.tx, st.rx = nil, nil
}

// afresh leaves the channel, or the pool, of all victims so far for a new one.
func (st *stage) afresh() {
	if !st.k.named() {
		return
	}
	st.must(errors.Join(closed(st.tx), closed(st.rx), closed(st.pool)))
	st.pool, st.where = nil, st.k.place(st.TB)
	st.clear()
}

// closed closes an end or a pool, if there is one.
func closed[C interface {
	comparable
	io.Closer
}](c C) error {
	var none C
	if c == none {
		return nil
	}
	return c.Close()
}

// enough is a context for a call that should return at once.
func (st *stage) enough() (context.Context, context.CancelFunc) {
	return context.WithTimeout(bg, st.patience)
}

func (st *stage) must(err error) {
	st.Helper()
	if err != nil {
		st.Fatalf("%s, %s, kill %d: %v", st.k.name, st.op.name, st.kills, err)
	}
}

// strike starts a victim, lets it run to the point, and kills it there. role is
// its end, if the channel has no name. park runs when the operation is about to
// begin. It reports whether the operation had ended.
func (st *stage) strike(at point, role *os.File, park func()) bool {
	st.life++
	st.ctl.done.Store(0)
	p, err := launch(st.ctl, "victim", files(st.page, role), st.op.name, st.k.name, st.where, fmt.Sprint(st.life))
	if role != nil {
		role.Close()
	}
	st.must(err)
	if park != nil {
		park()
	}
	if st.op.blocks {
		defer p.untilParked()()
	}
	switch {
	case at == whole:
		err = st.recordIn(p)
	default:
		there := true
		if at.pc != 0 {
			there, err = p.runTo(uintptr(at.pc), at.nth)
		}
		for i := 0; there && i < at.steps && err == nil && !p.ended(); i++ {
			err = p.step()
		}
		if there && at.is != 0 && err == nil {
			var here uintptr
			here, err = p.pc()
			there = here == uintptr(at.is)
		}
		if !there && err == nil {
			st.missed++
		}
	}
	if errors.Is(err, errBlocked) && st.op.blocks {
		err = nil
	}
	st.must(errors.Join(err, p.kill()))
	st.kills++
	return p.ended()
}

// recordIn runs the operation to its end, and writes its instructions down, and which
// of them others can see; but for the soak that is only asked where it takes no time.
func (st *stage) recordIn(p *tracee) (err error) {
	st.trace, st.public = st.trace[:0], st.public[:0]
	var w *witness
	if *soak || !st.op.opens {
		w, err = witnessOf(p.pid)
	}
	for err == nil && !p.ended() {
		var pc uintptr
		if pc, err = p.pc(); err != nil {
			break
		}
		err = p.step()
		public := true
		if err == nil && w != nil {
			public, err = w.public(instruction(pc))
		}
		st.trace, st.public = append(st.trace, instruction(pc)), append(st.public, public)
	}
	return err
}

// lends returns the victim's end of a new pair, and keeps the other one.
func (st *stage) lends() (role *os.File) {
	st.clear()
	tx, rx, err := st.k.pair(ends("park")...)
	st.must(err)
	if st.op.sends {
		role, err = tx.File()
		st.rx = rx
	} else {
		role, err = rx.File()
		st.tx = tx
	}
	st.must(err)
	return role
}

// open opens our own end, and, where there are no names, the victim's.
func (st *stage) open() (role *os.File) {
	if !st.k.named() {
		return st.lends()
	}
	var err error
	if st.op.sends {
		st.rx, err = st.k.openReceiver(st.where, ends("park")...)
	} else {
		st.tx, err = st.k.openSender(st.where, ends("park")...)
	}
	st.must(err)
	return nil
}

// give hands a message to the checker that we have received ourselves.
func (st *stage) give(m message, life uint64) { st.must(st.check.deliver(delivery{m, life})) }

// recv receives until there is an error, and returns that.
func (st *stage) recv(life uint64) error {
	ctx, cancel := st.enough()
	defer cancel()
	for {
		m, err := st.rx.Recv(ctx)
		if err != nil {
			return err
		}
		st.give(m, life)
	}
}

// send sends until there is an error, and returns that.
func (st *stage) send(life uint64) error {
	ctx, cancel := st.enough()
	defer cancel()
	for {
		if err := st.tx.Send(ctx, sealed(st.next, life)); err != nil {
			return err
		}
		st.next++
	}
}

func (st *stage) want(err, want error) {
	st.Helper()
	if !errors.Is(err, want) {
		st.must(fmt.Errorf("got %v, want %w", err, want))
	}
}

// parking is how long a survivor has to get into its park. It is no limit: one
// that is late meets the victim awake.
const parking = 300 * time.Microsecond

// sending: the victim sends, the survivor receives all that was acknowledged, at
// most what the victim was about to send besides, and is told of the death.
func (st *stage) sending(at point) {
	var role *os.File
	if st.rx == nil || !st.k.named() {
		role = st.open()
	}
	ctx, cancel := st.enough()
	defer cancel()
	first := make(chan error, 1)
	var m message
	var park func()
	if st.op.parked {
		park = func() {
			go func() {
				var err error
				m, err = st.rx.Recv(ctx)
				first <- err
			}()
			time.Sleep(parking)
		}
	}
	st.strike(at, role, park)
	var err error
	if st.op.parked {
		if err = <-first; err == nil {
			st.give(m, 1)
		}
	}
	if err == nil {
		err = st.recv(1)
	}
	st.want(err, shmchan.ErrPeerDied)
	_, err = st.rx.TryRecv()
	st.want(err, shmchan.ErrEmpty) // told once
	acked := st.ctl.acked.Load()
	st.must(st.check.end(acked, acked+burst, 1))
	st.must(accounted(st.rx))
	if !st.k.named() {
		st.must(st.rx.Close())
	} else if st.kills%16 == 0 {
		st.account()
	}
}

// account opens the victim's end as its successor, and finds every slot: as many
// messages go in as the capacity says, and come out again.
func (st *stage) account() {
	st.life++
	ctx, cancel := st.enough()
	defer cancel()
	tx, err := st.k.openSender(st.where, ends("park")...)
	st.must(err)
	st.must(accounted(tx))
	next := st.ctl.acked.Load() + 1
	for range capacity {
		st.must(tx.TrySend(sealed(next, st.life)))
		st.ctl.acked.Store(next)
		next++
	}
	st.want(tx.TrySend(message{}), shmchan.ErrFull)
	st.must(tx.Detach())
	for range capacity {
		m, err := st.rx.Recv(ctx)
		st.must(err)
		st.give(m, 1)
	}
	_, err = st.rx.TryRecv()
	st.want(err, shmchan.ErrEmpty)
}

// receiving: the victim receives from a full channel. The survivor is told of the
// death when it would have to wait.
func (st *stage) receiving(at point) {
	var role *os.File
	if st.tx == nil || !st.k.named() {
		role = st.open()
	}
	for {
		err := st.tx.TrySend(sealed(st.next, 1))
		if errors.Is(err, shmchan.ErrFull) {
			break
		}
		st.must(err)
		st.next++
	}
	ctx, cancel := st.enough()
	defer cancel()
	first := make(chan error, 1)
	var park func()
	if st.op.parked {
		park = func() {
			go func() { first <- st.tx.Send(ctx, sealed(st.next, 1)) }()
			time.Sleep(parking)
		}
	}
	st.strike(at, role, park)
	var err error
	if st.op.parked {
		if err = <-first; err == nil {
			st.next++
		}
	}
	if err == nil {
		err = st.send(1)
	}
	st.want(err, shmchan.ErrPeerDied)
	st.want(st.tx.TrySend(message{}), shmchan.ErrFull) // told once
	st.must(st.ctl.check(&st.check))
	st.must(accounted(st.tx))
	switch {
	case !st.k.named():
		st.must(st.tx.Close())
	case st.kills%16 == 0:
		st.life++
		st.rx, err = st.k.openReceiver(st.where, ends("park")...)
		st.must(err)
		st.all(st.next)
		st.must(errors.Join(accounted(st.tx), accounted(st.rx)))
		st.must(st.rx.Detach())
	}
}

// all receives everything below the number end, and nothing else, as a successor
// of the victim.
func (st *stage) all(end uint64) {
	for range capacity {
		m, err := st.rx.TryRecv()
		if errors.Is(err, shmchan.ErrEmpty) || errors.Is(err, io.EOF) {
			break
		}
		st.must(err)
		st.give(m, st.life)
	}
	st.must(st.check.end(end-1, end-1, st.life))
	if st.check.pos != end-1 {
		st.must(fmt.Errorf("the last message is %d, want %d", st.check.pos, end-1))
	}
}

// empty fails unless no file of the channel is left.
func (st *stage) empty() {
	st.Helper()
	if !st.k.named() {
		return
	}
	left, err := os.ReadDir(filepath.Dir(st.where))
	st.must(err)
	if len(left) > 0 {
		st.must(fmt.Errorf("%v is left", left))
	}
}

// over tells whether the name leads to nothing.
func (st *stage) over() bool {
	_, err := os.Stat(st.where)
	return !st.k.named() || errors.Is(err, os.ErrNotExist)
}

// leaving: the victim closes, detaches, or sends its role away, with two messages
// in the channel.
func (st *stage) leaving(at point) {
	st.clear()
	role := st.open()
	if !st.op.sends && !st.op.alone {
		for ; st.next <= 2; st.next++ {
			st.must(st.tx.TrySend(sealed(st.next, 1)))
		}
	}
	var early func()
	if st.op.alone {
		early = func() {
			if st.op.sends {
				st.must(st.rx.Close())
			} else {
				st.must(st.tx.Close())
			}
		}
	}
	ended := st.strike(at, role, early)
	switch {
	case st.op.alone:
		st.anew()
	case st.op.sends:
		st.senderLeft(ended)
	default:
		st.receiverLeft(ended)
	}
	st.empty()
}

// is tells which call the victim died in.
func (st *stage) is(name string) bool {
	return len(st.op.name) >= len(name) && st.op.name[:len(name)] == name
}

func (st *stage) senderLeft(ended bool) {
	if st.is("Detach") {
		tx, err := st.k.openSender(st.where, ends("park")...)
		st.must(err)
		st.must(tx.TrySend(sealed(3, 2)))
		st.must(tx.Close())
	}
	err := st.recv(1)
	if told := errors.Is(err, shmchan.ErrPeerDied); st.is("Detach") && told && !ended {
		err = st.recv(1)
	}
	switch {
	case st.is("File"), st.is("Close") && !ended && !errors.Is(err, io.EOF):
		st.want(err, shmchan.ErrPeerDied) // the role was lost with the only process that had it
	default:
		st.want(err, io.EOF)
	}
	last := uint64(2)
	if st.is("Detach") {
		last = 3
	}
	st.must(st.check.end(last, last, 1))
	st.must(accounted(st.rx))
	st.must(st.rx.Close())
}

func (st *stage) receiverLeft(ended bool) {
	st.life++
	if st.is("Detach") {
		var err error
		st.rx, err = st.k.openReceiver(st.where, ends("park")...)
		st.must(err)
		st.all(st.next)
		st.must(st.tx.TrySend(sealed(st.next, 1)))
		st.next++
		st.all(st.next)
		st.must(errors.Join(st.rx.Close(), st.tx.Close()))
		return
	}
	err := st.send(1)
	if !st.is("Close") || !ended && !errors.Is(err, shmchan.ErrClosed) {
		st.want(err, shmchan.ErrPeerDied)
	} else {
		st.want(err, shmchan.ErrClosed)
	}
	st.must(st.tx.Close())
	if st.over() {
		return
	}
	if ended && st.is("Close") {
		st.must(errors.New("both have closed, and the name is there"))
	}
	st.rx, err = st.k.openReceiver(st.where, ends("park")...) // it died, so its messages are for a successor
	st.must(err)
	st.all(st.next)
	st.want(st.recv(st.life), io.EOF)
	st.must(st.rx.Close())
}

// anew: whatever has become of the channel, whoever comes next gets a new one, or
// the old one with nothing in it.
func (st *stage) anew() {
	tx, err := st.k.openSender(st.where, ends("park")...)
	st.must(err)
	rx, err := st.k.openReceiver(st.where, ends("park")...)
	st.must(err)
	_, err = rx.TryRecv()
	if !errors.Is(err, shmchan.ErrPeerDied) {
		st.want(err, shmchan.ErrEmpty)
	}
	for i := range uint64(capacity) {
		st.must(tx.TrySend(sealed(i+1, 9)))
	}
	err = tx.TrySend(message{})
	if !errors.Is(err, shmchan.ErrPeerDied) {
		st.want(err, shmchan.ErrFull)
	}
	for i := range uint64(capacity) {
		if m, err := rx.TryRecv(); err != nil || m != sealed(i+1, 9) {
			st.must(fmt.Errorf("got %v, %v; want message %d", m, err, i+1))
		}
	}
	st.must(errors.Join(accounted(tx), accounted(rx)))
	st.must(errors.Join(tx.Close(), rx.Close()))
}

// making: the victim opens a name that nobody has.
func (st *stage) making(at point) {
	st.clear()
	st.strike(at, nil, nil)
	st.anew()
	st.empty()
}

// succeeding: the victim opens an end whose holder has detached, with two messages
// in the channel and the other end attached. Of a Buf channel the holder has died,
// and has had Bufs that it did not release.
func (st *stage) succeeding(at point) {
	st.clear()
	tx, err := st.k.openSender(st.where, ends("park")...)
	st.must(err)
	rx, err := st.k.openReceiver(st.where, ends("park")...)
	st.must(err)
	for ; st.next <= 2; st.next++ {
		st.must(tx.TrySend(sealed(st.next, 1)))
	}
	if st.op.sends {
		st.must(tx.Detach())
	} else {
		st.must(rx.Detach())
	}
	if st.k.bufs != nil {
		st.hold()
		if !st.op.sends { // in place of the one that the dead one has
			st.must(tx.TrySend(sealed(st.next, 1)))
			st.next++
		}
	}
	st.strike(at, nil, nil)
	if st.op.sends {
		tx, err = st.k.openSender(st.where, ends("park")...)
	} else {
		rx, err = st.k.openReceiver(st.where, ends("park")...)
	}
	st.must(err)
	st.must(tx.TrySend(sealed(st.next, 2)))
	st.must(accounted(tx))
	st.must(tx.Close())
	st.rx = rx
	for err = shmchan.ErrPeerDied; errors.Is(err, shmchan.ErrPeerDied); { // once for each that has died
		err = st.recv(1)
	}
	st.want(err, io.EOF)
	st.must(st.check.end(st.next, st.next, 1))
	st.must(accounted(rx))
	st.must(rx.Close())
	st.empty()
}

// carrying: the victim attaches through the only descriptor that carries its role.
func (st *stage) carrying(at point) {
	role := st.lends()
	st.strike(at, role, nil)
	if st.op.sends {
		st.want(st.recv(1), shmchan.ErrPeerDied)
		st.must(st.rx.Close())
		return
	}
	st.want(st.send(1), shmchan.ErrPeerDied)
	st.want(st.tx.TrySend(message{}), shmchan.ErrFull)
	st.must(st.tx.Close())
}
