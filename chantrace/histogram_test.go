package chantrace

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// bucketOf is what the observer does in C, the obvious way.
func bucketOf(d time.Duration) int {
	for i := Buckets - 1; i >= 0; i-- {
		if d >= BucketStart(i) {
			return i
		}
	}
	return 0
}

func TestBucketStart(t *testing.T) {
	want := []time.Duration{0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32}
	for i, w := range want {
		if got := BucketStart(i); got != w {
			t.Errorf("bucket %d starts at %d, want %d", i, got, w)
		}
	}
	for i := 1; i < Buckets; i++ {
		if BucketStart(i) <= BucketStart(i-1) {
			t.Errorf("bucket %d starts at %v, the one before at %v", i, BucketStart(i), BucketStart(i-1))
		}
	}
	if got := BucketStart(Buckets - 1); got < 13*time.Minute || got > 14*time.Minute {
		t.Errorf("the last bucket starts at %v, the documentation says about 13 minutes", got)
	}
	if BucketStart(-5) != 0 {
		t.Error("a bucket that does not exist")
	}
}

func TestQuantile(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	for range 10000 {
		d := time.Duration(1000 * rng.ExpFloat64() * float64(time.Microsecond) / 10)
		all = append(all, d)
		h[bucketOf(d)]++
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.1, 0.5, 0.9, 0.99, 1} {
		exact := all[min(int(q*float64(len(all))), len(all)-1)]
		got := h.Quantile(q)
		if got < exact*2/3 && exact > 10 || got > exact*3/2+2 {
			t.Errorf("quantile %v is %v, want %v within half", q, got, exact)
		}
	}
	for _, q := range []float64{-1, 2} {
		if got := h.Quantile(q); got != h.Quantile(min(max(q, 0), 1)) {
			t.Errorf("quantile %v is %v", q, got)
		}
	}
	var one Histogram
	one[Buckets-1] = 3
	if got := one.Quantile(0.99); got != BucketStart(Buckets-1) {
		t.Errorf("in the bucket without end: %v", got)
	}
}

func TestBars(t *testing.T) {
	var h Histogram
	if got := h.Bars(10); len(got) != 0 {
		t.Errorf("%q of nothing", got)
	}
	h[20], h[22], h[23] = 1, 1000, 500
	got := h.Bars(10)
	want := []string{
		"   1.0 µs |#          1",
		"   1.5 µs |           0",
		"   2.0 µs |########## 1000",
		"   3.1 µs |#####      500",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := h.Bars(-1); len(got) != 4 {
		t.Errorf("%q", got)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ns", 999: "999 ns", 1000: "1.0 µs", 9960: "10 µs", 15 * time.Millisecond: "15 ms", 1500 * time.Millisecond: "1.5 s", 13 * time.Minute: "13 min",
	} {
		if got := short(d); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
}

func TestSince(t *testing.T) {
	var a, b, c WordStats
	a.Inode, a.Woken, a.ParkTime, a.Park[3] = 1, 10, 100, 10
	b.Inode, b.TimedOut = 2, 5
	before := []WordStats{b, a} // in any order
	a.Woken, a.ParkTime, a.Park[3], a.Waiter.Comm = 12, 130, 12, "x"
	c.Inode, c.Wakes = 3, 1
	got := Since(before, []WordStats{a, b, c})
	if len(got) != 2 {
		t.Fatalf("%d words changed, want 2", len(got))
	}
	if g := got[0]; g.Inode != 1 || g.Woken != 2 || g.ParkTime != 30 || g.Park[3] != 2 || g.Waiter.Comm != "x" {
		t.Errorf("%+v", g)
	}
	if got[1].Inode != 3 {
		t.Errorf("a word that is new is not there")
	}
	if before[0].Inode != 2 || before[1].Woken != 10 {
		t.Error("the snapshot of before was changed")
	}
	if got := Since([]WordStats{a}, before); got[0].Woken != 0 && got[0].Inode == 1 {
		t.Errorf("less than nothing: %+v", got)
	}
}

func TestDeviceNumbers(t *testing.T) {
	for _, c := range []struct{ dev, major, minor uint64 }{{0x801, 8, 1}, {0x1a, 0, 26}, {0xfff00 | 0xff, 0xfff, 0xff}, {1<<20 | 0x100, 1, 256}, {1 << 44, 1 << 12, 0}} {
		if major(c.dev) != c.major || minor(c.dev) != c.minor {
			t.Errorf("%#x is %d:%d, want %d:%d", c.dev, major(c.dev), minor(c.dev), c.major, c.minor)
		}
	}
	w := WordStats{Device: 0x801, Inode: 7, Offset: 4480}
	if got := w.String(); got != "device 8:1 inode 7 offset 4480" {
		t.Error(got)
	}
}

func TestNamesArePrintable(t *testing.T) {
	if got := printable("a\x1b[2Jé\n\xff"); got != "a?[2Jé?\ufffd" {
		t.Errorf("%q", got)
	}
	if got := fmt.Sprint(Task{}, Task{1, 1, "a"}, Task{1, 2, "b"}); got != "nobody a (1) b (1, thread 2)" {
		t.Error(got)
	}
}
