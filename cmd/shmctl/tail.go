//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan"
)

func tailCommand() *cobra.Command {
	t := tailer{}
	c := &cobra.Command{
		Use:   "tail NAME",
		Short: "Show messages as they pass, without taking them",
		Long: `Show messages as they pass, decoded by the type layout in the channel's header.
Nothing is taken: the receiver gets every message.

Tail is a sampler. Nobody waits for it: a message that was overwritten before it
was read, or could have been while it was read, is skipped, and a line says how
many were. On arm64 only messages that the receiver has not taken yet can be
read.

Of a Buf channel it shows how long each message is, where it lies, and its first
bytes, as long as the receiver has not released the block; after that it says so.

It ends when the channel is removed, or when its sender has closed and all was
shown.`,
		Example: `  shmctl tail ticks
  shmctl tail ticks --last 10
  shmctl tail ticks --json | jq .value.Price
  shmctl tail frames --hex --bytes 256`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			if t.hex && t.json {
				return fmt.Errorf("--hex and --json exclude each other; choose one")
			}
			if t.every <= 0 {
				return fmt.Errorf("--interval %v: want more than 0", t.every)
			}
			if t.last < 0 || t.last > 0 && (t.limit > 0 || t.old) {
				return fmt.Errorf("--last %d: want 1 or more, and neither --old nor --count beside it", t.last)
			}
			if t.bytes < 1 || t.bytes > maxBytes {
				return fmt.Errorf("--bytes %d: want 1 to %d", t.bytes, maxBytes)
			}
			v, err := openChannel(args[0])
			if err != nil {
				return err
			}
			defer v.close()
			t.ch, t.out = v.ch, bufio.NewWriter(c.OutOrStdout())
			if v.ch.Info().Classes != nil {
				t.buf = make([]byte, t.bytes)
			}
			if t.last > 0 {
				err = t.newest()
			} else {
				err = t.run(c.Context())
			}
			if ferr := t.out.Flush(); err == nil {
				err = ferr
			}
			return explain(args[0], err)
		},
	}
	f := c.Flags()
	f.BoolVar(&t.hex, "hex", false, "print the bytes in hexadecimal")
	f.BoolVar(&t.json, "json", false, "print an object a line: position, skipped, value")
	f.BoolVar(&t.old, "old", false, "begin with the oldest message that still lies in the channel")
	f.IntVar(&t.bytes, "bytes", 64, "how many bytes of a Buf to show with --hex and --json")
	f.IntVar(&t.last, "last", 0, "show as many of the messages that were sent last as can be read, and end")
	f.IntVarP(&t.limit, "count", "n", 0, "stop after this many messages; 0: never")
	f.DurationVar(&t.every, "interval", time.Millisecond, "how often to look while nothing passes")
	return c
}

// maxBytes is how much of a block can be shown.
const maxBytes = 1 << 20

// A tailer is one tail.
type tailer struct {
	hex, json, old bool
	limit, last    int
	every          time.Duration
	bytes          int // of a Buf

	ch  *shmchan.Observer
	out *bufio.Writer
	buf []byte // for the contents of a Buf; nil in a channel of a type
}

func (t *tailer) run(ctx context.Context) error {
	tail, err := t.ch.Tail(t.old)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(t.every)
	defer ticker.Stop()
	over := false // by the look before: what was sent before that has been shown
	for shown := 0; t.limit == 0 || shown < t.limit; {
		m, ok, err := tail.Next()
		if err != nil {
			return err
		}
		if ok {
			t.print(m)
			shown++
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		if over {
			if n := tail.Skipped(); n > 0 && !t.json {
				t.skipped(n)
			}
			return nil
		}
		if err := t.out.Flush(); err != nil {
			return err
		}
		if over, err = t.over(); err != nil || over {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
	return nil
}

// newest shows the messages that were sent last.
func (t *tailer) newest() error {
	tail, err := t.ch.Tail(true)
	if err != nil {
		return err
	}
	var found []shmchan.Sample
	for looks := t.ch.Info().Cap; looks > 0; looks-- { // a sender at work is not followed
		m, ok, err := tail.Next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		m.Bytes = bytes.Clone(m.Bytes)
		found = append(found, m)
		if len(found) > t.last {
			found = found[1:]
		}
	}
	if len(found) > 0 {
		found[0].Skipped = 0 // what came before was not asked for
	}
	for _, m := range found {
		t.print(m)
	}
	return nil
}

// over tells whether nothing will come any more.
func (t *tailer) over() (bool, error) {
	s, err := t.ch.Stats()
	return s.Retired || s.Sender.Phase == region.Closed, err
}

func (t *tailer) print(m shmchan.Sample) {
	switch {
	case t.json:
		b := fmt.Appendf(nil, `{"position":%d,"skipped":%d,"value":`, m.Position, m.Skipped)
		if t.buf != nil {
			s, err := t.ch.Buf(m.Bytes, t.buf)
			b = bufJSON(b, t.ch, s, err)
		} else {
			b = t.ch.AppendJSON(b, m.Bytes)
		}
		t.out.Write(append(b, '}', '\n'))
		return
	case m.Skipped > 0:
		t.skipped(m.Skipped)
	}
	if t.buf != nil {
		t.printBuf(m)
		return
	}
	if t.hex {
		dump(t.out, fmt.Sprint(m.Position), m.Bytes)
		return
	}
	fmt.Fprintf(t.out, "%d  %s\n", m.Position, t.ch.AppendText(nil, m.Bytes))
}

func (t *tailer) skipped(n uint64) { fmt.Fprintf(t.out, "-- %d skipped\n", n) }

// printBuf shows a message of a Buf channel, and its first bytes if they can
// still be read.
func (t *tailer) printBuf(m shmchan.Sample) {
	s, err := t.ch.Buf(m.Bytes, t.buf)
	fmt.Fprintf(t.out, "%d  %s", m.Position, bufText(t.ch, s, err))
	switch {
	case err != nil:
		fmt.Fprintln(t.out)
	case s.Bytes == nil:
		fmt.Fprintln(t.out, ", released before it could be read")
	case t.hex:
		fmt.Fprintln(t.out)
		dump(t.out, " ", s.Bytes)
	default:
		shown := s.Bytes[:min(len(s.Bytes), lineBytes)]
		fmt.Fprintf(t.out, ": %x", shown)
		if s.Len > len(shown) {
			fmt.Fprint(t.out, "…")
		}
		fmt.Fprintln(t.out)
	}
}

// lineBytes is how many bytes of a block are shown in a line.
const lineBytes = 16

// dump prints bytes as lines of 16, the first of them behind head.
func dump(w io.Writer, head string, b []byte) {
	for i, line := range strings.Split(strings.TrimRight(hex.Dump(b), "\n"), "\n") {
		if i > 0 {
			head = strings.Repeat(" ", len(head))
		}
		fmt.Fprintf(w, "%s  %s\n", head, line)
	}
}
