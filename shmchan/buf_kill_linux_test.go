package shmchan_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// Processes that are killed at random moments while a survivor goes on and
// successors take their place. Each message says who sent it and its number
// among his, and is filled with that; whoever has one looks at all of it when he
// gets it and again before he releases it. At the end every block is counted.
//
//	go test ./shmchan -run TestBufKilled -count=1 -v -kills 2000
var kills = flag.Int("kills", 100, "how many processes TestBufKilled kills")

var killClasses = []slabpool.Class{{Size: 200, Count: 24}, {Size: 4096, Count: 8}}

const killCapacity = 16

// fill writes message number seq of a sender.
func fill(b *shmchan.Buf, sender, seq uint64) {
	p := b.Bytes()
	for i := range p {
		p[i] = byte(seq ^ sender)
	}
	binary.NativeEndian.PutUint64(p, sender)
	binary.NativeEndian.PutUint64(p[8:], seq)
}

// filled returns what a message says, if all of it says the same.
func filled(b *shmchan.Buf) (sender, seq uint64, err error) {
	p := b.Bytes()
	if len(p) < 16 {
		return 0, 0, fmt.Errorf("a message of %d bytes", len(p))
	}
	sender, seq = binary.NativeEndian.Uint64(p), binary.NativeEndian.Uint64(p[8:])
	for i, c := range p[16:] {
		if c != byte(seq^sender) {
			return 0, 0, fmt.Errorf("byte %d of message %d of sender %d, %d bytes, is %d", 16+i, seq, sender, len(p), c)
		}
	}
	return sender, seq, nil
}

// sendOne sends the next message, or releases a loan that it does not send.
func sendOne(ctx context.Context, tx *shmchan.BufSender, rng *rand.Rand, sender uint64, seq *uint64) error {
	size := 16 + rng.IntN(180)
	if rng.IntN(4) == 0 {
		size = 16 + rng.IntN(4080)
	}
	b, err := tx.Loan(ctx, size)
	if err != nil {
		return err
	}
	fill(b, sender, *seq)
	if rng.IntN(8) == 0 {
		return b.Release()
	}
	if err := tx.Send(ctx, b); err != nil {
		return errors.Join(err, b.Release())
	}
	*seq++
	return nil
}

// A keeper is a receiver that keeps messages for a while: fewer than the pool
// has blocks of a class, or the sender could wait for one for ever.
type keeper struct {
	rng  *rand.Rand
	held []*shmchan.Buf
	last map[uint64]uint64 // number of the last message, by sender
}

func (k *keeper) release(i int) error {
	b := k.held[i]
	if _, _, err := filled(b); err != nil {
		return fmt.Errorf("changed while it was held: %w", err)
	}
	k.held[i] = k.held[len(k.held)-1]
	k.held = k.held[:len(k.held)-1]
	return b.Release()
}

func (k *keeper) releaseAll() error {
	for len(k.held) > 0 {
		if err := k.release(len(k.held) - 1); err != nil {
			return err
		}
	}
	return nil
}

// got keeps a message, and releases others. In the hands of one receiver the
// messages of one sender come without a gap; exact says that it had all before.
func (k *keeper) got(b *shmchan.Buf, exact bool) error {
	sender, seq, err := filled(b)
	if err != nil {
		return err
	}
	last, known := k.last[sender]
	if known && seq != last+1 || !known && exact && seq != 1 {
		return fmt.Errorf("message %d of sender %d after %d", seq, sender, last)
	}
	k.last[sender] = seq
	k.held = append(k.held, b)
	for len(k.held) > 6 || len(k.held) > 0 && k.rng.IntN(3) == 0 {
		if err := k.release(k.rng.IntN(len(k.held))); err != nil {
			return err
		}
	}
	return nil
}

func killRand() *rand.Rand {
	return rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(time.Now().UnixNano())))
}

func init() {
	children["bufs"] = func(args []string) {
		in := bufio.NewScanner(os.Stdin)
		id, _ := strconv.Atoi(args[2])
		rng := killRand()
		fail := func(err error) {
			fmt.Println(err)
			in.Scan()
			os.Exit(1)
		}
		if args[0] == "s" {
			tx, err := shmchan.OpenBufSender(args[1])
			if err != nil {
				fail(err)
			}
			fmt.Println("open")
			for seq := uint64(1); ; {
				if err := sendOne(bg, tx, rng, uint64(id), &seq); err != nil && !errors.Is(err, shmchan.ErrPeerDied) {
					fail(err)
				}
			}
		}
		rx, err := shmchan.OpenBufReceiver(args[1])
		if err != nil {
			fail(err)
		}
		fmt.Println("open")
		k := &keeper{rng: rng, last: map[uint64]uint64{}}
		for {
			b, err := rx.Recv(bg)
			if err == nil {
				err = k.got(b, false)
			}
			if err != nil && !errors.Is(err, shmchan.ErrPeerDied) {
				fail(err)
			}
		}
	}
}

// A battle is a named Buf channel whose ends are killed.
type battle struct {
	t     *testing.T
	name  string
	rng   *rand.Rand
	next  int // number of the next child
	ended int // kills
}

func newBattle(t *testing.T) *battle {
	needsFiles(t)
	d, err := os.MkdirTemp("/dev/shm", "shmchan-kill-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(d) })
	return &battle{t: t, name: filepath.Join(d, "bufs"), rng: killRand()}
}

// start runs a child that works with one end until it is killed.
func (x *battle) start(side string) *child {
	x.next++
	c := start(x.t, nil, "bufs", side, x.name, strconv.Itoa(x.next))
	c.want("open")
	return c
}

// kill kills a child, which must have had nothing to complain of.
func (x *battle) kill(c *child) {
	x.t.Helper()
	c.kill()
	x.ended++
	if c.out.Scan() {
		x.t.Fatalf("the child says %q", c.out.Text())
	}
}

// moment is how long a child lives.
func (x *battle) moment() time.Time {
	return time.Now().Add(time.Duration(x.rng.IntN(6000)) * time.Microsecond)
}

// accounted counts all blocks: none is in use when nobody holds any, and each can
// be had once.
func (x *battle) accounted(tx *shmchan.BufSender) {
	x.t.Helper()
	for _, s := range tx.Stats() {
		if s.InUse != 0 || s.Free != s.Count {
			x.t.Errorf("after %d kills: %v", x.ended, s)
		}
	}
	var loans []*shmchan.Buf
	for _, c := range killClasses {
		for range c.Count {
			b, err := tx.TryLoan(c.Size)
			if err != nil {
				x.t.Fatalf("after %d kills, with %d loans: %v", x.ended, len(loans), err)
			}
			fill(b, uint64(len(loans)), 0)
			loans = append(loans, b)
		}
	}
	if _, err := tx.TryLoan(100); !errors.Is(err, shmchan.ErrFull) {
		x.t.Errorf("a block too many: %v", err)
	}
	for i, b := range loans {
		if sender, _, err := filled(b); err != nil || sender != uint64(i) {
			x.t.Errorf("a block was given out twice: %d, %v", sender, err)
		}
		must(x.t, b.Release())
	}
}

// TestBufKilled: see above. The senders die, then the receivers, then both.
func TestBufKilled(t *testing.T) {
	total := n(*kills)
	t.Run("senders", func(t *testing.T) { sendersDie(t, total*2/5) })
	t.Run("receivers", func(t *testing.T) { receiversDie(t, total*2/5) })
	t.Run("both", func(t *testing.T) { bothDie(t, total-total*2/5*2) })
}

func sendersDie(t *testing.T, kills int) {
	x := newBattle(t)
	rx, err := shmchan.OpenBufReceiver(x.name, shmchan.WithCapacity(killCapacity), shmchan.WithPool(killClasses...))
	must(t, err)
	k := &keeper{rng: x.rng, last: map[uint64]uint64{}}
	got := 0
	for range kills {
		c := x.start("s")
		for end := x.moment(); time.Now().Before(end); {
			b, err := rx.TryRecv()
			if errors.Is(err, shmchan.ErrEmpty) || errors.Is(err, shmchan.ErrPeerDied) {
				continue
			}
			must(t, err)
			must(t, k.got(b, true))
			got++
		}
		x.kill(c)
	}
	tx, err := shmchan.OpenBufSender(x.name)
	must(t, err)
	for { // what was sent is received
		b, err := rx.TryRecv()
		if errors.Is(err, shmchan.ErrPeerDied) {
			continue
		}
		if errors.Is(err, shmchan.ErrEmpty) {
			break
		}
		must(t, err)
		must(t, k.got(b, true))
		got++
	}
	must(t, k.releaseAll())
	x.accounted(tx)
	t.Logf("%d senders killed, %d messages received by the survivor", x.ended, got)
	must(t, tx.Close())
	must(t, rx.Close())
}

func receiversDie(t *testing.T, kills int) {
	x := newBattle(t)
	tx, err := shmchan.OpenBufSender(x.name, shmchan.WithCapacity(killCapacity), shmchan.WithPool(killClasses...))
	must(t, err)
	seq := uint64(1)
	for range kills {
		c := x.start("r")
		ctx := within(t)
		for end := x.moment(); time.Now().Before(end); {
			if err := sendOne(ctx, tx, x.rng, 0, &seq); err != nil && !errors.Is(err, shmchan.ErrPeerDied) {
				x.kill(c)
				t.Fatal(err)
			}
		}
		x.kill(c)
	}
	// The survivor alone gets back what the dead held; what is in the ring is
	// for a receiver.
	until(t, "the survivor is told of the death", func() bool {
		var loans []*shmchan.Buf // until there are no more: then it looks after the dead
		for b, err := tx.TryLoan(100); err == nil; b, err = tx.TryLoan(100) {
			loans = append(loans, b)
		}
		for _, b := range loans {
			must(t, b.Release())
		}
		s := tx.Stats()
		return s[0].InUse+s[1].InUse <= tx.Len()
	})
	rx, err := shmchan.OpenBufReceiver(x.name)
	must(t, err)
	k := &keeper{rng: x.rng, last: map[uint64]uint64{}}
	for {
		b, err := rx.TryRecv()
		if errors.Is(err, shmchan.ErrEmpty) {
			break
		}
		must(t, err)
		must(t, k.got(b, false))
	}
	must(t, k.releaseAll())
	if last, any := k.last[0]; any && last != seq-1 {
		t.Errorf("the last message is %d, sent were %d", last, seq-1)
	}
	x.accounted(tx)
	t.Logf("%d receivers killed, %d messages sent by the survivor", x.ended, seq-1)
	must(t, tx.Close())
	must(t, rx.Close())
}

func bothDie(t *testing.T, kills int) {
	x := newBattle(t)
	// Keeps the name and its geometry while nobody else is there.
	tx, err := shmchan.OpenBufSender(x.name, shmchan.WithCapacity(killCapacity), shmchan.WithPool(killClasses...))
	must(t, err)
	c := [2]*child{1: x.start("r")}
	must(t, tx.Detach())
	c[0] = x.start("s")
	for range kills {
		time.Sleep(time.Until(x.moment()))
		k := x.rng.IntN(2)
		x.kill(c[k])
		c[k] = x.start([]string{"s", "r"}[k])
	}
	x.kill(c[0])
	tx, err = shmchan.OpenBufSender(x.name) // while the receiver goes on
	must(t, err)
	x.kill(c[1])
	rx, err := shmchan.OpenBufReceiver(x.name)
	must(t, err)
	k := &keeper{rng: x.rng, last: map[uint64]uint64{}}
	for {
		b, err := rx.TryRecv()
		if errors.Is(err, shmchan.ErrEmpty) {
			break
		}
		must(t, err)
		must(t, k.got(b, false))
	}
	must(t, k.releaseAll())
	x.accounted(tx)
	t.Logf("%d processes killed", x.ended)
	must(t, tx.Close())
	must(t, rx.Close())
	names(t, strings.TrimSuffix(x.name, "/bufs"))
}
