package chaos

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A report is the table that a test prints at its end.
type report struct {
	mu   sync.Mutex
	cols []string
	rows []string
}

func (r *report) head(cols ...string) { r.cols = append(cols, "time") }

func (r *report) add(took time.Duration, cells ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := "|"
	for _, c := range cells {
		row += fmt.Sprintf(" %v |", c)
	}
	r.rows = append(r.rows, row+fmt.Sprintf(" %.1f s |", took.Seconds()))
}

// print logs the table as Markdown.
func (r *report) print(t testing.TB, title string) {
	slices.Sort(r.rows)
	t.Logf("%s, %s\n| %s |\n|%s\n%s", title, time.Now().Format("2 January 2006"),
		strings.Join(r.cols, " | "), strings.Repeat("---|", len(r.cols)), strings.Join(r.rows, "\n"))
}
