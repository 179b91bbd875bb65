package chantrace

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/shmkit/shm/region"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is two words with waits and one without.
func sample() []WordStats {
	bell := func(h *Histogram, middle, n int) {
		for i := -6; i <= 6; i++ {
			h[middle+i] = uint64(n >> (i * i / 3))
		}
	}
	words := make([]WordStats, 3)
	w := &words[0]
	w.Device, w.Inode, w.Offset = 0x1a, 42, 4480
	w.Place = Place{"/dev/shm/ticks", "ticks", region.KindEvents, "receiver"}
	bell(&w.Park, 28, 4000)
	bell(&w.Run, 24, 5000)
	w.ParkTime, w.RunTime = 200*time.Millisecond, 60*time.Millisecond
	w.Woken, w.TimedOut, w.Signalled = w.Run.Count()-12, 10, 2
	w.Waiter, w.Waker = Task{4711, 4713, "consumer"}, Task{4699, 4699, "producer"}
	w.Refused, w.Wakes, w.Wasted = 7, 20000, 33
	words[1] = WordStats{Device: 0x801, Inode: 7, Offset: 128} // no waits
	w = &words[2]
	w.Device, w.Inode, w.Offset = 0x801, 7, 256
	w.Run[70], w.Other = 1, 1
	w.RunTime = 50 * time.Second
	w.Waiter = Task{5, 5, `<&"'>`}
	return words
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		must(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; look at it, and if it is as it should be: go test ./chantrace -update", name)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	must(t, WriteText(&b, sample()))
	golden(t, "sample.txt", b.Bytes())
	b.Reset()
	must(t, WriteText(&b, nil))
	if b.String() != "no waits were seen\n" {
		t.Errorf("%q of nothing", b.String())
	}
}

// parse reads a picture and returns how many of each element it has, and all
// text. Every coordinate must be a number.
func parse(t *testing.T, svg []byte) (elements map[string]int, text string) {
	t.Helper()
	elements = map[string]int{}
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return elements, text
		}
		must(t, err)
		switch tok := tok.(type) {
		case xml.StartElement:
			elements[tok.Name.Local]++
			for _, a := range tok.Attr {
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") || strings.HasPrefix(a.Value, "-") {
					t.Errorf("%s has %s=%q", tok.Name.Local, a.Name.Local, a.Value)
				}
			}
		case xml.CharData:
			text += string(tok) + "\n"
		}
	}
}

func TestSVG(t *testing.T) {
	words := sample()
	var b bytes.Buffer
	must(t, WriteSVG(&b, words))
	elements, text := parse(t, b.Bytes())
	bars := 1 // the background
	for i := range words {
		for _, h := range []*Histogram{&words[i].Park, &words[i].Run} {
			for _, c := range h {
				if c > 0 {
					bars++
				}
			}
		}
	}
	if elements["svg"] != 1 || elements["rect"] != bars {
		t.Errorf("%v, want one svg and %d rect", elements, bars)
	}
	for _, want := range []string{"ticks receiver", "device 8:1 inode 7 offset 256", `<&"'>`, "waits", "time, logarithmic", "10 µs", "10 s", "p99", "producer (4699)"} {
		if !strings.Contains(text, want) {
			t.Errorf("the picture does not say %q", want)
		}
	}
	if strings.Contains(text, "offset 128") {
		t.Error("a word without waits is in the picture")
	}
	golden(t, "sample.svg", b.Bytes())
}

func TestSVGOfLittle(t *testing.T) {
	var b bytes.Buffer
	must(t, WriteSVG(&b, nil))
	if _, text := parse(t, b.Bytes()); !strings.Contains(text, "no waits were seen") {
		t.Errorf("%s", text)
	}
	for _, i := range []int{0, 1, 2, Buckets - 1} { // at the ends of the axis
		w := WordStats{Other: 1 << 63}
		w.Run[i], w.Park[i] = 1<<63, 1
		b.Reset()
		must(t, WriteSVG(&b, []WordStats{w}))
		parse(t, b.Bytes())
	}
}

type broken struct{}

var errBroken = errors.New("broken")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteErrors(t *testing.T) {
	if err := WriteSVG(broken{}, nil); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	if err := WriteText(broken{}, nil); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

func TestCountScale(t *testing.T) {
	for n, want := range map[uint64]uint64{0: 4, 1: 4, 5: 8, 9: 20, 21: 40, 4000: 4000, 4001: 8000, 1<<64 - 1: 1<<64 - 4} {
		if got := scaleFor(n); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}
