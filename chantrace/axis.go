package chantrace

import (
	"fmt"
	"math"
	"time"
)

// An axis is the buckets that a column shows.
type axis struct{ first, last int }

// axisOf covers all histograms of a column, a power of two at least.
func axisOf(rows []*WordStats, pan panel) axis {
	a := axis{Buckets, -1}
	for _, r := range rows {
		h, _ := pan.of(r)
		if first, last := h.span(); last >= 0 {
			a.first, a.last = min(a.first, first), max(a.last, last)
		}
	}
	if a.last < 0 {
		return axis{20, 40}
	}
	return axis{max(a.first-1, 0), min(a.last+1, Buckets-1)}
}

// at is where a bucket starts, in pixels from the left of the plot.
func (a axis) at(bucket float64) float64 {
	return svgPlotW * (bucket - float64(a.first)) / float64(a.last+1-a.first)
}

// of is where a time lies.
func (a axis) of(d time.Duration) float64 {
	b := 0
	for b+1 < Buckets && BucketStart(b+1) <= d {
		b++
	}
	share := 0.0
	if b+1 < Buckets {
		share = float64(d-BucketStart(b)) / float64(BucketStart(b+1)-BucketStart(b))
	}
	return a.at(float64(b) + share)
}

// ticks returns the round times on the axis: 1, 2 and 5 of each power of ten,
// or only 1 where that would be too many.
func (a axis) ticks() []time.Duration {
	from, to := BucketStart(a.first), BucketStart(a.last+1)
	for _, steps := range [...][]int64{{1, 2, 5}, {1}} {
		var ticks []time.Duration
		for unit := int64(1); unit <= int64(to); unit *= 10 {
			for _, s := range steps {
				if d := time.Duration(s * unit); d >= from && d <= to {
					ticks = append(ticks, d)
				}
			}
		}
		if len(ticks) <= 9 || len(steps) == 1 {
			return ticks
		}
	}
	return nil
}

// scaleFor returns the top of an axis for counts up to n: a number whose
// quarters are whole and short.
func scaleFor(n uint64) uint64 {
	for unit := uint64(4); unit < math.MaxUint64/50; unit *= 10 {
		for _, s := range [...]uint64{1, 2, 5} {
			if s*unit >= n {
				return s * unit
			}
		}
	}
	return math.MaxUint64 / 4 * 4
}

// countAxis draws the axis of counts left of a plot, with lines through it.
func (p *picture) countAxis(scale uint64, left, bottom int) {
	for i := range 5 {
		y := bottom - i*svgPlotH/4
		colour := "#e4e4e4"
		if i == 0 {
			colour = "#222"
		}
		p.f(`<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s"/>`, left, y, left+svgPlotW, y, colour)
		p.text(left-6, y+4, `text-anchor="end" fill="#666"`, fmt.Sprint(scale/4*uint64(i)))
	}
	middle := bottom - svgPlotH/2
	p.text(left-52, middle, fmt.Sprintf(`text-anchor="middle" fill="#666" transform="rotate(-90 %d %d)"`, left-52, middle), "waits")
}

// timeAxis draws the axis of times below a plot.
func (p *picture) timeAxis(a axis, left, bottom int) {
	for _, d := range a.ticks() {
		x := left + int(a.of(d))
		p.f(`<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#222"/>`, x, bottom, x, bottom+5)
		p.text(x, bottom+18, `text-anchor="middle" fill="#666"`, round(d))
	}
	p.text(left+svgPlotW/2, bottom+36, `text-anchor="middle" fill="#666"`, "time, logarithmic")
}

// round writes a time of one digit that counts.
func round(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%d s", d/time.Second)
	case d >= time.Millisecond:
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	case d >= time.Microsecond:
		return fmt.Sprintf("%d µs", d/time.Microsecond)
	}
	return fmt.Sprintf("%d ns", int64(d))
}
