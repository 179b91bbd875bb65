package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// figures are what was measured of one transport.
type figures struct {
	hashed, touched []time.Duration // of each pass
	trips           []time.Duration
}

type report struct {
	from     string
	passes   int
	sent     result
	received result        // through the first transport
	pid      int           // of the process that received it
	alone    time.Duration // SHA-256 of everything without any transport
	figures  []figures     // of each transport
}

func (r *report) print(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Input     %s, in memory before any clock starts\n", r.from)
	r.side(&b, "Sent", r.sent, "")
	r.side(&b, "Received", r.received, fmt.Sprintf(" by process %d", r.pid))
	fmt.Fprintf(&b, "Equal     in %d passes through each of %d transports, every pass to a process of its own\n\n",
		2*r.passes, len(transports))
	r.table(&b)
	fmt.Fprintf(&b, `
x: how much better shmchan does. Messages have %d bytes; a pipe or a socket gets
one a write, or batches of %d. The receiver makes a SHA-256 of all bytes (which
alone, without any transport, runs at %s GB/s), or touches them for a CRC-32C.
Medians of %d passes; up to %s round trips, one reading of the clock included.
`,
		recordSize, batched, number(r.rate(r.alone)), r.passes, commas(len(r.figures[0].trips)))
	_, err := w.Write(b.Bytes())
	return err
}

func (r *report) side(w io.Writer, label string, got result, by string) {
	fmt.Fprintf(w, "%-9s %s files, %s records, %s bytes%s\n          SHA-256 %x\n",
		label, commas(got.Files), commas(got.Records), commas(got.Bytes), by, got.Sum)
}

// table prints a line for each transport, and how much better the first does.
func (r *report) table(w io.Writer) {
	fmt.Fprintf(w, "%-21s%24s%24s%25s\n", "", "stream, "+taskHash, "stream, "+taskTouch, "round trip, µs")
	fmt.Fprintf(w, "%-21s%8s%9s%7s%8s%9s%7s%9s%9s%7s\n", "", "GB/s", "M msg/s", "x", "GB/s", "M msg/s", "x", "p50", "p99", "x")
	first := &r.figures[0]
	for i, t := range transports {
		f := &r.figures[i]
		fmt.Fprintf(w, "%-21s%s%s%s\n", t.name(),
			r.streamCells(first.hashed, f.hashed), r.streamCells(first.touched, f.touched), tripCells(first.trips, f.trips))
	}
}

func (r *report) streamCells(first, took []time.Duration) string {
	t := median(took)
	return fmt.Sprintf("%8s%9s%7s", number(r.rate(t)), number(float64(r.sent.Records)/t.Seconds()/1e6), ratio(t, median(first)))
}

func tripCells(first, trips []time.Duration) string {
	if len(trips) == 0 {
		return ""
	}
	p50, p99 := percentile(trips, 50), percentile(trips, 99)
	return fmt.Sprintf("%9s%9s%7s", micros(p50), micros(p99), ratio(p50, percentile(first, 50)))
}

// rate is in GB/s of the bytes of the files.
func (r *report) rate(d time.Duration) float64 { return float64(r.sent.Bytes) / d.Seconds() / 1e9 }

func micros(d time.Duration) string { return number(float64(d) / float64(time.Microsecond)) }

func median(d []time.Duration) time.Duration { return percentile(d, 50) }

// percentile is the smallest of d that at least p percent do not exceed.
func percentile(d []time.Duration, p int) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[(len(s)*p+99)/100-1]
}

// number shows three digits that count.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func ratio(theirs, ours time.Duration) string { return number(float64(theirs) / float64(ours)) }

// commas writes n with a comma before every third digit from the end.
func commas[N int | uint64](n N) string {
	s := strconv.FormatUint(uint64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
