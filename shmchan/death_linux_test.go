package shmchan_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// died fails unless the death is told now, naming the process, and only once.
func died(t *testing.T, c *child, call func() error, after error) {
	t.Helper()
	wantErr(t, call(), shmchan.ErrPeerDied, fmt.Sprint("process ", c.pid()))
	wantErr(t, call(), after)
}

func TestKilledSender(t *testing.T) {
	onEnds(t, "s", func(t *testing.T, c *child, where string, successor func() *child) {
		rx := peerOf[*shmchan.Receiver[int]](t, where)
		c.ask("fill 0", "full at 8")
		c.kill()
		recvs(t, rx, 0, 8) // everything that was published
		_, err := rx.Recv(within(t))
		wantErr(t, err, shmchan.ErrPeerDied, fmt.Sprint("process ", c.pid()))
		_, err = rx.TryRecv() // once
		wantErr(t, err, shmchan.ErrEmpty)
		stillWaits(t, func(ctx context.Context) error { _, err := rx.Recv(ctx); return err })

		c = successor()
		c.say("send 8 1000")
		recvs(t, rx, 8, 1000)
		c.want("ok")
		c.kill() // another death, told again
		_, err = rx.Recv(within(t))
		wantErr(t, err, shmchan.ErrPeerDied, fmt.Sprint("process ", c.pid()))
		c = successor()
		c.ask("trysend 1000", "ok")
		c.ask("close", "ok")
		recvs(t, rx, 1000, 1001)
	})
}

// onEnds runs a test with a child that has the end, by name.
func onEnds(t *testing.T, side string, f func(t *testing.T, c *child, where string, successor func() *child)) {
	dir(t)
	c := open(t, side, "name", "cap=8")
	f(t, c, "name", func() *child { return open(t, side, "name") })
}

// peerOf opens the other end.
func peerOf[E any](t *testing.T, name string, opts ...shmchan.Option) (e E) {
	t.Helper()
	switch p := any(&e).(type) {
	case **shmchan.Sender[int]:
		*p = sender(t, name, opts...)
	case **shmchan.Receiver[int]:
		*p = receiver(t, name, opts...)
	}
	return e
}
