//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/shmkit/shm/chantrace"
)

func traceCommand() *cobra.Command {
	t := tracing{}
	c := &cobra.Command{
		Use:   "trace [NAME]",
		Short: "Show how long ends sleep, and how long they take to run again",
		Long: `Show histograms of how long the ends of channels sleep, and how long they take to
run again once they were woken. It watches the kernel's scheduler (eBPF) and
nothing of the processes. Without a NAME it shows all words that processes share
and sleep on. Ends that spin, or wait and are not woken yet, do not show.

In a terminal it shows what was seen so far, again and again; otherwise once, at
the end. It ends after --for, or when it is interrupted.

It needs Linux 6.4 with BTF, and CAP_BPF and CAP_PERFMON (root has both).`,
		Example: `  shmctl trace ticks
  shmctl trace ticks --for 10s --svg ticks.svg`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			if t.every < 100*time.Millisecond {
				return fmt.Errorf("--interval %v is too short; use 100ms or more", t.every)
			}
			if len(args) == 1 {
				v := open(args[0])
				v.close()
				if v.reg == nil {
					return explain(args[0], v.err)
				}
				t.path = v.path
			}
			return t.run(c)
		},
	}
	f := c.Flags()
	f.DurationVar(&t.span, "for", 0, "end after this time; 0: when interrupted")
	f.DurationVar(&t.every, "interval", time.Second, "time between two looks in a terminal")
	f.StringVar(&t.svg, "svg", "", "write a picture to this `file` at the end")
	f.BoolVar(&t.options.Syscalls, "syscalls", false, "also count waits that returned at once and wakes that woke nobody; slows down every system call of the machine")
	return c
}

// A tracing is one run of trace.
type tracing struct {
	options     chantrace.Options
	span, every time.Duration
	svg         string
	path        string // of the region that is wanted; "" for all

	tracer   *chantrace.Tracer
	resolver chantrace.Resolver
}

func (t *tracing) run(c *cobra.Command) (err error) {
	if err := chantrace.Supported(); err != nil {
		return fmt.Errorf("%w; `shmctl stat NAME --watch` shows parks without it", err)
	}
	var picture *os.File
	if t.svg != "" {
		if picture, err = os.Create(t.svg); err != nil { // before the time is spent
			return err
		}
		defer picture.Close()
	}
	if t.tracer, err = chantrace.Attach(c.Context(), t.options); err != nil {
		return err
	}
	defer t.tracer.Close()
	var end <-chan time.Time
	if t.span > 0 {
		end = time.After(t.span)
	}
	out := c.OutOrStdout()
	f, isFile := out.(*os.File)
	live := isFile && term.IsTerminal(int(f.Fd()))
	ticker := time.NewTicker(t.every)
	defer ticker.Stop()
	for over := false; !over; {
		select {
		case <-c.Context().Done():
			over = true
		case <-end:
			over = true
		case <-ticker.C:
			if !live {
				continue
			}
		}
		words, err := t.look()
		if err != nil {
			return err
		}
		var text bytes.Buffer
		if live {
			text.WriteString("\x1b[H\x1b[2J")
		}
		if err := chantrace.WriteText(&text, words); err != nil {
			return err
		}
		if _, err := out.Write(text.Bytes()); err != nil {
			return err
		}
		if over && picture != nil {
			if err := chantrace.WriteSVG(picture, words); err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "wrote %s\n", t.svg)
		}
	}
	return t.losses(c)
}

// look returns what was seen of the wanted region, the busiest first.
func (t *tracing) look() ([]chantrace.WordStats, error) {
	words, err := t.tracer.Snapshot()
	if err != nil {
		return nil, err
	}
	t.resolver.Resolve(words)
	if t.path != "" {
		words = slices.DeleteFunc(words, func(w chantrace.WordStats) bool { return w.Place.Path != t.path })
	}
	slices.SortStableFunc(words, func(a, b chantrace.WordStats) int {
		switch x, y := a.Waits(), b.Waits(); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	return words, nil
}

// losses says what could not be counted.
func (t *tracing) losses(c *cobra.Command) error {
	l, err := t.tracer.Lost()
	if err != nil {
		return err
	}
	if n := l.Full + l.Memory + l.Missed + l.Contended + l.Recursion; n > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "%d waits could not be counted: %+v\n", n, l)
	}
	return nil
}
