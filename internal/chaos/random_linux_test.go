package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// A crew is a producer and a consumer on one channel, which are killed and
// replaced.
type crew struct {
	t        testing.TB
	k        *kind
	mode     string
	where    string
	ctl      *control
	page     *os.File
	check    checker
	producer *exec.Cmd
	consumer *exec.Cmd
	plife    uint64
	clife    uint64
	kills    int
}

func newCrew(t testing.TB, k *kind, mode string) *crew {
	c := &crew{t: t, k: k, mode: mode, where: k.place(t)}
	c.ctl, c.page = newControl(t)
	t.Cleanup(func() {
		for _, cmd := range []*exec.Cmd{c.producer, c.consumer} {
			if cmd != nil && cmd.ProcessState == nil {
				cmd.Process.Kill()
				cmd.Wait()
			}
		}
	})
	c.begin()
	return c
}

// begin forgets what was: a new channel comes.
func (c *crew) begin() {
	c.ctl.reset()
	c.plife, c.clife = 0, 0
	c.check = checker{burst: burst, takes: c.k.takes(map[string]uint64{"peek": 0, "recv": 1, "batch": burst}[c.mode])}
}

// policy of an end: in turn, so that parking and spinning meet.
func policy(life uint64) string { return []string{"adaptive", "park"}[life%2] }

func (c *crew) produce(role *os.File) {
	c.plife++
	c.producer = spawn(c.t, "produce", files(c.page, role), c.k.name, c.where, policy(c.plife), fmt.Sprint(c.plife))
}

func (c *crew) consume(role *os.File) {
	c.clife++
	c.consumer = spawn(c.t, "consume", files(c.page, role), c.k.name, c.where, policy(c.clife/2), fmt.Sprint(c.clife), c.mode)
}

func files(page, role *os.File) []*os.File {
	if role == nil {
		return []*os.File{page}
	}
	return []*os.File{page, role}
}

// sleep lets the children work for d, and checks what they do.
func (c *crew) sleep(d time.Duration) {
	for end := time.Now().Add(d); ; time.Sleep(min(d, 200*time.Microsecond)) {
		must(c.t, c.ctl.check(&c.check))
		if time.Now().After(end) {
			return
		}
	}
}

// progress waits until a message is delivered that was not before: a survivor
// that was left parked by the death of its peer never gets one, although the
// successor is there.
func (c *crew) progress() {
	from := c.ctl.logged.Load()
	for end := time.Now().Add(patience); c.ctl.logged.Load() == from; c.sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			c.t.Errorf("no message for %v after kill %d", patience, c.kills)
			reap(c.producer, false) // for its stacks
			reap(c.consumer, false)
			c.t.FailNow()
		}
	}
}

func (c *crew) kill(cmd *exec.Cmd) {
	cmd.Process.Kill()
	must(c.t, reap(cmd, true))
	c.kills++
}

// finish ends the work in good order, and checks that nothing is missing.
func (c *crew) finish() {
	c.ctl.stop.Store(1)
	must(c.t, reap(c.producer, false))
	over := make(chan error, 1)
	go func() { over <- reap(c.consumer, false) }()
	for ended := false; !ended; {
		select {
		case err := <-over:
			must(c.t, err)
			ended = true
		case <-time.After(time.Millisecond):
		}
		must(c.t, c.ctl.check(&c.check))
	}
	acked := c.ctl.acked.Load()
	must(c.t, c.check.end(acked, acked+burst, c.clife)) // the last sender may not have come to send again
}

// instant is when a process is killed after something has happened: before it has
// started, while it attaches, at work.
func instant() time.Duration { return time.Duration(rand.N(int64(6 * time.Millisecond))) }

// TestRandomKills kills producers and consumers, and both, at random instants.
// Every second kill waits until a message has come through since the last one.
func TestRandomKills(t *testing.T) {
	var table report
	t.Cleanup(func() { table.print(t, "random kills") })
	for i := range kinds {
		for _, mode := range []string{"peek", "recv", "batch"} {
			t.Run(kinds[i].name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				begin := time.Now()
				c := newCrew(t, &kinds[i], mode)
				kills := much(10_000/3/len(kinds)+1, 25, 4)
				sum := checker{}
				if kinds[i].named() {
					c.named(kills)
					sum = c.check
				} else {
					c.pairs(kills, &sum)
				}
				table.add(time.Since(begin), kinds[i].name, mode, c.kills, sum.unique, sum.again, sum.resent, sum.gone)
			})
		}
	}
	table.head("kind", "consumer", "kills", "messages", "again", "resent", "taken along")
}

// named kills on one channel, which all of them share one after the other.
func (c *crew) named(kills int) {
	c.produce(nil)
	c.consume(nil)
	counted := 0
	for c.kills < kills {
		if rand.N(2) == 0 {
			c.progress()
		}
		c.sleep(instant())
		if c.k.bufs != nil && c.kills-counted >= min(kills/2, 25) {
			c.count()
			counted = c.kills
		}
		switch rand.N(5) {
		case 0, 1:
			c.kill(c.producer)
			c.sleep(instant() / 4) // the survivor is alone for a while
			c.produce(nil)
		case 2, 3:
			c.kill(c.consumer)
			c.sleep(instant() / 4)
			c.consume(nil)
		case 4: // at once, in either order
			c.producer.Process.Kill()
			c.kill(c.consumer)
			c.kill(c.producer)
			c.consume(nil)
			c.sleep(instant() / 4)
			c.produce(nil)
		}
	}
	c.progress()
	c.finish()
	left, err := os.ReadDir(c.where[:len(c.where)-len("/channel")])
	must(c.t, err)
	if len(left) > 0 {
		c.t.Errorf("both have closed, and %v is left", left)
	}
}

// count kills both, takes their places, receives what is left, and looks for every
// block. Then others go on, with the same channel.
func (c *crew) count() {
	c.kill(c.producer)
	c.kill(c.consumer)
	must(c.t, c.ctl.check(&c.check))
	c.clife++
	tx, err := c.k.openSender(c.where, ends("park")...)
	must(c.t, err)
	rx, err := c.k.openReceiver(c.where, ends("park")...)
	must(c.t, err)
	for {
		m, err := rx.TryRecv()
		if errors.Is(err, shmchan.ErrEmpty) {
			break
		}
		if errors.Is(err, shmchan.ErrPeerDied) {
			continue
		}
		must(c.t, err)
		must(c.t, c.check.deliver(delivery{m, c.clife}))
	}
	must(c.t, accounted(tx))
	must(c.t, accounted(rx))
	must(c.t, tx.Detach())
	c.produce(nil)
	for end := time.Now().Add(patience); rx.Len() == 0; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			c.t.Error("the successor sends nothing")
			reap(c.producer, false)
			c.t.FailNow()
		}
	}
	must(c.t, rx.Detach())
	c.consume(nil)
}

// pairs makes a pair for each kill: nobody can follow on it. The survivor must
// end by itself, told of the death.
func (c *crew) pairs(kills int, sum *checker) {
	for c.kills < kills {
		tx, rx, err := c.k.pair(shmchan.WithCapacity(capacity))
		must(c.t, err)
		sf, err := tx.File()
		must(c.t, err)
		rf, err := rx.File()
		must(c.t, err)
		c.produce(sf)
		c.consume(rf)
		must(c.t, errors.Join(sf.Close(), rf.Close()))
		if rand.N(2) == 0 {
			c.progress()
		}
		c.sleep(instant())
		if rand.N(2) == 0 {
			c.kill(c.producer)
			must(c.t, c.drain(c.consumer))
			// The consumer was told when it had everything.
			acked := c.ctl.acked.Load()
			must(c.t, c.check.end(acked, acked+burst, c.clife))
		} else {
			c.kill(c.consumer)
			must(c.t, c.drain(c.producer))
			must(c.t, c.ctl.check(&c.check))
		}
		sum.unique += c.check.unique
		sum.gone += c.check.gone
		c.begin()
	}
}

// drain waits for the end of a survivor, and checks meanwhile what comes.
func (c *crew) drain(cmd *exec.Cmd) error {
	over := make(chan error, 1)
	go func() { over <- reap(cmd, false) }()
	for {
		select {
		case err := <-over:
			return errors.Join(err, c.ctl.check(&c.check))
		case <-time.After(200 * time.Microsecond):
			must(c.t, c.ctl.check(&c.check))
		}
	}
}
