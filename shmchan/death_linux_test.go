package shmchan_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// toldDeath fails unless err is the death of c.
func toldDeath(t *testing.T, err error, c *child) {
	t.Helper()
	wantErr(t, err, shmchan.ErrPeerDied, fmt.Sprint("process ", c.pid()))
}

func recvErr(rx *shmchan.Receiver[int]) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := rx.Recv(ctx)
		return err
	}
}

func TestKilledSender(t *testing.T) {
	d := dir(t)
	c := open(t, "s", "name", "cap=8")
	rx := receiver(t, "name")
	c.ask("fill 0", "full at 8")
	c.kill()
	recvs(t, rx, 0, 8) // everything that was published
	toldDeath(t, recvErr(rx)(within(t)), c)
	_, err := rx.TryRecv()
	wantErr(t, err, shmchan.ErrEmpty) // told once
	stillWaits(t, recvErr(rx))
	names(t, d, "name", "name.lock")

	c = open(t, "s", "name")
	c.say("send 8 1000")
	recvs(t, rx, 8, 1000)
	c.want("ok")
	c.kill() // another death, told again, here to TryRecv
	until(t, "TryRecv tells the death", func() bool {
		_, err = rx.TryRecv()
		return !errors.Is(err, shmchan.ErrEmpty)
	})
	toldDeath(t, err, c)
	stillWaits(t, recvErr(rx))

	c = open(t, "s", "name")
	c.ask("trysend 1000", "ok")
	c.ask("close", "ok")
	recvs(t, rx, 1000, 1001)
}

// A sender is killed in the middle of its work, again and again. What comes is
// without gap and without repetition, and the successor goes on.
func TestSendersKilledAtWork(t *testing.T) {
	dir(t)
	rx := receiver(t, "name", shmchan.WithCapacity(64))
	next := 0
	for range n(20) {
		c := open(t, "s", "name")
		c.ask(fmt.Sprint("flood ", next), "flooding")
		kill := time.AfterFunc(time.Duration(rand.N(5000))*time.Microsecond, func() { c.cmd.Process.Kill() })
		ctx := within(t)
		for {
			v, err := rx.Recv(ctx)
			if err != nil {
				toldDeath(t, err, c)
				break
			}
			if v != next {
				t.Fatalf("got %d, want %d", v, next)
			}
			next++
		}
		kill.Stop()
		c.cmd.Wait()
		if rx.Len() != 0 {
			t.Fatal(rx.Len())
		}
	}
	t.Log(next, "messages")
}

func TestKilledReceiver(t *testing.T) {
	d := dir(t)
	tx := sender(t, "name", shmchan.WithCapacity(4))
	sends(t, tx, 0, 4)
	c := open(t, "r", "name")
	c.ask("recv 0 2", "ok")
	c.ask("peek", "2") // and no Release
	c.kill()
	sends(t, tx, 4, 6) // there is room, so nothing is told
	toldDeath(t, tx.Send(within(t), -1), c)
	wantErr(t, tx.TrySend(-1), shmchan.ErrFull) // told once
	stillWaits(t, func(ctx context.Context) error { return tx.Send(ctx, -1) })
	names(t, d, "name", "name.lock")

	c = open(t, "r", "name")
	c.ask("recv 2 6", "ok") // what was peeked at comes again
	sends(t, tx, 6, 10)
	c.kill()
	var err error
	until(t, "TrySend tells the death", func() bool {
		err = tx.TrySend(-1)
		return !errors.Is(err, shmchan.ErrFull)
	})
	toldDeath(t, err, c)

	c = open(t, "r", "name")
	must(t, tx.Close())
	c.ask("recv 6 10", "ok")
	c.ask("tryrecv", "EOF")
	c.ask("close", "ok")
	names(t, d)
}

// A message in place at the death of its sender was never sent.
func TestSenderKilledInAReserve(t *testing.T) {
	dir(t)
	c := open(t, "s", "name")
	rx := receiver(t, "name")
	c.ask("trysend 0", "ok")
	c.ask("reserve 77", "ok")
	c.kill()
	recvs(t, rx, 0, 1)
	toldDeath(t, recvErr(rx)(within(t)), c)
	c = open(t, "s", "name")
	c.ask("trysend 1", "ok")
	recvs(t, rx, 1, 2)
}

// Every blocked call is told, whatever it waits by.
func TestBlockedCallIsToldOfADeath(t *testing.T) {
	for _, p := range policies {
		for name, call := range blocked {
			t.Run(fmt.Sprint(p, " ", name), func(t *testing.T) {
				tx, rx, err := shmchan.Pair[int](shmchan.WithCapacity(1), shmchan.WithWait(p))
				must(t, err)
				defer tx.Close()
				defer rx.Close()
				var c *child
				if isSend(name) {
					must(t, tx.TrySend(0))
					f, err := rx.File()
					must(t, err)
					c = give(t, f, "r")
				} else {
					f, err := tx.File()
					must(t, err)
					c = give(t, f, "s")
				}
				done := goes(func() error { return call(bg, tx, rx) })
				doze()
				start := time.Now()
				c.kill()
				toldDeath(t, result(t, done), c)
				took := time.Since(start)
				t.Log("told after", took)
				if took > 10*time.Second {
					t.Fatalf("told after %v, normally 1 ms", took)
				}
			})
		}
	}
}

func init() {
	// maker SIDE: makes a pair, sends the other end through the socket that is
	// descriptor 3, and keeps its own.
	children["maker"] = func(args []string) {
		tx, rx, err := shmchan.Pair[int](shmchan.WithCapacity(1))
		if err != nil {
			panic(err)
		}
		if err := tx.TrySend(5); err != nil {
			panic(err)
		}
		give := tx.File
		if args[0] == "s" {
			give = rx.File
		}
		f, err := give()
		if err != nil {
			panic(err)
		}
		if err := unix.Sendmsg(3, []byte{1}, unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
			panic(err)
		}
		f.Close()
		os.Stdin.Read(make([]byte, 1))
		runtime.KeepAlive(tx)
		runtime.KeepAlive(rx)
	}
}

// The process that made the pair dies, and we have the end that it sent us.
func TestMakerOfThePairDies(t *testing.T) {
	for _, side := range []string{"s", "r"} {
		socks, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		theirs := os.NewFile(uintptr(socks[1]), "socket")
		c := start(t, []*os.File{theirs}, "maker", side)
		must(t, theirs.Close())
		b, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
		_, k, _, _, err := unix.Recvmsg(socks[0], b, oob, unix.MSG_CMSG_CLOEXEC)
		must(t, err)
		must(t, unix.Close(socks[0]))
		msgs, err := unix.ParseSocketControlMessage(oob[:k])
		must(t, err)
		fds, err := unix.ParseUnixRights(&msgs[0])
		must(t, err)
		f := os.NewFile(uintptr(fds[0]), "role")
		if side == "s" {
			rx, err := shmchan.ReceiverFromFile[int](f)
			must(t, err)
			defer rx.Close()
			recvs(t, rx, 5, 6)
			done := goes(func() error { return recvErr(rx)(bg) })
			c.kill()
			toldDeath(t, result(t, done), c)
			continue
		}
		tx, err := shmchan.SenderFromFile[int](f)
		must(t, err)
		defer tx.Close()
		done := goes(func() error { return tx.Send(bg, 6) })
		c.kill()
		toldDeath(t, result(t, done), c)
	}
}

// Exit without Close is a death too, and Ready has a token for it.
func TestReadyTellsADeath(t *testing.T) {
	dir(t)
	c := open(t, "s", "name")
	rx := receiver(t, "name")
	ready := rx.Ready()
	quiet(t, ready)
	c.say("exit")
	c.cmd.Wait()
	for {
		token(t, ready)
		_, err := rx.TryRecv()
		if errors.Is(err, shmchan.ErrEmpty) {
			continue
		}
		toldDeath(t, err, c)
		break
	}
	quiet(t, ready) // told once, not for ever
	c = open(t, "s", "name")
	c.ask("trysend 0", "ok")
	token(t, ready)
	recvs(t, rx, 0, 1)
}

// WithAwaitSuccessor waits through any number of deaths.
func TestAwaitSuccessor(t *testing.T) {
	for _, p := range policies {
		t.Run(p.String(), func(t *testing.T) {
			dir(t)
			rx := receiver(t, "to us", shmchan.WithAwaitSuccessor(), shmchan.WithWait(p))
			tx := sender(t, "from us", shmchan.WithAwaitSuccessor(), shmchan.WithWait(p), shmchan.WithCapacity(1))
			must(t, tx.TrySend(0))
			ctx := within(t)
			got := goes(func() error {
				v, err := rx.Recv(ctx)
				if err == nil && v != 5 {
					err = fmt.Errorf("got %d", v)
				}
				return err
			})
			sent := goes(func() error { return tx.Send(ctx, 1) })
			for range 2 {
				open(t, "s", "to us").kill()
				open(t, "r", "from us").kill()
			}
			open(t, "s", "to us").ask("trysend 5", "ok")
			open(t, "r", "from us").ask("recv 0 2", "ok")
			must(t, result(t, got))
			must(t, result(t, sent))
		})
	}
}

// A stopped process is not dead.
func TestStoppedIsNotDead(t *testing.T) {
	dir(t)
	c := open(t, "s", "name")
	rx := receiver(t, "name", shmchan.WithWait(waiter.Park))
	c.signal(syscall.SIGSTOP)
	stillWaits(t, recvErr(rx))
	_, err := shmchan.OpenSender[int]("name")
	wantErr(t, err, shmchan.ErrBusy, fmt.Sprint(c.pid()))
	c.say("trysend 0")
	c.signal(syscall.SIGCONT)
	c.want("ok")
	recvs(t, rx, 0, 1)
}

// If every copy of a descriptor is closed and nobody attached, that is a death.
func TestFileClosedUnattached(t *testing.T) {
	t.Run("sender", func(t *testing.T) {
		tx, rx := pair[int](t, nil)
		must(t, tx.TrySend(0))
		f, err := tx.File()
		must(t, err)
		recvs(t, rx, 0, 1)
		stillWaits(t, recvErr(rx)) // on its way
		done := goes(func() error { return recvErr(rx)(bg) })
		must(t, f.Close())
		wantErr(t, result(t, done), shmchan.ErrPeerDied)
		stillWaits(t, recvErr(rx))
	})
	t.Run("receiver", func(t *testing.T) {
		tx, rx := pair[int](t, options{shmchan.WithCapacity(1)})
		must(t, tx.TrySend(0))
		f, err := rx.File()
		must(t, err)
		send := func(ctx context.Context) error { return tx.Send(ctx, 1) }
		stillWaits(t, send)
		done := goes(func() error { return send(bg) })
		must(t, f.Close())
		wantErr(t, result(t, done), shmchan.ErrPeerDied)
		stillWaits(t, send)
	})
	t.Run("child", func(t *testing.T) {
		tx, rx := pair[int](t, nil)
		f, err := tx.File()
		must(t, err)
		c := start(t, []*os.File{f}, "nothing")
		must(t, f.Close())
		stillWaits(t, recvErr(rx))
		c.end()
		wantErr(t, recvErr(rx)(within(t)), shmchan.ErrPeerDied)
	})
}

func init() {
	// nothing: has what it inherited until its stdin ends.
	children["nothing"] = func([]string) { os.Stdin.Read(make([]byte, 1)) }
}

// After Detach the peer waits as for one that has not come yet, and a
// successor in another process goes on.
func TestDetachAndSuccessor(t *testing.T) {
	d := dir(t)
	tx := sender(t, "name", shmchan.WithCapacity(4))
	rx := receiver(t, "name")
	sends(t, tx, 0, 2)
	must(t, tx.Detach())
	recvs(t, rx, 0, 2)
	stillWaits(t, recvErr(rx))
	c := open(t, "s", "name")
	c.ask("send 2 5", "ok")
	c.ask("detach", "ok")
	c.ask("trysend 9", "closed")

	recvs(t, rx, 2, 3)
	p, err := rx.Peek(within(t))
	if err != nil || *p != 3 {
		t.Fatal(err)
	}
	must(t, rx.Detach())
	r := open(t, "r", "name")
	tx = sender(t, "name")
	must(t, tx.TrySend(5))
	r.ask("recv 3 6", "ok") // what was not released comes again
	if *p != 3 {
		t.Fatal(*p)
	}
	wantErr(t, rx.Release(), shmchan.ErrClosed)
	must(t, tx.Close())
	r.ask("tryrecv", "EOF")
	r.ask("close", "ok")
	names(t, d)
}

// Whoever attaches after a death that nobody was told of is told of it.
func TestDeathBeforeWeCame(t *testing.T) {
	dir(t)
	c := open(t, "s", "name")
	c.ask("trysend 0", "ok")
	c.kill()
	rx := receiver(t, "name")
	recvs(t, rx, 0, 1)
	toldDeath(t, recvErr(rx)(within(t)), c)
	stillWaits(t, recvErr(rx))
}
