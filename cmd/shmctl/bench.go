//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/shmkit/shm/internal/bench"
)

func benchCommand() *cobra.Command {
	var rounds int
	var only string
	var asJSON bool
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the library on this machine",
		Long: `Measure the library between two processes on two CPUs, beside what the hardware and
the kernel do in the same minute: "c2c" bounces one cache line, before and after
each measurement, and the ratio to it means more than the time, since CPUs may be
near each other or far. Medians of all rounds. It needs two CPUs, and all of both.`,
		Example: `  shmctl bench
  shmctl bench --rounds 9 --only "round trip"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if rounds < 1 {
				return fmt.Errorf("--rounds %d: want 1 or more", rounds)
			}
			figures, err := measure(rounds, only, c.ErrOrStderr())
			if err != nil {
				return fmt.Errorf("%w; it needs two CPUs and room in /dev/shm, see `shmctl doctor`", err)
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), figures)
			}
			return writeFigures(c.OutOrStdout(), figures)
		},
	}
	c.Flags().IntVar(&rounds, "rounds", 3, "how often each is measured")
	c.Flags().StringVar(&only, "only", "", "only scenarios with this `text` in their name")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// A figure is what came of a scenario.
type figure struct {
	Name  string  `json:"name"`
	Nanos float64 `json:"nanoseconds"` // per operation
	Ratio float64 `json:"times_c2c"`
	Rate  bool    `json:"rate"` // better told in operations a second
}

func measure(rounds int, only string, progress io.Writer) ([]figure, error) {
	list := bench.Scenarios()
	chosen := []int{}
	for i, sc := range list {
		if i == 0 || strings.Contains(sc.Name, only) {
			chosen = append(chosen, i)
		}
	}
	if len(chosen) == 1 && only != "" && !strings.Contains(list[0].Name, only) {
		return nil, fmt.Errorf("no scenario has %q in its name", only)
	}
	r, err := bench.Start()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	figures := make([]figure, 0, len(chosen))
	for _, i := range chosen {
		fmt.Fprintf(progress, "%s\n", list[i].Name)
		var nanos, ratios []float64
		for range rounds {
			before, err := r.Measure(0, list[0].N)
			if err != nil {
				return nil, err
			}
			ns, err := r.Measure(i, list[i].N)
			if err != nil {
				return nil, err
			}
			after, err := r.Measure(0, list[0].N)
			if err != nil {
				return nil, err
			}
			nanos, ratios = append(nanos, ns), append(ratios, 2*ns/(before+after))
		}
		figures = append(figures, figure{list[i].Name, median(nanos), median(ratios), list[i].Rate})
	}
	return figures, nil
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

func writeFigures(out io.Writer, figures []figure) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tTIME\tRATE\t× C2C\t")
	for _, f := range figures {
		rate := count(1e9/f.Nanos) + "/s"
		fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t\n", f.Name, nanos(f.Nanos), rate, f.Ratio)
	}
	return w.Flush()
}

// nanos is a time for people.
func nanos(ns float64) string {
	if ns < 10_000 {
		return fmt.Sprintf("%.3g ns", ns)
	}
	return fmt.Sprintf("%.3g µs", ns/1000)
}
