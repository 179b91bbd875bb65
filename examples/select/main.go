// Select merges logs: lines from any number of producer processes and from
// standard input, with a report now and then.
//
//	go run ./examples/select -producers 3 -n 20
//	echo hello | go run ./examples/select -producers 100 -n 5
//
// It shows both ways to wait for several things. A [shmchan.Selector] waits for
// all producers at once, however many ([merge]). A plain select waits for that,
// standard input, a ticker and ctx.Done(), and for the producer of alarms through
// its Ready channel ([multiplex]).
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// A Line is a line of a log. Text has no pointer, so it can travel.
type Line struct {
	Time int64 // nanoseconds since 1970
	Len  int32
	Text [116]byte
}

func newLine(s string) (l Line) {
	l.Time = time.Now().UnixNano()
	l.Len = int32(copy(l.Text[:], s))
	return l
}

// String bounds what a producer says: it is another program.
func (l *Line) String() string {
	n := max(0, min(int(l.Len), len(l.Text)))
	return fmt.Sprintf("%s %q", time.Unix(0, l.Time).Format("15:04:05.000"), l.Text[:n])
}

var (
	producers = flag.Int("producers", 3, "how many processes produce lines")
	count     = flag.Int("n", 20, "how many lines each of them produces")
	every     = flag.Duration("every", 10*time.Millisecond, "mean time between the lines of one")
	report    = flag.Duration("report", time.Second, "time between reports")
)

func main() {
	flag.Usage = usage
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	run := parent
	if os.Getenv(producerVar) != "" {
		run = produce
	}
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "select:", err)
		os.Exit(1)
	}
}

// An entry is what merge found: a line of a producer, or its end.
type entry struct {
	producer int
	line     Line
	err      error // io.EOF: it has closed
}

// merge takes lines from all producers until each has ended or ctx has, which
// closes out.
func merge(ctx context.Context, rxs []*shmchan.Receiver[Line], out chan<- entry) {
	defer close(out)
	cases := make([]shmchan.Case, len(rxs))
	for i, rx := range rxs {
		cases[i] = rx
	}
	sel := shmchan.NewSelector(cases...)
	for left := len(rxs); left > 0; {
		i, err := sel.Select(ctx)
		if err != nil {
			return
		}
		e := entry{producer: i}
		e.line, e.err = rxs[i].TryRecv()
		if errors.Is(e.err, shmchan.ErrEmpty) {
			continue
		}
		if e.err != nil { // closed, or died: nobody comes in its place
			sel.Set(i, nil)
			left--
		}
		select {
		case out <- e:
		case <-ctx.Done():
			return
		}
	}
}

// A tally is what the reports are about.
type tally struct{ lines, typed, alarms, died int }

func (t tally) String() string {
	return fmt.Sprintf("%d lines from producers, %d typed, %d alarms, %d producers died", t.lines, t.typed, t.alarms, t.died)
}

// multiplex writes what comes from everywhere to out. It ends when all producers
// have, and also, with what there was, when ctx ends.
func multiplex(ctx context.Context, rxs []*shmchan.Receiver[Line], alarms *shmchan.Receiver[Line], in io.Reader, out io.Writer) (all tally, err error) {
	ctx, cancel := context.WithCancel(ctx)
	merged := make(chan entry, 64)
	go merge(ctx, rxs, merged)
	defer func() { // nobody touches the receivers when multiplex has returned
		cancel()
		for range merged {
		}
	}()
	typed := lines(ctx, in)
	tick := time.NewTicker(*report)
	defer tick.Stop()
	alarm, logs := alarms.Ready(), (<-chan entry)(merged)
	for logs != nil || alarm != nil {
		select {
		case e, ok := <-logs:
			switch {
			case !ok:
				logs = nil // a nil channel is never ready
			case e.err == nil:
				all.lines++
				fmt.Fprintf(out, "%s producer %d\n", &e.line, e.producer)
			case errors.Is(e.err, shmchan.ErrPeerDied):
				all.died++
				fmt.Fprintf(out, "producer %d died\n", e.producer)
			case e.err != io.EOF:
				return all, e.err
			}
		case <-alarm:
			l, err := alarms.TryRecv()
			switch {
			case err == nil:
				all.alarms++
				fmt.Fprintf(out, "%s alarm\n", &l)
			case errors.Is(err, shmchan.ErrEmpty): // tokens may be spurious
			default: // closed, or died
				alarm = nil
			}
		case s, ok := <-typed:
			if !ok {
				typed = nil
				break
			}
			all.typed++
			fmt.Fprintf(out, "%s %q standard input\n", time.Now().Format("15:04:05.000"), s)
		case <-tick.C:
			fmt.Fprintln(out, "so far:", all)
		case <-ctx.Done():
			fmt.Fprintln(out, "interrupted")
			return all, nil
		}
	}
	return all, nil
}

// lines reads a file that cannot be waited for in any other way.
func lines(ctx context.Context, in io.Reader) <-chan string {
	c := make(chan string)
	go func() {
		defer close(c)
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case c <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return c
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `Select merges the lines of many processes and of standard input, until all
processes have ended or it is interrupted.

    go run ./examples/select [flags]

`)
	flag.PrintDefaults()
}
