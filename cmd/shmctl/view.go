//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

const dirEnv = "SHMCHAN_DIR"

// useDir makes bare names lie in a directory, for this process.
func useDir(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if st, err := os.Stat(abs); err != nil {
		return fmt.Errorf("--dir: %w", err)
	} else if !st.IsDir() {
		return fmt.Errorf("--dir: %s is no directory", abs)
	}
	return os.Setenv(dirEnv, abs)
}

// namesDir is where bare names lie.
func namesDir() string {
	if dir := os.Getenv(dirEnv); dir != "" {
		return dir
	}
	return "/dev/shm"
}

// shortName is what a user calls the region at a path.
func shortName(path string) string {
	if filepath.Dir(path) == filepath.Clean(namesDir()) {
		return filepath.Base(path)
	}
	return path
}

// completeNames completes the names of regions.
func completeNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	paths, _, err := region.List("")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names := make([]string, 0, len(paths))
	for _, p := range paths {
		names = append(names, shortName(p))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// A view is one region that is looked at. What it is depends on its sections;
// what this version does not know is shown by the names of those.
type view struct {
	path string
	reg  *region.Observer
	ch   *shmchan.Observer  // nil if it is no channel, or one that cannot be read
	pool *slabpool.Observer // nil if it is no pool, or one that cannot be read
	err  error              // why it is neither
}

// open looks at a region. There is always a view; err in it tells what could
// not be seen.
func open(path string) *view {
	v := &view{path: path}
	if v.reg, v.err = region.Observe(path); v.err != nil {
		return v
	}
	v.path = v.reg.Name()
	if v.has(region.KindPool) && !v.has(region.KindLane) {
		v.pool, v.err = slabpool.ObserverOf(v.reg)
	} else {
		v.ch, v.err = shmchan.ObserverOf(v.reg)
	}
	return v
}

func (v *view) close() {
	if v.reg != nil {
		v.reg.Close()
	}
}

func (v *view) name() string { return shortName(v.path) }

func (v *view) has(k region.Kind) bool {
	for _, s := range v.reg.Layout().Sections {
		if s.Kind == k {
			return true
		}
	}
	return false
}

// kind says what the region is.
func (v *view) kind() string {
	switch {
	case v.reg == nil && errors.Is(v.err, fs.ErrPermission):
		return "unreadable"
	case v.reg == nil && errors.Is(v.err, region.ErrMismatch):
		return "other version"
	case v.reg == nil:
		return "corrupt"
	case v.has(region.KindPool) && v.has(region.KindLane):
		return "buf channel"
	case v.has(region.KindPool):
		return "pool"
	case v.ch != nil:
		return "channel"
	}
	return "region"
}

// sections lists what the region is made of.
func (v *view) sections() string {
	var parts []string
	for _, s := range v.reg.Layout().Sections {
		parts = append(parts, fmt.Sprintf("%v v%d %s", s.Kind, s.Version, size(s.Size)))
	}
	return strings.Join(parts, ", ")
}

// openChannel looks at a channel, or says why it cannot.
func openChannel(name string) (*view, error) {
	v := open(name)
	if v.pool != nil {
		v.close()
		return nil, fmt.Errorf("%q is a pool of blocks, through which no messages pass; `shmctl stat %s` shows who holds how many", name, name)
	}
	if v.ch == nil {
		v.close()
		return nil, explain(name, v.err)
	}
	return v, nil
}

// explain adds what to do to an error about a name.
func explain(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no %q in %s: %w; `shmctl ls` lists what there is, --dir looks elsewhere", name, namesDir(), err)
	case errors.Is(err, region.ErrMismatch):
		return fmt.Errorf("%q is not a channel of this version: %w; use the shmctl of the same release, or see `shmctl ls`", name, err)
	case errors.Is(err, region.ErrCorrupt):
		return fmt.Errorf("%q: %w; `shmctl doctor %s` says more", name, err, name)
	}
	return fmt.Errorf("%q: %w", name, err)
}

// end says in a few words who has a role.
func end(e region.Endpoint, sleeping bool) string {
	switch e.Phase {
	case region.Free:
		return "-"
	case region.Attached:
		switch {
		case e.Life == region.Gone:
			return fmt.Sprintf("%d dead", e.PID)
		case sleeping:
			return fmt.Sprintf("%d %s (parked)", e.PID, command(e))
		}
		return fmt.Sprintf("%d %s", e.PID, command(e))
	case region.Dead:
		return fmt.Sprintf("%d dead", e.PID)
	}
	return e.Phase.String()
}

// command is the name of the program that holds a role; "?" if the process
// with that id is not the one that attached, as seen from here.
func command(e region.Endpoint) string {
	if e.Life != region.Alive {
		return "?"
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", e.PID))
	if err != nil || started(stat) != e.Start {
		return "?"
	}
	from, to := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	return printable(string(stat[from+1 : to]))
}

// stopped tells whether the process that holds a role is stopped, by a signal
// or a debugger.
func stopped(e region.Endpoint) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", e.PID))
	if err != nil || e.Life != region.Alive || started(stat) != e.Start {
		return false
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(fields) > 0 && (fields[0][0] == 'T' || fields[0][0] == 't')
}

// started is the start time in the text of /proc/PID/stat; 0 if it is not one.
func started(stat []byte) uint64 {
	at := bytes.LastIndexByte(stat, ')')
	if at < 0 || bytes.IndexByte(stat, '(') < 0 {
		return 0
	}
	fields := bytes.Fields(stat[at+1:])
	if len(fields) < 20 {
		return 0
	}
	n, _ := strconv.ParseUint(string(fields[19]), 10, 64)
	return n
}

// printable makes text from others harmless in a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// size is a number of bytes for people.
func size(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for ; f >= 1024; i++ {
		f /= 1024
	}
	return fmt.Sprintf("%.4g %ciB", f, units[i])
}

// count is a number or a rate for people, in at most five characters.
func count(f float64) string {
	switch {
	case f < 0:
		return "0"
	case f < 10 && f != float64(int(f)):
		return fmt.Sprintf("%.1f", f)
	case f < 9999.5:
		return fmt.Sprintf("%.0f", f)
	}
	for _, u := range []string{"k", "M", "G", "T"} {
		f /= 1000
		switch {
		case f < 9.995:
			return fmt.Sprintf("%.2f%s", f, u)
		case f < 99.95:
			return fmt.Sprintf("%.1f%s", f, u)
		case f < 999.5:
			return fmt.Sprintf("%.0f%s", f, u)
		}
	}
	return "lots"
}

// age is a duration for people.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// percent is n of all in hundredths.
func percent(n, all int) int {
	if all == 0 {
		return 0
	}
	return int(int64(n) * 100 / int64(all))
}
