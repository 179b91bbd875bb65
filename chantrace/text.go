package chantrace

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const barWidth = 40 // columns

// WriteText writes words as text for people, those with waits only: for each
// its name, how its waits ended, percentiles, and both histograms.
func WriteText(w io.Writer, words []WordStats) error {
	var b strings.Builder
	for i := range words {
		if words[i].Waits() > 0 {
			words[i].writeText(&b)
		}
	}
	if b.Len() == 0 {
		b.WriteString("no waits were seen\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (w *WordStats) writeText(b *strings.Builder) {
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "%v: last slept %v, last woken by %v\n", w, w.Waiter, w.Waker)
	fmt.Fprintf(b, "  %d waits: %s\n", w.Waits(), w.ends())
	if s := w.calls(); s != "" {
		fmt.Fprintf(b, "  %s\n", s)
	}
	for _, h := range []struct {
		name string
		h    *Histogram
		sum  time.Duration
	}{{"parked", &w.Park, w.ParkTime}, {"woken to running", &w.Run, w.RunTime}} {
		if h.h.Count() == 0 {
			continue
		}
		fmt.Fprintf(b, "  %s: %s\n", h.name, h.h.summary(h.sum))
		for _, l := range h.h.Bars(barWidth) {
			fmt.Fprintf(b, "  %s\n", l)
		}
	}
}

// summary is mean and percentiles in a line.
func (h *Histogram) summary(sum time.Duration) string {
	n := h.Count()
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("mean %s, p50 %s, p90 %s, p99 %s",
		short(sum/time.Duration(n)), short(h.Quantile(0.5)), short(h.Quantile(0.9)), short(h.Quantile(0.99)))
}

// ends tells how the waits ended.
func (w *WordStats) ends() string {
	return counts([]counted{
		{w.Woken, "woken"}, {w.TimedOut, "timed out"}, {w.Signalled, "by a signal"}, {w.Other, "otherwise"},
	})
}

// calls tells what only system calls tell, if it was asked for.
func (w *WordStats) calls() string {
	return counts([]counted{
		{w.Refused, "waits that returned at once"}, {w.Wakes, "wakes"}, {w.Wasted, "of them for nobody"},
	})
}

type counted struct {
	n    uint64
	what string
}

// counts lists those that are not 0.
func counts(all []counted) string {
	var parts []string
	for _, c := range all {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return strings.Join(parts, ", ")
}
