// Upgrade replaces a sender while its receiver runs on. The new process has the
// same message type: it opens the same name, and goes on where the old one left,
// whether that one left in good order or was killed. No message is lost, doubled
// or out of order, and the receiver does nothing for it.
//
//	go run ./examples/upgrade              the whole story in one go
//
// A new message type cannot share the old channel. Read v2.go for that: the old
// sender closes, the receiver drains, and both go on under another name.
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
	"strconv"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// A Tick is the message of version 1.
type Tick struct {
	ID   uint64
	Sent uint32 // version of the program that sent it
}

var (
	name  = flag.String("name", "shm-example-upgrade", "`NAME` of the channel")
	each  = flag.Uint64("n", 20_000, "how many ticks each sender sends")
	build = flag.Uint("build", 1, "version of the program, for people")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "upgrade:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 0:
		return story(ctx)
	case len(args) == 3 && args[0] == "send":
		from, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return err
		}
		return send(ctx, *name, from, args[2])
	case len(args) == 2 && args[0] == "send2":
		from, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return err
		}
		return send2(ctx, *name, from)
	}
	return fmt.Errorf("unexpected arguments %q: nothing, or what the program tells itself", args)
}

// send sends ticks from an ID on. How it ends is how the old version goes: detach
// leaves the channel to a successor, close ends it, and killed never ends.
func send(ctx context.Context, name string, from uint64, end string) error {
	tx, err := shmchan.OpenSender[Tick](name)
	if err != nil {
		return err
	}
	for i := from; end == "killed" || i < from+*each; i++ {
		if err := tx.Send(ctx, Tick{ID: i, Sent: uint32(*build)}); err != nil {
			return errors.Join(err, tx.Close())
		}
	}
	if end == "detach" {
		return tx.Detach()
	}
	return tx.Close()
}

// story receives while the senders come and go.
func story(ctx context.Context) error {
	name := *name + "-" + strconv.Itoa(os.Getpid())
	// A sender that is killed is waited for like one that has not come yet. Without
	// the option the receiver is told (ErrPeerDied) and may just call Recv again.
	rx, err := shmchan.OpenReceiver[Tick](name, shmchan.WithAwaitSuccessor())
	if err != nil {
		return err
	}
	defer rx.Close()
	next := uint64(0)

	// Build 1 leaves in good order.
	old, err := start(ctx, name, 1, "send", "0", "detach")
	if err != nil {
		return err
	}
	if next, err = take(ctx, rx, next, *each); err != nil {
		return err
	}
	if err := old.Wait(); err != nil {
		return err
	}
	fmt.Printf("build 1 sent %d ticks and left the channel to its successor\n", next)

	// Build 2 is killed at work. What it had published is received, and nothing of
	// what it had not.
	old, err = start(ctx, name, 2, "send", fmt.Sprint(next), "killed")
	if err != nil {
		return err
	}
	if next, err = take(ctx, rx, next, *each); err != nil {
		return err
	}
	if err := old.Process.Kill(); err != nil {
		return err
	}
	old.Wait()
	before := next
	for {
		t, err := rx.TryRecv()
		if errors.Is(err, shmchan.ErrEmpty) {
			break
		}
		if err == nil && t.ID != next {
			err = fmt.Errorf("got tick %d, want %d", t.ID, next)
		}
		if err != nil {
			return err
		}
		next++
	}
	fmt.Printf("build 2 was killed after tick %d; the last %d were still in the channel\n", next-1, next-before)

	// Build 3 goes on, and closes.
	old, err = start(ctx, name, 3, "send", fmt.Sprint(next), "close")
	if err != nil {
		return err
	}
	if next, err = take(ctx, rx, next, *each); err != nil {
		return err
	}
	if _, err := rx.Recv(ctx); err != io.EOF {
		return fmt.Errorf("after the last tick: %w, want the end", err)
	}
	if err := errors.Join(old.Wait(), rx.Close()); err != nil {
		return err
	}
	fmt.Printf("build 3 closed after tick %d: %d ticks, no gap, none twice\n", next-1, next)
	return switched(ctx, name, next)
}

// take receives n ticks, which must be the next ones.
func take(ctx context.Context, rx *shmchan.Receiver[Tick], next, n uint64) (uint64, error) {
	for end := next + n; next < end; next++ {
		t, err := rx.Recv(ctx)
		if err == nil && t.ID != next {
			err = fmt.Errorf("got tick %d, want %d", t.ID, next)
		}
		if err != nil {
			return next, err
		}
	}
	return next, nil
}

// start runs this program as a sender of some build.
func start(ctx context.Context, name string, build int, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	flags := []string{"-name", name, "-n", fmt.Sprint(*each), "-build", strconv.Itoa(build)}
	cmd := exec.CommandContext(ctx, self, append(flags, args...)...)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	return cmd, cmd.Start()
}
