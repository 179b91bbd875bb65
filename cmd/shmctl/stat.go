//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

func statCommand() *cobra.Command {
	var asJSON, watch bool
	var every time.Duration
	var times int
	c := &cobra.Command{
		Use:   "stat NAME",
		Short: "Show the counters of a channel or a pool",
		Long: `Show what a channel is and what its ends have done since it was made, predecessors
included:

  waits     calls that found the channel full or no free block (sender), or empty
            (receiver)
  spun      of those, the ones that were served before they parked
  slept     of those, the ones that parked in the kernel
  parks     times that a goroutine parked: in a wait, again if it was woken for
            nothing; and in Ready, Select (for each of its channels) and WaitPeer,
            which are no waits
  wakes     times that this side woke the other
  refused   TrySend that found no room, TryRecv that found no message, TryLoan that
            found no block
  claims    processes that have had the role; each after the first took it over

Of a pool, or of the pool of a Buf channel, by class:

  in use    blocks that somebody holds, or that are on their way
  cached    free blocks that an owner keeps for itself
  at most   in use or cached at once, since the pool was made
  failed    allocations that found no block

With --watch, print a line of rates each interval.`,
		Example: `  shmctl stat ticks
  shmctl stat ticks --watch --interval 500ms
  shmctl stat ticks --json | jq .sender.parks`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			if every < time.Millisecond {
				return fmt.Errorf("--interval %v is too short; use 1ms or more", every)
			}
			v := open(args[0])
			defer v.close()
			if v.reg == nil {
				return explain(args[0], v.err)
			}
			out := c.OutOrStdout()
			if watch && v.pool != nil {
				return fmt.Errorf("%q is a pool: --watch is for channels; try `watch shmctl stat %s`, or `shmctl top`", args[0], args[0])
			}
			if v.pool != nil {
				return v.writePool(out, asJSON)
			}
			if v.ch == nil {
				if watch {
					return explain(args[0], v.err)
				}
				return v.writeRegion(out, asJSON)
			}
			if watch {
				return v.watch(c, asJSON, every, times)
			}
			s, err := v.ch.Stats()
			if err != nil {
				return explain(args[0], err)
			}
			all, err := v.ch.Pool()
			if err != nil {
				return explain(args[0], err)
			}
			if asJSON {
				return writeJSON(out, v.report(s, all))
			}
			return writeLines(out, v.lines(s, all))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON; with --watch an object a line")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "print rates again and again")
	c.Flags().DurationVar(&every, "interval", time.Second, "time between two lines of --watch")
	c.Flags().IntVarP(&times, "count", "n", 0, "stop --watch after this many lines; 0: never")
	return c
}

// A report is what stat prints as JSON.
type report struct {
	Name     string        `json:"name"`
	Path     string        `json:"path"`
	Time     time.Time     `json:"time"`
	Type     string        `json:"type"`
	Size     int           `json:"message_bytes"`
	Capacity int           `json:"capacity"`
	Bytes    uint64        `json:"bytes"`
	Created  time.Time     `json:"created"`
	Creator  int           `json:"creator_pid"`
	Fill     int           `json:"fill"`
	High     int           `json:"high_water"`
	Sent     uint64        `json:"sent"`
	Received uint64        `json:"received"`
	Lost     uint64        `json:"lost"`
	Retired  bool          `json:"removed"`
	Sender   counts        `json:"sender"`
	Receiver counts        `json:"receiver"`
	Pool     []classReport `json:"pool,omitempty"` // of a Buf channel
}

type counts struct {
	jsonEnd
	Counted   bool   `json:"counted"`
	Waits     uint64 `json:"waits"`
	Spun      uint64 `json:"spun"`
	Slept     uint64 `json:"slept"`
	Parks     uint64 `json:"parks"`
	Wakes     uint64 `json:"wakes"`
	Refused   uint64 `json:"refused"`
	Takeovers uint32 `json:"takeovers"`
}

func countsOf(e shmchan.EndStats) counts {
	return counts{jsonEnd: *endOf(e.Endpoint, e.Sleeping), Counted: e.Counted, Waits: e.Waits, Spun: e.Spun(), Slept: e.Slept, Parks: e.Parks,
		Wakes: e.Wakes, Refused: e.Refused, Takeovers: takeovers(e)}
}

func takeovers(e shmchan.EndStats) uint32 { return e.Epoch - min(e.Epoch, 1) }

func (v *view) report(s shmchan.Stats, pool []slabpool.Stats) report {
	i := v.ch.Info()
	return report{Pool: classReports(pool), Name: v.name(), Path: v.path, Time: s.Time, Type: i.Type, Size: i.Size, Capacity: i.Cap, Bytes: i.Bytes, Created: i.Created, Creator: i.Creator,
		Fill: s.Len, High: s.High, Sent: s.Sent, Received: s.Received, Lost: s.Lost, Retired: s.Retired, Sender: countsOf(s.Sender), Receiver: countsOf(s.Receiver)}
}

// lines is what stat prints for people.
func (v *view) lines(s shmchan.Stats, pool []slabpool.Stats) []string {
	i := v.ch.Info()
	lines := []string{
		fmt.Sprintf("%s  (%s)", printable(v.name()), printable(v.path)),
		"type      " + i.Type,
		fmt.Sprintf("made      %s ago by process %d, %s", age(time.Since(i.Created)), i.Creator, size(i.Bytes)),
		fmt.Sprintf("fill      %d of %d (%d%%), at most %d seen", s.Len, i.Cap, percent(s.Len, i.Cap), s.High),
		fmt.Sprintf("passed    sent %d, received %d, lost %d", s.Sent, s.Received, s.Lost),
	}
	if s.Retired {
		lines = append(lines, "removed   the name leads to another channel, or to none")
	}
	row := func(what, sender, receiver string) {
		lines = append(lines, fmt.Sprintf("%-9s %-28s %s", what, sender, receiver))
	}
	pair := func(what string, of func(shmchan.EndStats) any) {
		row(what, fmt.Sprint(of(s.Sender)), fmt.Sprint(of(s.Receiver)))
	}
	lines = append(lines, "")
	row("", "SENDER", "RECEIVER")
	pair("process", func(e shmchan.EndStats) any { return end(e.Endpoint, e.Sleeping) })
	pair("state", func(e shmchan.EndStats) any { return state(e.Endpoint) })
	pair("claims", func(e shmchan.EndStats) any {
		return fmt.Sprintf("%d (%d takeovers, %d deaths)", e.Epoch, takeovers(e), e.Deaths)
	})
	if !s.Sender.Counted {
		lines = append(lines, "counters  none: the channel was made by a program that does not count")
		return append(lines, poolPart(pool)...)
	}
	why := "channel full"
	if i.Classes != nil {
		why = "full, or no block"
	}
	row("waits", fmt.Sprintf("%d (%s)", s.Sender.Waits, why), fmt.Sprintf("%d (channel empty)", s.Receiver.Waits))
	pair("  spun", func(e shmchan.EndStats) any { return e.Spun() })
	pair("  slept", func(e shmchan.EndStats) any { return e.Slept })
	pair("parks", func(e shmchan.EndStats) any { return e.Parks })
	pair("wakes", func(e shmchan.EndStats) any { return e.Wakes })
	pair("refused", func(e shmchan.EndStats) any { return e.Refused })
	return append(lines, poolPart(pool)...)
}

// poolPart is what follows for a Buf channel.
func poolPart(pool []slabpool.Stats) []string {
	if pool == nil {
		return nil
	}
	return append([]string{""}, classLines(pool)...)
}

func writeLines(out io.Writer, lines []string) error {
	_, err := fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}

// writePool shows a pool.
func (v *view) writePool(out io.Writer, asJSON bool) error {
	l, err := v.pool.Look()
	if err != nil {
		return explain(v.name(), err)
	}
	if asJSON {
		return writeJSON(out, v.poolReport(l))
	}
	return writeLines(out, v.poolLines(l))
}

// state says whether the holder of a role lives, and how that is known.
func state(e region.Endpoint) string {
	if e.Life == region.LifeUnknown {
		return e.Phase.String()
	}
	s := e.Phase.String() + ", " + e.Life.String()
	if stopped(e) {
		s += ", stopped"
	}
	if !e.Sure {
		s += " (by its id only)"
	}
	return s
}

// writeRegion shows what is no channel, or not one that this version knows.
func (v *view) writeRegion(out io.Writer, asJSON bool) error {
	e, _ := v.entry()
	if asJSON {
		return writeJSON(out, e)
	}
	l := v.reg.Layout()
	fmt.Fprintf(out, "%s  (%s)\n", printable(v.name()), printable(v.path))
	fmt.Fprintf(out, "kind      %s: %v\n", v.kind(), v.err)
	fmt.Fprintf(out, "made      %s ago by process %d, %s\n", age(v.reg.Age()), l.Creator, size(l.Size))
	fmt.Fprintf(out, "sections  %s\n", v.sections())
	for role := range l.Roles {
		ep, err := v.reg.Endpoint(role)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "role %-4d %s, %s\n", role, end(ep, false), state(ep))
	}
	return nil
}

// A rate is what happened between two looks.
type rate struct {
	Time     time.Time `json:"time"`
	Fill     int       `json:"fill"`
	Percent  int       `json:"fill_percent"`
	Sent     float64   `json:"sent_per_second"`
	Received float64   `json:"received_per_second"`
	Sender   rates     `json:"sender"`
	Receiver rates     `json:"receiver"`
}

type rates struct {
	Waits float64 `json:"waits_per_second"`
	Parks float64 `json:"parks_per_second"`
	Wakes float64 `json:"wakes_per_second"`
}

// between returns the rates from one look to the next. Counts that went back,
// in hostile memory, count as none.
func between(a, b shmchan.Stats, capacity int) rate {
	sec := max(b.Time.Sub(a.Time).Seconds(), 1e-9)
	per := func(from, to uint64) float64 { return float64(max(int64(to-from), 0)) / sec }
	of := func(a, b shmchan.EndStats) rates {
		return rates{per(a.Waits, b.Waits), per(a.Parks, b.Parks), per(a.Wakes, b.Wakes)}
	}
	return rate{Time: b.Time, Fill: b.Len, Percent: percent(b.Len, capacity), Sent: per(a.Sent, b.Sent), Received: per(a.Received, b.Received),
		Sender: of(a.Sender, b.Sender), Receiver: of(a.Receiver, b.Receiver)}
}

// watch prints a line of rates each interval.
func (v *view) watch(c *cobra.Command, asJSON bool, every time.Duration, times int) error {
	out := c.OutOrStdout()
	last, err := v.ch.Stats()
	if err != nil {
		return err
	}
	const format = "%-8s  %5s  %7s %7s  %7s %7s  %7s %7s  %-8s %s\n"
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for n := 0; times == 0 || n < times; n++ {
		if !asJSON && n%20 == 0 {
			fmt.Fprintf(out, format, "TIME", "FILL", "SENT/s", "RECV/s", "FULL/s", "EMPTY/s", "S.PARKS", "R.PARKS", "SENDER", "RECEIVER")
		}
		select {
		case <-c.Context().Done():
			return nil
		case <-ticker.C:
		}
		s, err := v.ch.Stats()
		if err != nil {
			return err
		}
		r := between(last, s, v.ch.Info().Cap)
		last = s
		if asJSON {
			if err := json.NewEncoder(out).Encode(r); err != nil {
				return err
			}
		} else {
			fmt.Fprintf(out, format, r.Time.Format("15:04:05"), fmt.Sprintf("%d%%", r.Percent), count(r.Sent), count(r.Received), count(r.Sender.Waits), count(r.Receiver.Waits),
				count(r.Sender.Parks), count(r.Receiver.Parks), brief(s.Sender.Endpoint, s.Sender.Sleeping), brief(s.Receiver.Endpoint, s.Receiver.Sleeping))
		}
		if s.Retired {
			fmt.Fprintf(c.ErrOrStderr(), "%s was removed or made anew; look again to see the new one\n", v.name())
			return nil
		}
	}
	return nil
}

// brief is who has a role, in at most 9 characters.
func brief(e region.Endpoint, sleeping bool) string {
	switch {
	case e.Phase == region.Free:
		return "-"
	case e.Phase == region.Transit:
		return "travels"
	case dead(e):
		return "dead"
	case e.Phase != region.Attached:
		return e.Phase.String()
	case stopped(e):
		return fmt.Sprintf("%d T", e.PID)
	case sleeping:
		return fmt.Sprintf("%d P", e.PID)
	}
	return fmt.Sprintf("%d", e.PID)
}

// dead tells whether the process that had a role ended without giving it up.
func dead(e region.Endpoint) bool { return e.Phase == region.Dead || e.Life == region.Gone }
