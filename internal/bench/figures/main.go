//go:build linux

// Figures measures the library between two processes and prints the table in
// docs/performance.md:
//
//	go run ./internal/bench/figures [-rounds 9] [-only substring]
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/shmkit/shm/internal/bench"
)

func main() {
	bench.Child()
	rounds := flag.Int("rounds", 9, "`how many` rounds; each placement needs 5 for its median to count")
	only := flag.String("only", "", "only scenarios with this `text` in their name")
	verbose := flag.Bool("v", false, "name each scenario on standard error as it starts")
	flag.Parse()
	if err := run(*rounds, *only, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

// far is where a bounce of one cache line counts as one between far CPUs, in
// nanoseconds. The two placements are a factor of four apart.
const far = 220

var places = [2]string{"near", "far"}

type sample struct{ ns, ratio []float64 }

func run(rounds int, only string, verbose bool) error {
	r, err := bench.Start()
	if err != nil {
		return err
	}
	defer r.Close()
	list := bench.Scenarios()
	got := make([][2]sample, len(list))
	for range rounds {
		for i, sc := range list {
			if i != 0 && !strings.Contains(sc.Name, only) {
				continue
			}
			if verbose {
				fmt.Fprintln(os.Stderr, sc.Name)
			}
			// The placement may flip at any time: what the probe says before and
			// after must agree.
			before, err := r.Measure(0, list[0].N)
			if err != nil {
				return err
			}
			ns, err := r.Measure(i, sc.N)
			if err != nil {
				return err
			}
			after, err := r.Measure(0, list[0].N)
			if err != nil {
				return err
			}
			if (before < far) != (after < far) {
				continue
			}
			place := 0
			if before >= far {
				place = 1
			}
			s := &got[i][place]
			s.ns = append(s.ns, ns)
			s.ratio = append(s.ratio, ns*2/(before+after))
		}
	}
	fmt.Println("| | near | × c2c | rounds | far | × c2c | rounds |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for i, sc := range list {
		if i != 0 && !strings.Contains(sc.Name, only) {
			continue
		}
		fmt.Printf("| %s |", sc.Name)
		for place := range places {
			s := got[i][place]
			if len(s.ns) == 0 {
				fmt.Print(" not measured | | 0 |")
				continue
			}
			ns, ratio := median(s.ns), median(s.ratio)
			if sc.Rate {
				fmt.Printf(" %s M/s | | %d |", digits(1000/ns), len(s.ns))
			} else {
				fmt.Printf(" %s ns | %.2f | %d |", digits(ns), ratio, len(s.ns))
			}
		}
		fmt.Println()
	}
	return nil
}

func median(x []float64) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	return x[len(x)/2]
}

func digits(x float64) string {
	if x < 10 {
		return fmt.Sprintf("%.2g", x)
	}
	return fmt.Sprintf("%.0f", x)
}
