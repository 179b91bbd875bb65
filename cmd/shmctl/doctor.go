//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

func doctorCommand() *cobra.Command {
	var asJSON bool
	var span time.Duration
	c := &cobra.Command{
		Use:   "doctor [NAME]",
		Short: "Tell what this system offers, or what is wrong with a channel",
		Long: `Without a NAME: what this system offers to the library, and what crashes have left
behind. It fails if something that is needed is missing.

With a NAME: what is wrong with that channel or pool: a damaged file, dead or stopped
processes, a name that nobody uses, a side that is too slow, parking and waking
for every message, a class of blocks that is used up. It fails if there is
something. It looks twice, --span apart.`,
		Example: `  shmctl doctor
  shmctl doctor ticks`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			if span < 10*time.Millisecond {
				return fmt.Errorf("--span %v is too short to tell rates; use 10ms or more", span)
			}
			var found findings
			if len(args) == 0 {
				found.system()
				found.leftBehind()
			} else {
				found.channel(args[0], span)
			}
			if asJSON {
				if err := writeJSON(c.OutOrStdout(), found); err != nil {
					return err
				}
			} else {
				found.write(c.OutOrStdout())
			}
			bad := 0
			for _, f := range found {
				if f.Level == "FAIL" || f.Level == "warn" && len(args) > 0 {
					bad++
				}
			}
			switch {
			case bad == 0:
				return nil
			case len(args) > 0:
				return fmt.Errorf("not all is well with %s (%d of %d findings); see above", args[0], bad, len(found))
			}
			return fmt.Errorf("something that the library needs is missing (%d of %d findings); see above", bad, len(found))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().DurationVar(&span, "span", time.Second, "time between the two looks at a channel")
	return c
}

// A finding is one thing that doctor has looked at.
type finding struct {
	Level string `json:"level"` // ok, warn, FAIL
	What  string `json:"what"`
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"` // what to do
}

type findings []finding

func (f *findings) add(level, what, text, hint string) {
	*f = append(*f, finding{level, what, text, hint})
}

func (f *findings) ok(what, format string, args ...any) {
	f.add("ok", what, fmt.Sprintf(format, args...), "")
}

func (f findings) write(out io.Writer) {
	for _, x := range f {
		fmt.Fprintf(out, "%-4s  %-14s %s\n", x.Level, x.What, x.Text)
		if x.Hint != "" {
			fmt.Fprintf(out, "      %-14s -> %s\n", "", x.Hint)
		}
	}
}

// leftBehind looks for what nobody uses.
func (f *findings) leftBehind() {
	paths, strays, err := region.List("")
	if err != nil {
		f.add("FAIL", "names", err.Error(), "make the directory, or set $"+dirEnv)
		return
	}
	used := 0
	for _, p := range paths {
		v := open(p)
		switch {
		case v.reg == nil:
			f.add("warn", "name", fmt.Sprintf("%s: %v", v.name(), v.err), "shmctl doctor "+v.name())
		case v.vacant():
			f.add("warn", "name", fmt.Sprintf("%s: no living process uses it (%s)", v.name(), size(v.reg.Layout().Size)),
				"a successor goes on with it; or remove it: shmctl rm "+v.name())
		default:
			used++
		}
		v.close()
	}
	f.ok("names", "%d of %d in %s are in use", used, len(paths), namesDir())
	for _, s := range strays {
		hint := "rm " + s
		if name, isLock := strings.CutSuffix(s, ".lock"); isLock {
			hint = "shmctl rm " + shortName(name) + "; or leave it to the next process that opens the name"
		}
		f.add("warn", "stray", s+" belongs to nothing: a process died while it opened or removed a name", hint)
	}
}

// vacant tells whether no living process has or carries a role.
func (v *view) vacant() bool {
	for role := range v.reg.Layout().Roles {
		if e, err := v.reg.Endpoint(role); err != nil || !e.Vacant() {
			return false
		}
	}
	return true
}

// channel looks for what is wrong with a name.
func (f *findings) channel(name string, span time.Duration) {
	v := open(name)
	defer v.close()
	if v.reg == nil {
		f.add("FAIL", "header", explain(name, v.err).Error(), "if it is a damaged channel: end its users, then shmctl rm "+name)
		return
	}
	f.ok("header", "%s of %s, made %s ago, checksum and sections are sound", v.kind(), size(v.reg.Layout().Size), age(v.reg.Age()))
	if err := v.reg.LockError(); err != nil {
		f.add("warn", "locks", err.Error(), "without it who lives is a guess from process ids; run as the owner, or see the message")
	} else {
		f.ok("locks", "the kernel can be asked who lives")
	}
	if v.reg.Stale() {
		f.add("warn", "boot", "it was made before the last reboot", "the next process that opens it makes it anew; or shmctl rm "+name)
	}
	if retired, err := v.reg.Retired(); err == nil && retired {
		f.add("warn", "name", "it was removed or replaced while it was looked at", "look again")
	}
	if v.pool != nil {
		f.pool(v, span)
		return
	}
	if v.ch == nil {
		f.add("warn", "channel", v.err.Error(), "shmctl stat "+name+" shows what is there")
		return
	}
	f.traffic(v, span)
}

// traffic looks at the ring and at the ends, twice.
func (f *findings) traffic(v *view, span time.Duration) {
	if err := v.ch.Check(); err != nil {
		f.add("FAIL", "ring", err.Error(), "messages can be lost or doubled: end both processes, then shmctl rm "+v.name())
		return
	}
	look := func() (s shmchan.Stats, pool []slabpool.Stats, err error) {
		if s, err = v.ch.Stats(); err == nil {
			pool, err = v.ch.Pool()
		}
		return s, pool, err
	}
	a, poolA, err := look()
	if err == nil {
		time.Sleep(span)
		var b shmchan.Stats
		var poolB []slabpool.Stats
		if b, poolB, err = look(); err == nil {
			f.ok("ring", "every slot is sound; %d of %d messages wait", b.Len, v.ch.Info().Cap)
			f.ends(v, b)
			f.rates(v, a, b)
			f.classes(poolA, poolB)
			return
		}
	}
	f.add("FAIL", "ring", err.Error(), "end both processes, then shmctl rm "+v.name())
}

// ends tells of those who are not there.
func (f *findings) ends(v *view, s shmchan.Stats) {
	for i, e := range []shmchan.EndStats{s.Sender, s.Receiver} {
		what, peer := [2]string{"sender", "receiver"}[i], [2]string{"receiver", "sender"}[i]
		switch {
		case e.Phase == region.Dead || e.Life == region.Gone:
			hint := "start it again: it goes on exactly where the dead one stopped. The " + peer + " is told ErrPeerDied, once"
			f.add("warn", what, fmt.Sprintf("process %d ended without Close; %d messages wait", e.PID, s.Len), hint)
		case e.Phase == region.Attached && stopped(e.Endpoint):
			f.add("warn", what, fmt.Sprintf("process %s is stopped", end(e.Endpoint, false)), "it is waited for, not dead; kill -CONT "+fmt.Sprint(e.PID)+", or end it")
		case e.Phase == region.Attached, e.Phase == region.Transit:
			f.ok(what, "%s, %s", end(e.Endpoint, e.Sleeping), state(e.Endpoint))
		case e.Phase == region.Closed && i == 1:
			f.add("warn", what, fmt.Sprintf("has closed; %d messages are lost", s.Len), "the sender gets ErrClosed; open the name again after it has left")
		case e.Phase == region.Closed:
			f.ok(what, "has closed; %d messages can still be received", s.Len)
		default:
			f.add("warn", what, "nobody is attached ("+e.Phase.String()+")", "the "+peer+" waits for one; start it")
		}
		if e.Deaths > 0 && e.Life == region.Alive {
			f.ok(what, "%d predecessors ended without Close", e.Deaths)
		}
	}
	if s.Sender.Vacant() && s.Receiver.Vacant() {
		f.add("warn", "name", fmt.Sprintf("stale: no living process uses it, and %s stay allocated", size(v.ch.Info().Bytes)), "shmctl rm "+v.name())
	}
}

// What counts as thrashing: this many parks a second, and one for at most this
// many messages.
const (
	manyParks = 1000
	perPark   = 4
)

// rates tells what is too slow.
func (f *findings) rates(v *view, a, b shmchan.Stats) {
	r := between(a, b, v.ch.Info().Cap)
	f.ok("rates", "%s/s sent, %s/s received, %d%% full; parks: sender %s/s, receiver %s/s",
		count(r.Sent), count(r.Received), r.Percent, count(r.Sender.Parks), count(r.Receiver.Parks))
	span := b.Time.Sub(a.Time).Round(10 * time.Millisecond)
	full := a.Len == v.ch.Info().Cap && b.Len == a.Len
	switch {
	case full && b.Received == a.Received && b.Receiver.Life == region.Alive:
		f.add("warn", "receiver", fmt.Sprintf("took nothing in %v, and the channel is full", span),
			fmt.Sprintf("it is stuck outside of the library: look at process %d", b.Receiver.PID))
	case r.Percent >= 90 && r.Sender.Waits > 0 || full && r.Received > 0:
		f.add("warn", "receiver", fmt.Sprintf("is slower than the sender: %d%% full, and the sender waited %s times a second", r.Percent, count(r.Sender.Waits)),
			"a larger capacity only delays that; make the receiver faster, or use RecvBatch")
	}
	parks := r.Sender.Parks + r.Receiver.Parks
	if parks >= manyParks && r.Received < perPark*parks {
		f.add("warn", "parking", fmt.Sprintf("%s parks a second for %s messages: nearly every message costs a park and a wake", count(parks), count(r.Received)),
			"send in batches, use waiter.Adaptive or waiter.Spin if a CPU can be spared, or give the two processes different CPUs")
	}
}
