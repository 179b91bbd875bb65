// Chan is the smallest program for two processes: one sends, one receives, and
// the name of the channel is all that they share. Read send.go and recv.go.
//
//	go run ./examples/chan         both sides; the receiver starts the sender
//
//	go run ./examples/chan recv    in one terminal, and
//	go run ./examples/chan send    in another, in either order
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
)

// A Quote is the message. It has no pointers, so it can lie in shared memory.
type Quote struct {
	ID    uint64
	Cents int64
}

var (
	name  = flag.String("name", "shm-example-chan", "`NAME` of the channel: a file in /dev/shm or $SHMCHAN_DIR")
	count = flag.Int("n", 1_000_000, "how many quotes to send")
)

func main() {
	flag.Usage = usage
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chan:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 0:
		return both(ctx)
	case len(args) == 1 && args[0] == "send":
		return send(ctx, *name, *count)
	case len(args) == 1 && args[0] == "recv":
		return recv(ctx, *name)
	}
	usage()
	return fmt.Errorf("unexpected arguments %q: send, recv or nothing, after the flags", args)
}

// both receives from a second process of this program. The name is its own,
// so that two runs do not meet.
func both(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	name := *name + "-" + strconv.Itoa(os.Getpid())
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sender := exec.CommandContext(ctx, self, "-name", name, "-n", strconv.Itoa(*count), "send")
	sender.Stdout, sender.Stderr = os.Stdout, os.Stderr
	if err := sender.Start(); err != nil {
		return fmt.Errorf("cannot start the sender: %w", err)
	}
	// A sender that never opens the channel is to the receiver one that has not
	// come yet. Only who started it knows better.
	ended := make(chan error, 1)
	go func() {
		err := sender.Wait()
		if err != nil {
			err = fmt.Errorf("the sender ended with: %w", err)
			cancel(err)
		}
		ended <- err
	}()
	if err := recv(ctx, name); err != nil {
		cancel(err)
		<-ended
		return err
	}
	return <-ended
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `Chan sends quotes from one process to another through a named channel.

    go run ./examples/chan [flags]         both sides
    go run ./examples/chan [flags] recv    one side in one terminal, and
    go run ./examples/chan [flags] send    the other in another, in either order

`)
	flag.PrintDefaults()
}
