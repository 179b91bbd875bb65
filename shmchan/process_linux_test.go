package shmchan_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/shmkit/shm/shmchan"
)

func TestChildGetsTheSender(t *testing.T) {
	tx, rx := pair[int](t, options{shmchan.WithCapacity(8)})
	must(t, tx.TrySend(0)) // what was sent before stays
	f, err := tx.File()
	must(t, err)
	c := give(t, f, "s")
	c.say("send 1 1000")
	recvs(t, rx, 0, 1000)
	c.want("ok")
	c.ask("close", "ok")
	if _, err := rx.Recv(within(t)); err != io.EOF {
		t.Fatal(err)
	}
	c.end()
}

func TestChildGetsTheReceiver(t *testing.T) {
	tx, rx := pair[int](t, options{shmchan.WithCapacity(8)})
	must(t, tx.TrySend(0))
	must(t, tx.TrySend(1))
	recvs(t, rx, 0, 1)
	f, err := rx.File()
	must(t, err)
	c := give(t, f, "r")
	c.say("recv 1 1000")
	sends(t, tx, 2, 1000)
	c.want("ok")
	c.ask("close", "ok")
	wantErr(t, tx.Send(within(t), 1), shmchan.ErrClosed)
	c.end()
}

func TestTwoChildren(t *testing.T) {
	tx, rx := pair[int](t, options{shmchan.WithCapacity(8)})
	sf, err := tx.File()
	must(t, err)
	rf, err := rx.File()
	must(t, err)
	s := give(t, sf, "s")
	s.say("send 0 5000")
	r := give(t, rf, "r")
	r.ask("recv 0 5000", "ok")
	s.want("ok")
	s.ask("close", "ok")
	r.ask("tryrecv", "EOF")
}

func TestNamedInBothOrders(t *testing.T) {
	for _, first := range []string{"child", "parent"} {
		for _, side := range []string{"s", "r"} {
			t.Run(first+" first, child "+side, func(t *testing.T) {
				d := dir(t)
				var c *child
				if first == "child" {
					c = open(t, side, "name", "cap=4")
				}
				if side == "s" {
					rx := receiver(t, "name")
					if first == "parent" {
						c = open(t, side, "name")
					}
					c.say("send 0 100")
					recvs(t, rx, 0, 100)
					c.want("ok")
					must(t, rx.WaitPeer(within(t)))
					must(t, rx.Close())
					c.ask("trysend 1", "closed")
				} else {
					tx := sender(t, "name")
					if first == "parent" {
						c = open(t, side, "name")
					}
					sends(t, tx, 0, 4)
					c.ask("recv 0 4", "ok")
					must(t, tx.WaitPeer(within(t)))
					must(t, tx.Close())
					c.ask("tryrecv", "EOF")
				}
				names(t, d, "name", "name.lock")
				c.ask("close", "ok")
				names(t, d)
			})
		}
	}
}

// Whoever comes first waits for the other.
func TestWaitPeerAcrossProcesses(t *testing.T) {
	dir(t)
	c := open(t, "s", "name")
	c.say("waitpeer")
	rx := receiver(t, "name")
	c.want("ok")
	must(t, rx.WaitPeer(within(t)))
	c.ask("close", "ok")
	wantErr(t, rx.WaitPeer(within(t)), shmchan.ErrClosed)
}

// Of 50 processes that open the two ends of one name at the same moment, one
// gets each, on the same channel, and the others are told by whom they were
// beaten.
func TestManyProcessesRaceForOneName(t *testing.T) {
	d := dir(t)
	procs := 50
	if testing.Short() {
		procs = 10
	}
	cs := make([]*child, procs)
	for i := range cs {
		cs[i] = start(t, nil, "end", "wait", "sr"[i%2:i%2+1], "name", "cap=16")
	}
	for _, c := range cs {
		c.want("ready")
	}
	for _, c := range cs {
		c.say("go")
	}
	var won [2]*child
	var lost [2][]string
	for i, c := range cs {
		if line := c.line(); line != "open" {
			lost[i%2] = append(lost[i%2], line)
			continue
		}
		if won[i%2] != nil {
			t.Fatal("two have one role")
		}
		won[i%2] = c
	}
	for i, lines := range lost {
		if won[i] == nil {
			t.Fatal("nobody has role", i, lines)
		}
		for _, l := range lines {
			if !strings.HasPrefix(l, "busy ") || !strings.Contains(l, fmt.Sprint("process ", won[i].pid())) {
				t.Errorf("told %q, want busy and process %d", l, won[i].pid())
			}
		}
	}
	won[0].say("send 0 1000")
	won[1].ask("recv 0 1000", "ok")
	won[0].want("ok")
	names(t, d, "name", "name.lock")
	won[0].ask("close", "ok")
	won[1].ask("close", "ok")
	names(t, d)
}

func TestBusyNamesTheHolder(t *testing.T) {
	dir(t)
	c := open(t, "s", "name")
	_, err := shmchan.OpenSender[int]("name")
	wantErr(t, err, shmchan.ErrBusy, "sender", fmt.Sprint("process ", c.pid()))
	rx := receiver(t, "name")
	_, err = shmchan.OpenReceiver[int]("name")
	wantErr(t, err, shmchan.ErrBusy, "receiver", fmt.Sprint("process ", os.Getpid()))
	c.ask("trysend 0", "ok") // nothing has happened to those who have them
	recvs(t, rx, 0, 1)
}

func init() {
	// stream FROM-FD-3 LAST: sends checked records, then closes.
	children["stream"] = func(args []string) {
		last, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			panic(err)
		}
		tx, _, err := openEnd[record]("s", "fd", parse(args[1:]))
		if err != nil {
			panic(err)
		}
		for i := range last {
			if err := tx.Send(bg, recordOf(i)); err != nil {
				panic(err)
			}
		}
		if err := tx.Close(); err != nil {
			panic(err)
		}
		bufio.NewScanner(os.Stdin).Scan()
	}
}

// A million records between two processes, each checked.
func TestStreamBetweenProcesses(t *testing.T) {
	for _, p := range policies {
		t.Run(p.String(), func(t *testing.T) {
			tx, rx := pair[record](t, options{shmchan.WithWait(p)})
			f, err := tx.File()
			must(t, err)
			last := uint64(n(1_000_000))
			c := start(t, []*os.File{f}, "stream", fmt.Sprint(last), p.String())
			must(t, f.Close())
			next := uint64(0)
			for r, err := range rx.All(within(t)) {
				if err == nil {
					err = r.check(next)
				}
				must(t, err)
				next++
			}
			if next != last {
				t.Fatal(next)
			}
			c.end()
		})
	}
}
