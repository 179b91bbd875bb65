package chaos

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	soak = flag.Bool("soak", false, "10,000 random kills, the full sweep, a hostile peer for minutes: hours in all")
	ci   = flag.Bool("ci", false, "a few hundred random kills, a sample of the sweep, a hostile peer for 20 s: about a minute in all")
)

// much chooses a number: for the soak, for .ci/run, for every day.
func much(soaked, inCI, little int) int {
	switch {
	case *soak:
		return soaked
	case *ci:
		return inCI
	}
	return little
}

// everyMinute calls f, until it is stopped.
func everyMinute(f func()) (stop func()) {
	over := make(chan struct{})
	go func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(time.Minute):
				f()
			}
		}
	}()
	return func() { close(over) }
}

// A report is the table that a test prints at its end.
type report struct {
	mu   sync.Mutex
	cols []string
	rows []string
}

func (r *report) head(cols ...string) { r.cols = append(cols, "time") }

// add adds a row, and says it at once, so that a run that is interrupted has a result.
func (r *report) add(took time.Duration, cells ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := "|"
	for _, c := range cells {
		row += fmt.Sprintf(" %v |", c)
	}
	row += fmt.Sprintf(" %.1f s |", took.Seconds())
	r.rows = append(r.rows, row)
	if *soak {
		fmt.Println(row)
	}
}

// print logs the table as Markdown.
func (r *report) print(t testing.TB, title string) {
	slices.Sort(r.rows)
	t.Logf("%s, %s\n| %s |\n|%s\n%s", title, time.Now().Format("2 January 2006"),
		strings.Join(r.cols, " | "), strings.Repeat("---|", len(r.cols)), strings.Join(r.rows, "\n"))
}
