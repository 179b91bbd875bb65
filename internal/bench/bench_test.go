//go:build linux

package bench

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	Child()
	os.Exit(m.Run())
}

// A few operations of each scenario, so that the harness does not rot.
func TestEveryScenarioRuns(t *testing.T) {
	r, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i, sc := range Scenarios() {
		if ns, err := r.Measure(i, 128); err != nil || ns <= 0 {
			t.Fatalf("%s: %v ns, %v", sc.Name, ns, err)
		}
	}
}

func BenchmarkTwoProcesses(b *testing.B) {
	r, err := Start()
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for i, sc := range Scenarios() {
		b.Run(sc.Name, func(b *testing.B) {
			probe, err := r.Measure(0, Scenarios()[0].N)
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			ns, err := r.Measure(i, b.N)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(ns/probe, "×c2c")
		})
	}
}
