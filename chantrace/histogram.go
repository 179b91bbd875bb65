package chantrace

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Buckets is the number of buckets of a Histogram.
const Buckets = 80

// A Histogram counts times, in two buckets for each power of two nanoseconds.
// Bucket i has those of at least [BucketStart](i) and less than
// BucketStart(i+1). The last one, from about 13 minutes on, has no end.
type Histogram [Buckets]uint64

// BucketStart returns the shortest time that belongs into bucket i.
func BucketStart(i int) time.Duration {
	if i < 2 {
		return time.Duration(max(i, 0))
	}
	return time.Duration(2+i&1) << (i/2 - 1)
}

// Count returns how many times are in h.
func (h *Histogram) Count() uint64 {
	var n uint64
	for _, c := range h {
		n += c
	}
	return n
}

// Quantile returns the time below which a share q of all lie (0.5 is the
// median), as if the times in a bucket were evenly spread. That is off by less
// than half. It is 0 if h is empty, and not more than the start of the last
// bucket.
func (h *Histogram) Quantile(q float64) time.Duration {
	n := h.Count()
	if n == 0 {
		return 0
	}
	rank := min(max(q, 0), 1) * float64(n)
	var below float64
	for i, c := range h {
		if c > 0 && below+float64(c) >= rank {
			start := BucketStart(i)
			if i == Buckets-1 {
				return start
			}
			width := float64(BucketStart(i+1) - start)
			return start + time.Duration(width*(rank-below)/float64(c))
		}
		below += float64(c)
	}
	return BucketStart(Buckets - 1) // not reached but by rounding
}

// span returns the first and the last bucket that has something; 0, -1 if none.
func (h *Histogram) span() (first, last int) {
	first, last = 0, -1
	for i, c := range h {
		if c > 0 {
			if last < 0 {
				first = i
			}
			last = i
		}
	}
	return first, last
}

// Bars draws h as text, one line a bucket from the first that has something to
// the last: the start of the bucket, a bar, the longest of which is width
// columns wide, and the count. It is empty if h is.
func (h *Histogram) Bars(width int) []string {
	first, last := h.span()
	var most uint64
	for _, c := range h {
		most = max(most, c)
	}
	var lines []string
	for i := first; i <= last; i++ {
		n := int(math.Ceil(float64(h[i]) / float64(most) * float64(max(width, 1))))
		lines = append(lines, fmt.Sprintf("%9s |%-*s %d", short(BucketStart(i)), max(width, 1), strings.Repeat("#", n), h[i]))
	}
	return lines
}

// short writes a time with two or three digits.
func short(d time.Duration) string {
	for _, u := range [...]struct {
		size time.Duration
		name string
	}{{time.Minute, "min"}, {time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "µs"}} {
		if d >= u.size {
			v := float64(d) / float64(u.size)
			if v < 9.95 {
				return fmt.Sprintf("%.1f %s", v, u.name)
			}
			return fmt.Sprintf("%.0f %s", v, u.name)
		}
	}
	return fmt.Sprintf("%d ns", int64(d))
}
