//go:build linux && (amd64 || arm64)

package chantrace

import (
	"context"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What tracing costs those who are traced, and those who are not. Each measures
// pairs of equal work, without and with the tracer, and reports the medians.
// Which of the two comes first changes from pair to pair, so that neither gains
// from what the machine does meanwhile. docs/tracing.md has figures.

// overhead measures pairs of rounds of work, n operations each.
func overhead(b *testing.B, o Options, n int, work func(n int)) {
	need(b)
	const pairs = 16
	one := func() float64 {
		start := time.Now()
		work(n)
		return float64(time.Since(start).Nanoseconds()) / float64(n)
	}
	traced := func() float64 {
		t, err := Attach(context.Background(), o)
		must(b, err)
		defer func() { must(b, t.Close()) }()
		work(n / 10) // the first waits of a thread cost more
		return one()
	}
	untraced := func() float64 {
		work(n / 10)
		return one()
	}
	var without, with, extra, ratio []float64
	for i := range pairs {
		var off, on float64
		if i%2 == 0 {
			off, on = untraced(), traced()
		} else {
			on, off = traced(), untraced()
		}
		without, with, extra, ratio = append(without, off), append(with, on), append(extra, on-off), append(ratio, on/off)
	}
	quantile := func(v []float64, q float64) float64 {
		slices.Sort(v)
		return v[int(q*float64(len(v)-1)+0.5)]
	}
	b.ReportMetric(0, "ns/op") // the whole, which says nothing
	b.ReportMetric(quantile(without, 0.5), "ns-without")
	b.ReportMetric(quantile(with, 0.5), "ns-with")
	b.ReportMetric(quantile(extra, 0.25), "ns-extra-25%")
	b.ReportMetric(quantile(extra, 0.5), "ns-extra")
	b.ReportMetric(quantile(extra, 0.75), "ns-extra-75%")
	b.ReportMetric(quantile(ratio, 0.5), "with/without")
}

// A round trip over two channels, both sides parked. A pipe between the same
// threads would do as much: nothing of it but the parking is measured.
func BenchmarkOverheadParkedPingPong(b *testing.B) {
	for _, o := range []struct {
		name string
		Options
	}{{"scheduler", Options{}}, {"syscalls", Options{Syscalls: true}}} {
		b.Run(o.name, func(b *testing.B) {
			p := newPair(b)
			ctx := context.Background()
			overhead(b, o.Options, 20000, func(n int) {
				for range n {
					p.round(b, ctx, 0)
				}
			})
		})
	}
}

// A program that only makes system calls: the cheapest there is.
func BenchmarkOverheadUnrelatedSyscalls(b *testing.B) {
	for _, o := range []struct {
		name string
		Options
	}{{"scheduler", Options{}}, {"syscalls", Options{Syscalls: true}}} {
		b.Run(o.name, func(b *testing.B) {
			overhead(b, o.Options, 2_000_000, func(n int) {
				for range n {
					unix.Getppid()
				}
			})
		})
	}
}

// Two threads that hand a byte to and fro through pipes: switches and wake-ups
// that have nothing to do with futexes.
func BenchmarkOverheadUnrelatedSwitches(b *testing.B) {
	var to, fro [2]int
	must(b, unix.Pipe2(to[:], unix.O_CLOEXEC))
	must(b, unix.Pipe2(fro[:], unix.O_CLOEXEC))
	go func() {
		var c [1]byte
		for {
			if n, err := unix.Read(to[0], c[:]); n != 1 || err != nil {
				unix.Close(fro[1])
				return
			}
			unix.Write(fro[1], c[:])
		}
	}()
	b.Run("scheduler", func(b *testing.B) {
		overhead(b, Options{}, 20000, func(n int) {
			var c [1]byte
			for range n {
				unix.Write(to[1], c[:])
				unix.Read(fro[0], c[:])
			}
		})
	})
	unix.Close(to[1])
	var c [1]byte
	unix.Read(fro[0], c[:])
	unix.Close(to[0])
	unix.Close(fro[0])
}
