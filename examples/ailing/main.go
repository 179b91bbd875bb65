// Ailing makes channels with something wrong, to look at with shmctl:
//
//	go run ./examples/ailing slow      # a receiver that is too slow
//	go run ./examples/ailing dead      # a sender that dies in the middle
//	go run ./examples/ailing thrash    # a park and a wake for every message
//	go run ./examples/ailing well      # nothing wrong
//
// Each runs until it is interrupted; -for ends it by itself. docs/operations.md
// says what to see.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// A Tick is what goes through the channel.
type Tick struct {
	Seq    uint64
	Symbol [8]byte
	Price  float64
}

func main() {
	name := flag.String("name", "ticks", "of the channel")
	span := flag.Duration("for", 0, "end after this time; 0: when interrupted")
	role := flag.String("role", "", "for the child: send or recv")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *span > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *span)
		defer cancel()
	}
	how := flag.Arg(0)
	var err error
	switch {
	case ails[how] == nil:
		err = fmt.Errorf("want one of slow, dead, thrash, well, not %q", how)
	case *role == "send":
		err = send(ctx, *name, ails[how])
	case *role == "recv":
		err = receive(ctx, *name, ails[how])
	default:
		err = both(ctx, *name, how)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "ailing:", err)
		os.Exit(1)
	}
}

// An ail is what is wrong.
type ail struct {
	policy waiter.Policy
	sent   func(n uint64) // after each message
	took   func(n uint64)
}

var ails = map[string]*ail{
	"well": {sent: func(n uint64) { pauseEach(n, 100) }, took: func(uint64) {}},
	"slow": {sent: func(uint64) {}, took: func(n uint64) { pauseEach(n, 20) }},
	"dead": {sent: func(n uint64) {
		pauseEach(n, 100)
		if n == 50_000 {
			self, _ := os.FindProcess(os.Getpid())
			self.Kill()
		}
	}, took: func(uint64) {}},
	"thrash": {policy: waiter.Park, sent: func(uint64) { pause(20 * time.Microsecond) }, took: func(uint64) {}},
}

// pauseEach sleeps for a millisecond after every so many messages.
func pauseEach(n, every uint64) {
	if n%every == 0 {
		time.Sleep(time.Millisecond)
	}
}

// pause keeps the CPU busy, as work between two messages does.
func pause(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

func send(ctx context.Context, name string, a *ail) error {
	tx, err := shmchan.OpenSender[Tick](name, shmchan.WithWait(a.policy))
	if err != nil {
		return err
	}
	defer tx.Close()
	for n := uint64(1); ctx.Err() == nil; n++ {
		if err := tx.Send(ctx, Tick{Seq: n, Symbol: [8]byte{'S', 'H', 'M'}, Price: float64(n%1000) / 4}); err != nil {
			return err
		}
		a.sent(n)
	}
	return nil
}

func receive(ctx context.Context, name string, a *ail) error {
	rx, err := shmchan.OpenReceiver[Tick](name, shmchan.WithWait(a.policy))
	if err != nil {
		return err
	}
	defer rx.Close()
	for n := uint64(1); ; n++ {
		_, err := rx.Recv(ctx)
		switch {
		case errors.Is(err, shmchan.ErrPeerDied):
			fmt.Println(err)
			continue // waits for a successor
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		a.took(n)
	}
}

// both runs two children.
func both(ctx context.Context, name, how string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var children []*exec.Cmd
	for _, role := range []string{"recv", "send"} {
		c := exec.CommandContext(ctx, self, "-name", name, "-role", role, how)
		c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
		c.WaitDelay = 5 * time.Second
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			return err
		}
		fmt.Printf("%s is process %d\n", role, c.Process.Pid)
		children = append(children, c)
	}
	for _, c := range children {
		c.Wait() // the dead one is no news
	}
	return nil
}
