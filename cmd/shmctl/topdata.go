//go:build linux

package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// A board is what top shows: the channels, and what they did between the last
// two looks. It keeps its observers, so that no lock file is opened again and
// again.
type board struct {
	rows map[string]*row // by path
	list []*row          // sorted
	sort int             // in columns
	desc bool
	err  error // of the last look at the directory
}

// A row is one region.
type row struct {
	v       *view
	last    shmchan.Stats // of a channel
	pool    slabpool.Look // of a pool
	rate    rate
	history []float64 // messages received a second, the latest last
	err     error
	seen    bool // in the last look at the directory
}

const historyLen = 120

// columns are what a board can be sorted by.
var columns = []struct {
	name string
	less func(a, b *row) int
}{
	{"name", func(a, b *row) int { return strings.Compare(b.v.name(), a.v.name()) }}, // descending means a to z
	{"fill", func(a, b *row) int { return cmp.Compare(a.fill(), b.fill()) }},
	{"sent", func(a, b *row) int { return cmp.Compare(a.rate.Sent, b.rate.Sent) }},
	{"received", func(a, b *row) int { return cmp.Compare(a.rate.Received, b.rate.Received) }},
	{"parks", func(a, b *row) int { return cmp.Compare(a.parks(), b.parks()) }},
}

// fill is in hundredths.
func (r *row) fill() int {
	if r.v.pool != nil {
		return r.part()
	}
	return r.rate.Percent
}

// part is how much of the bytes of a pool is in use, in hundredths.
func (r *row) part() int {
	_, _, part := inUse(r.pool.Classes)
	return part
}

func (r *row) parks() float64 { return r.rate.Sender.Parks + r.rate.Receiver.Parks }

func newBoard() *board { return &board{rows: map[string]*row{}, sort: 2, desc: true} }

// look looks at everything once.
func (b *board) look() {
	paths, _, err := region.List("")
	b.err = err
	for _, r := range b.rows {
		r.seen = false
	}
	for _, p := range paths {
		r := b.rows[p]
		if r != nil && r.over() {
			r.v.close()
			r = nil
		}
		if r == nil {
			r = &row{v: open(p)}
			if r.v.ch != nil {
				r.last, r.err = r.v.ch.Stats()
			}
			b.rows[p] = r
		}
		r.seen = true
		r.look()
	}
	for p, r := range b.rows {
		if !r.seen {
			r.v.close()
			delete(b.rows, p)
		}
	}
	b.arrange()
}

// over tells whether the name has to be opened anew: it leads elsewhere, or
// what it led to could not be read.
func (r *row) over() bool { return r.v.reg == nil || r.err != nil || r.last.Retired }

// look looks at one channel.
func (r *row) look() {
	if r.v.pool != nil {
		r.pool, r.err = r.v.pool.Look()
		r.last.Retired = r.pool.Retired
		return
	}
	if r.v.ch == nil {
		if r.v.reg != nil {
			r.last.Retired, r.err = r.v.reg.Retired()
		}
		return
	}
	s, err := r.v.ch.Stats()
	if r.err = err; err != nil {
		return
	}
	if s.Time.Sub(r.last.Time) > 0 {
		r.rate = between(r.last, s, r.v.ch.Info().Cap)
	}
	s.High = max(s.High, r.last.High)
	r.last = s
	r.history = append(r.history, r.rate.Received)
	if extra := len(r.history) - historyLen; extra > 0 {
		r.history = slices.Delete(r.history, 0, extra)
	}
}

// arrange sorts the rows.
func (b *board) arrange() {
	b.list = b.list[:0]
	for _, r := range b.rows {
		b.list = append(b.list, r)
	}
	slices.SortFunc(b.list, func(x, y *row) int {
		c := columns[b.sort].less(x, y)
		if b.desc {
			c = -c
		}
		return cmp.Or(c, strings.Compare(x.v.path, y.v.path))
	})
}

func (b *board) close() {
	for _, r := range b.rows {
		r.v.close()
	}
}

// totals sums what flows.
func (b *board) totals() (sent, received float64) {
	for _, r := range b.list {
		sent, received = sent+r.rate.Sent, received+r.rate.Received
	}
	return sent, received
}

// title is the first line of the table.
func title(width int) string {
	return line(width, "NAME", "FILL", "SENT/s", "RECV/s", "HISTORY", "SENDER", "RECEIVER")
}

// text is a row as a line of the table.
func (r *row) text(width int) string {
	name := printable(r.v.name())
	switch {
	case r.v.pool != nil && r.err == nil:
		used, blocks, part := inUse(r.pool.Classes)
		who, _ := owners(r.pool)
		fill := fmt.Sprintf("%s%4d%%", bar(part, 100, fillWidth-5), part)
		return clip(fmt.Sprintf("%-*s %-*s pool, %d of %d blocks, %s", nameWidth(width), clip(name, nameWidth(width)), fillWidth, fill, used, blocks, who), width)
	case r.v.ch == nil && r.err == nil:
		return clip(fmt.Sprintf("%-*s %s", nameWidth(width), clip(name, nameWidth(width)), r.v.kind()), width)
	case r.err != nil:
		return clip(fmt.Sprintf("%-*s %v", nameWidth(width), clip(name, nameWidth(width)), r.err), width)
	}
	fill := fmt.Sprintf("%s%4d%%", bar(r.last.Len, r.v.ch.Info().Cap, fillWidth-5), r.rate.Percent)
	return line(width, name, fill, count(r.rate.Sent), count(r.rate.Received), sparkline(r.history, historyWidth(width)), brief(r.last.Sender.Endpoint, r.last.Sender.Sleeping), brief(r.last.Receiver.Endpoint, r.last.Receiver.Sleeping))
}

// The widths of the columns. In 80 characters: 14 of name, 14 of history; what
// is beyond goes to both.
const (
	fillWidth = 14
	rateWidth = 7
	endWidth  = 9
	restWidth = fillWidth + 2*rateWidth + 2*endWidth + 6 // with the blanks between
)

func nameWidth(width int) int { return max((width-restWidth)/2, 8) }

func historyWidth(width int) int { return max(width-restWidth-nameWidth(width), 4) }

func line(width int, name, fill, sent, received, history, sender, receiver string) string {
	return clip(fmt.Sprintf("%-*s %-*s %*s %*s %-*s %-*s %-*s",
		nameWidth(width), clip(name, nameWidth(width)), fillWidth, fill, rateWidth, sent, rateWidth, received,
		historyWidth(width), history, endWidth, clip(sender, endWidth), endWidth, clip(receiver, endWidth)), width)
}

// bar is n of all as a bar of so many characters.
func bar(n, all, width int) string {
	const eighths = " ▏▎▍▌▋▊▉█"
	steps := []rune(eighths)
	full := 0
	if all > 0 {
		full = int(int64(n) * int64(8*width) / int64(all))
	}
	if n > 0 && full == 0 {
		full = 1
	}
	b := make([]rune, width)
	for i := range b {
		b[i] = steps[min(max(full-8*i, 0), 8)]
	}
	return string(b)
}

// sparkline draws the last values, the highest of them at full height.
func sparkline(values []float64, width int) string {
	steps := []rune("▁▂▃▄▅▆▇█")
	values = values[max(len(values)-width, 0):]
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	out := []rune(strings.Repeat(" ", width-len(values)))
	for _, v := range values {
		i := 0
		if top > 0 {
			i = int(v / top * float64(len(steps)-1))
		}
		out = append(out, steps[min(max(i, 0), len(steps)-1)])
	}
	return string(out)
}

// since is a duration in whole milliseconds, for the head of the screen.
func since(d time.Duration) string { return d.Round(time.Millisecond).String() }
