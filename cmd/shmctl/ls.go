//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/shmkit/shm/region"
)

func lsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls",
		Short: "List every channel, pool and value",
		Long: `List what lies in shared memory: name and kind, type of the messages, capacity and
fill, who is at each end, age, and bytes. A process is shown by its id and its
command; "dead" is one that ended without closing. A pool has owners instead of a
sender and a receiver; its capacity and fill are blocks, and the part is of bytes. "?" instead of a command is a
process that cannot be seen from here (another pid namespace).`,
		Example: `  shmctl ls
  shmctl ls --json | jq '.[] | select(.fill > 1000) | .name'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			paths, _, err := region.List("")
			if err != nil {
				return fmt.Errorf("%w; --dir or $%s says where to look", err, dirEnv)
			}
			list := []entry{}
			for _, p := range paths {
				v := open(p)
				if e, ok := v.entry(); ok {
					list = append(list, e)
				}
				v.close()
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), list)
			}
			if len(list) == 0 {
				fmt.Fprintf(c.ErrOrStderr(), "nothing in %s\n", namesDir())
				return nil
			}
			return writeList(c.OutOrStdout(), list)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// An entry is one line of ls.
type entry struct {
	Name     string        `json:"name"`
	Path     string        `json:"path"`
	Kind     string        `json:"kind"`
	Type     string        `json:"type,omitempty"`
	Capacity int           `json:"capacity,omitempty"`
	Fill     int           `json:"fill"`
	Sender   *jsonEnd      `json:"sender,omitempty"`
	Receiver *jsonEnd      `json:"receiver,omitempty"`
	AgeSec   float64       `json:"age_seconds,omitempty"`
	Bytes    uint64        `json:"bytes,omitempty"`
	Sections string        `json:"sections,omitempty"`
	Owners   int           `json:"owners,omitempty"` // living endpoints of a pool
	Pool     []classReport `json:"pool,omitempty"`
	Error    string        `json:"error,omitempty"`

	ends  [2]string
	brief [2]string // the same for a narrow terminal
	part  int       // of the fill, in hundredths
}

// A jsonEnd is who has a role, for programs.
type jsonEnd struct {
	Phase   string `json:"phase"`
	Life    string `json:"life"`
	Sure    bool   `json:"sure"`
	PID     int    `json:"pid,omitempty"`
	Command string `json:"command,omitempty"`
	Parked  bool   `json:"parked,omitempty"`
	Claims  uint32 `json:"claims"`
	Deaths  uint32 `json:"deaths"`
}

func endOf(e region.Endpoint, sleeping bool) *jsonEnd {
	j := &jsonEnd{Phase: e.Phase.String(), Life: e.Life.String(), Sure: e.Sure, PID: e.PID, Parked: sleeping && e.Life == region.Alive, Claims: e.Epoch, Deaths: e.Deaths}
	if e.Life == region.Alive {
		j.Command = command(e)
	}
	return j
}

// entry describes what is seen; false if it went away meanwhile.
func (v *view) entry() (e entry, ok bool) {
	e = entry{Name: v.name(), Path: v.path, Kind: v.kind(), ends: [2]string{"-", "-"}, brief: [2]string{"-", "-"}}
	if v.reg == nil {
		e.Error = v.err.Error()
		return e, !errors.Is(v.err, os.ErrNotExist)
	}
	e.AgeSec = v.reg.Age().Seconds()
	e.Bytes = v.reg.Layout().Size
	if v.pool != nil {
		return v.poolEntry(e)
	}
	if v.ch == nil {
		e.Type = v.sections()
		e.Sections = e.Type
		return e, true
	}
	info := v.ch.Info()
	e.Type, e.Capacity = info.Type, info.Cap
	if info.Classes != nil {
		e.Type += " (" + classesText(info.Classes) + ")"
		all, err := v.ch.Pool()
		if err != nil {
			e.Kind, e.Error = "corrupt", err.Error()
			return e, true
		}
		e.Pool = classReports(all)
	}
	s, err := v.ch.Stats()
	if err != nil {
		e.Kind, e.Error = "corrupt", err.Error()
		return e, true
	}
	e.Fill, e.part = s.Len, percent(s.Len, info.Cap)
	e.Sender, e.Receiver = endOf(s.Sender.Endpoint, s.Sender.Sleeping), endOf(s.Receiver.Endpoint, s.Receiver.Sleeping)
	e.ends = [2]string{end(s.Sender.Endpoint, s.Sender.Sleeping), end(s.Receiver.Endpoint, s.Receiver.Sleeping)}
	e.brief = [2]string{brief(s.Sender.Endpoint, s.Sender.Sleeping), brief(s.Receiver.Endpoint, s.Receiver.Sleeping)}
	return e, !s.Retired
}

// poolEntry is entry of a pool: CAP and FILL are blocks.
func (v *view) poolEntry(e entry) (entry, bool) {
	l, err := v.pool.Look()
	if err != nil {
		e.Kind, e.Error = "corrupt", err.Error()
		return e, true
	}
	e.Type = classesText(v.pool.Classes())
	e.Pool = classReports(l.Classes)
	e.Fill, e.Capacity, e.part = inUse(l.Classes)
	e.ends[0], e.Owners = owners(l)
	e.brief = e.ends
	return e, !l.Retired
}

// writeList prints the table. In a terminal no line is longer than that is wide:
// if there is no room, processes are shown by their ids only.
func writeList(out io.Writer, list []entry) error {
	width := 0
	if f, ok := out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			width = w
		}
	}
	text := table(list, false)
	if width > 0 && slices.ContainsFunc(text, func(l string) bool { return utf8.RuneCountInString(l) > width }) {
		text = table(list, true)
		for i := range text {
			text[i] = clip(text[i], width)
		}
	}
	return writeLines(out, text)
}

// table is the table of ls, line by line.
func table(list []entry, narrow bool) []string {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tKIND\tCAP\tFILL\tSENDER\tRECEIVER\tAGE\tBYTES\tTYPE")
	for _, e := range list {
		if e.Error != "" {
			fmt.Fprintf(w, "%s\t%s\t\t\t\t\t\t\t%s\n", printable(e.Name), e.Kind, "see `shmctl doctor "+printable(e.Name)+"`")
			continue
		}
		capacity, fill := "", ""
		if e.Capacity > 0 {
			capacity, fill = fmt.Sprint(e.Capacity), fmt.Sprintf("%d (%d%%)", e.Fill, e.part)
		}
		ends := e.ends
		if narrow {
			ends = e.brief
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(e.Name), e.Kind, capacity, fill, ends[0], ends[1],
			age(time.Duration(e.AgeSec*float64(time.Second))), size(e.Bytes), e.Type)
	}
	w.Flush() // to a Buffer: no error
	return strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
}

// clip shortens text to a number of characters.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:max(n-1, 0)]) + "…"
	}
	return s
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
