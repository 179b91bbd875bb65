package chantrace

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"time"
)

// The picture: one row for each word, with its name and counts above two
// histograms side by side. In a column all have the same time axis, so that
// words can be compared by eye; each has its own count axis.
const (
	svgWidth   = 1040
	svgHead    = 64  // title and legend
	svgRow     = 240 // one word
	svgPlotTop = 58  // from the top of the row
	svgPlotH   = 120
	svgPlotW   = 420
	svgLeft    = 72  // of the first plot
	svgSecond  = 588 // left of the second plot
)

// A panel is one of the two histograms of a word.
type panel struct {
	title, colour string
	left          int
	of            func(*WordStats) (*Histogram, time.Duration)
}

var panels = [...]panel{
	{"parked: asleep to woken", "#3b6ea5", svgLeft, func(w *WordStats) (*Histogram, time.Duration) { return &w.Park, w.ParkTime }},
	{"woken to running", "#b5651d", svgSecond, func(w *WordStats) (*Histogram, time.Duration) { return &w.Run, w.RunTime }},
}

// WriteSVG draws the histograms of words as an SVG picture, those with waits
// only, in the order given. It is complete in itself (no fonts, scripts or
// links) and has no date in it, so equal words give equal pictures.
func WriteSVG(w io.Writer, words []WordStats) error {
	var rows []*WordStats
	for i := range words {
		if words[i].Waits() > 0 {
			rows = append(rows, &words[i])
		}
	}
	p := &picture{}
	height := svgHead + svgRow*max(len(rows), 1)
	p.f(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#222">`,
		svgWidth, height, svgWidth, height)
	p.f(`<title>Park and wake-to-run times</title>`)
	p.f(`<rect width="%d" height="%d" fill="#fff"/>`, svgWidth, height)
	p.text(svgLeft, 28, `font-size="17" font-weight="bold"`, "Park and wake-to-run times")
	p.text(svgLeft, 48, `fill="#666"`, "two buckets for each power of two; dashed lines: median and 99th percentile")
	if len(rows) == 0 {
		p.text(svgLeft, svgHead+30, "", "no waits were seen")
	}
	for _, pan := range panels {
		x := axisOf(rows, pan)
		for i, r := range rows {
			p.panel(pan, x, r, svgHead+i*svgRow)
		}
	}
	for i, r := range rows {
		y := svgHead + i*svgRow
		p.text(svgLeft, y+16, `font-size="14" font-weight="bold"`, r.String())
		p.text(svgLeft, y+33, `fill="#444"`, fmt.Sprintf("%d waits: %s; last slept %v, last woken by %v", r.Waits(), r.ends(), r.Waiter, r.Waker))
	}
	p.f(`</svg>`)
	_, err := w.Write(p.b.Bytes())
	return err
}

type picture struct{ b bytes.Buffer }

// f adds one element. Only numbers and constants are formatted with it.
func (p *picture) f(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// text adds a text, whatever is in it. The attributes are constants.
func (p *picture) text(x, y int, attrs, text string) {
	fmt.Fprintf(&p.b, `<text x="%d" y="%d" %s>`, x, y, attrs)
	xml.EscapeText(&p.b, []byte(text)) // a Buffer takes all
	p.b.WriteString("</text>\n")
}

// panel draws one histogram of a row whose top is y.
func (p *picture) panel(pan panel, a axis, w *WordStats, y int) {
	h, sum := pan.of(w)
	top, left := y+svgPlotTop, pan.left
	bottom := top + svgPlotH
	most := uint64(0)
	for _, c := range h {
		most = max(most, c)
	}
	p.text(left, top-4, fmt.Sprintf(`fill="%s"`, pan.colour), pan.title+": "+h.summary(sum))
	scale := scaleFor(most)
	p.countAxis(scale, left, bottom)
	for i := a.first; i <= a.last; i++ {
		if h[i] == 0 {
			continue
		}
		x, next := a.at(float64(i)), a.at(float64(i+1))
		height := math.Max(float64(h[i])/float64(scale)*svgPlotH, 1) // one wait is to be seen
		p.f(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`,
			float64(left)+x+0.5, float64(bottom)-height, next-x-1, height, pan.colour)
	}
	p.timeAxis(a, left, bottom)
	if most == 0 {
		return
	}
	for _, q := range [...]float64{0.5, 0.99} {
		x := float64(left) + a.of(h.Quantile(q))
		p.f(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#222" stroke-dasharray="3 3"/>`, x, top, x, bottom)
	}
}
