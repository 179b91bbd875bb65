package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/shmkit/shm/shmchan"
)

// A terminal is a tmux server of our own with one window.
type terminal struct {
	t    testing.TB
	name string
}

// inTerminal runs the tool in a terminal of 80 by 24 characters.
func inTerminal(t testing.TB, args ...string) *terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not installed, and top needs a terminal")
	}
	term := &terminal{t, fmt.Sprintf("shmctl-test-%d-%d", os.Getpid(), time.Now().UnixNano())}
	cmd := fmt.Sprintf("SHMCHAN_DIR='%s' LC_ALL=C.UTF-8 '%s' %s; echo exit $?; read end", os.Getenv(dirEnv), binary, strings.Join(args, " "))
	t.Cleanup(func() { exec.Command("tmux", "-L", term.name, "kill-server").Run() })
	term.tmux("-f", "/dev/null", "-u", "new-session", "-d", "-x", "80", "-y", "24", "-s", "t", cmd)
	return term
}

func (term *terminal) tmux(args ...string) string {
	term.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-L", term.name}, args...)...).CombinedOutput()
	if err != nil {
		term.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// screen is what the terminal shows.
func (term *terminal) screen() string {
	term.t.Helper()
	return term.tmux("capture-pane", "-p", "-t", "t")
}

// shows waits until the screen has all parts.
func (term *terminal) shows(parts ...string) string {
	term.t.Helper()
	var text string
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		text = term.screen()
		missing := ""
		for _, p := range parts {
			if !strings.Contains(text, p) {
				missing = p
			}
		}
		if missing == "" {
			return text
		}
		if time.Now().After(end) {
			term.t.Fatalf("%q does not come:\n%s", missing, text)
		}
	}
}

func (term *terminal) keys(keys ...string) {
	term.t.Helper()
	term.tmux(append([]string{"send-keys", "-t", "t"}, keys...)...)
}

func TestTop(t *testing.T) {
	here(t)
	tx, rx := pair(t, "alpha", shmchan.WithCapacity(8))
	send(t, tx, 4)
	full, _ := pair(t, "beta", shmchan.WithCapacity(4))
	send(t, full, 4)
	term := inTerminal(t, "top", "--interval", "50ms")
	pid := fmt.Sprint(os.Getpid())
	text := term.shows("shmctl top", "NAME", "alpha", "50%", "beta", "█████████ 100%", "SENT/s", "HISTORY", pid, "q quit  s sort  r reverse", "names: 2")
	for _, line := range strings.Split(text, "\n") {
		if n := utf8.RuneCountInString(line); n > 80 {
			t.Errorf("%d characters: %q", n, line)
		}
	}
	if lines := strings.Count(strings.TrimRight(text, "\n"), "\n") + 1; lines != 24 {
		t.Errorf("%d lines", lines)
	}

	// What flows shows as rates and as a history.
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			rx.TryRecv()
			tx.TrySend(tick{})
			time.Sleep(time.Millisecond)
		}
	}()
	term.shows("█")
	until(t, "rates", func() bool {
		for _, l := range strings.Split(term.screen(), "\n") {
			if f := strings.Fields(l); len(f) > 5 && f[0] == "alpha" && strings.ContainsAny(l, "▂▃▄▅▆▇█") && f[len(f)-4] != "0" {
				return true
			}
		}
		return false
	})
	cancel()
	<-done

	// Keys: by name, reversed; the selected one's counters, and back.
	first := func() string {
		for _, l := range strings.Split(term.screen(), "\n") {
			if strings.HasPrefix(l, "alpha") || strings.HasPrefix(l, "beta") {
				return strings.Fields(l)[0]
			}
		}
		return ""
	}
	for range len(columns) - 2 {
		term.keys("s")
	}
	term.shows("by name")
	until(t, "alpha first", func() bool { return first() == "alpha" })
	term.keys("r")
	until(t, "beta first", func() bool { return first() == "beta" })
	term.keys("Up", "Up", "Enter")
	term.shows("beta  (", "sent 4, received 0", "(channel full)", "a second  0 waits")
	term.keys("Escape")
	term.shows("NAME", "alpha")
	term.keys("p")
	term.shows("paused")
	term.keys("p", "-")
	term.shows("every 100ms")

	// Who goes and comes is seen.
	must(t, full.Detach())
	term.shows("detached")
	must(t, shmchan.Remove("beta"))
	term.shows("names: 1")
	h := holder(t, "gamma")
	term.shows("gamma", fmt.Sprint(h.Process.Pid))
	h.Process.Kill()
	h.Wait()
	term.shows("dead")
	term.keys("q")
	term.shows("exit 0")
}

func TestTopWithoutATerminal(t *testing.T) {
	t.Setenv("TERM", "nonsense")
	fails(t, []string{"top"}, "top needs a terminal", "stat NAME --watch")
	fails(t, []string{"top", "--interval", "1ns"}, "want 50ms to 1m0s")
}

// What looking costs a channel: throughput with top running, beside without.
// The limit is generous, since the machine is shared; the figure is in
// docs/performance.md.
func TestTopDoesNotDisturb(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for seconds")
	}
	here(t)
	tx, rx := pair(t, "watched")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for tx.Send(ctx, tick{}) == nil {
		}
	}()
	defer func() { cancel(); <-done }()
	o, err := shmchan.Observe("watched")
	must(t, err)
	defer o.Close()
	rate := func() float64 {
		const span = 200 * time.Millisecond
		n, start := 0, time.Now()
		for time.Since(start) < span {
			for range 1000 {
				if _, err := rx.Recv(ctx); err != nil {
					t.Fatal(err)
				}
			}
			n += 1000
		}
		return float64(n) / time.Since(start).Seconds()
	}
	term := inTerminal(t, "top", "--interval", "50ms")
	term.shows("watched")
	// Medians of five spans each, in turns; thrice if need be, since the machine
	// may be busy with something else. An observer that slows a channel to less
	// than half does so each time.
	var a, b float64
	for range 3 {
		var with, without []float64
		for range 5 {
			with = append(with, rate())
			term.keys("p")
			term.shows("paused")
			without = append(without, rate())
			term.keys("p")
			term.shows("every 50ms")
		}
		a, b = median(with), median(without)
		t.Logf("%s messages/s with top looking every 50 ms, %s with it paused: %.2f", count(a), count(b), a/b)
		if a >= b/2 {
			break
		}
	}
	if a < b/2 {
		t.Errorf("%.0f messages/s while top looks, %.0f while it does not, three times", a, b)
	}
	before, err := o.Stats()
	must(t, err)
	// Nobody was woken, and nobody died, on account of it.
	if before.Sender.Deaths+before.Receiver.Deaths != 0 || before.Sender.Epoch != 1 || before.Receiver.Epoch != 1 {
		t.Errorf("%+v", before)
	}
	term.keys("q")
	term.shows("exit 0")
}
