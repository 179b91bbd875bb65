// Select watches how late this machine's timers are: a second process measures,
// and the first one serves its samples, a ticker and ctx.Done() in one select.
//
//	go run ./examples/select
//
// A Receiver is no Go channel, but its Ready is: it has a token while there is
// something to receive. So a channel between processes stands in a select
// beside everything else. The loop is [watch].
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
)

// A Sample says how long after its time a timer fired.
type Sample struct{ Late time.Duration }

var (
	count  = flag.Int("n", 3000, "how many samples to take")
	every  = flag.Duration("every", time.Millisecond, "time between samples")
	report = flag.Duration("report", time.Second, "time between reports")
)

// samplerVar is set in the environment of the second process.
const samplerVar = "SHM_SELECT_SAMPLER"

func main() {
	flag.Usage = usage
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	run := watcher
	if os.Getenv(samplerVar) != "" {
		run = sampler
	}
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "select:", err)
		os.Exit(1)
	}
}

// watcher starts the sampler with one end of a channel and watches the other.
func watcher(ctx context.Context) error {
	if *count < 0 || *every <= 0 || *report <= 0 || flag.NArg() > 0 {
		usage()
		return errors.New("-n must not be negative, -every and -report must be positive, and there are no other arguments")
	}
	tx, rx, err := shmchan.Pair[Sample]()
	if err != nil {
		return err
	}
	defer rx.Close() // on the way out of errors; again does nothing
	end, err := tx.File()
	if err != nil {
		return err
	}
	cmd, err := start(ctx, end)
	end.Close() // the second process has a copy
	if err != nil {
		return fmt.Errorf("cannot start the second process: %w", err)
	}
	sum, err := watch(ctx, rx, os.Stdout)
	err = errors.Join(err, rx.Close()) // if the sampler is still sending, it stops
	interrupted := ctx.Err() != nil    // then it was killed, and that is no error
	if status := cmd.Wait(); status != nil && !interrupted {
		err = errors.Join(err, fmt.Errorf("the second process (pid %d) ended with: %w", cmd.Process.Pid, status))
	}
	if err == nil {
		fmt.Println("in all  ", sum)
	}
	return err
}

func start(ctx context.Context, end *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), samplerVar+"=1")
	cmd.ExtraFiles = []*os.File{end} // descriptor 3 over there
	cmd.Stderr = os.Stderr
	return cmd, cmd.Start()
}

// watch is the select loop. It ends when the sender has closed, and also, with
// what there was, when ctx ends.
func watch(ctx context.Context, rx *shmchan.Receiver[Sample], out io.Writer) (all stats, err error) {
	tick := time.NewTicker(*report)
	defer tick.Stop()
	var latest stats
	for {
		select {
		case <-rx.Ready():
			err := drain(rx, func(s Sample) { all.add(s); latest.add(s) })
			if errors.Is(err, io.EOF) {
				return all, nil
			}
			if err != nil {
				return all, err
			}
		case now := <-tick.C:
			fmt.Fprintln(out, now.Format(time.TimeOnly), latest)
			latest = stats{}
		case <-ctx.Done():
			fmt.Fprintln(out, "interrupted")
			return all, nil
		}
	}
}

// drain takes what is there now. One message a token would be right as well.
func drain(rx *shmchan.Receiver[Sample], use func(Sample)) error {
	for range rx.Cap() { // then the ticker and ctx get their turn
		s, err := rx.TryRecv()
		if errors.Is(err, shmchan.ErrEmpty) {
			return nil
		}
		if err != nil {
			return err
		}
		use(s)
	}
	return nil
}

// sampler is the second process.
func sampler(ctx context.Context) (err error) {
	tx, err := shmchan.SenderFromFile[Sample](os.NewFile(3, "samples"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Close()) }()
	due := time.Now()
	for range *count {
		due = due.Add(*every)
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return nil
		}
		if err := tx.Send(ctx, Sample{Late: time.Since(due)}); err != nil {
			return err
		}
	}
	return nil
}

// stats sums samples up.
type stats struct {
	n        int
	sum, max time.Duration
}

func (s *stats) add(x Sample) {
	s.n++
	s.sum += x.Late
	s.max = max(s.max, x.Late)
}

func (s stats) String() string {
	mean := s.sum / time.Duration(max(s.n, 1))
	return fmt.Sprintf("%d samples, late by %v on average and %v at most", s.n, mean, s.max)
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `Select shows how late timers fire, measured by a second process, until it has
taken its samples or is interrupted.

    go run ./examples/select [flags]

`)
	flag.PrintDefaults()
}
