// Quickstart streams every file of the installed Go source tree through shared
// memory into a second process, which hashes what arrives, and checks that both
// sides saw the same. Then it does the same job through os.Pipe and through a
// Unix socket, and compares.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -in DIR|FILE|-
//
// What to read first:
//
//   - [shared] in shared.go: a [shmchan.Pair], one end handed to the second
//     process through [exec.Cmd.ExtraFiles].
//   - [send] in record.go and [receive] beside it: the two loops, each working
//     in place, in the slots of the channel.
//   - [start] in parent.go: the second process, and the typed channel on which
//     its result comes back.
//   - kernel.go: what the same takes with a pipe or a socket.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Limits of a measurement, so that a slow machine ends in good time too.
const (
	streamBudget = 8 * time.Second // after it, no further pass begins
	pingBudget   = 2 * time.Second // for the round trips of one transport
)

type options struct {
	in     string
	passes int
	pings  int
}

func main() {
	run := parent
	if spec, ok := os.LookupEnv(jobVar); ok {
		run = func([]string) error { return child(spec) }
	}
	err := run(os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// parent is the process that the user started.
func parent(args []string) error {
	opts, err := parse(args, os.Stderr)
	if err != nil {
		return err
	}
	bar := newProgress(os.Stderr)
	defer bar.stop()
	tree, err := load(opts.in, bar) // before the signals: an interrupt ends it at once
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends even what ignores the first

	rep, err := measure(ctx, tree, opts, bar)
	bar.stop()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	return rep.print(os.Stdout)
}

func parse(args []string, out io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&o.in, "in", "", "what to send: `DIR|FILE|-`, - for standard input (default: the src of `go env GOROOT`)")
	f.IntVar(&o.passes, "passes", 5, "stream everything this many times a transport; the median counts")
	f.IntVar(&o.pings, "pings", 300_000, "at most this many round trips a transport")
	f.Usage = func() {
		fmt.Fprint(out, `Quickstart sends files to a second process through shared memory, a pipe and a
Unix socket, checks that they arrived whole, and compares the three.

    go run ./examples/quickstart [flags]

`)
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q: name the input with -in", f.Arg(0))
	case o.passes < 1:
		return o, fmt.Errorf("-passes %d: at least 1 is needed", o.passes)
	case o.pings < 1:
		return o, fmt.Errorf("-pings %d: at least 1 is needed", o.pings)
	}
	return o, nil
}
