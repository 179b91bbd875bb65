//go:build linux

package main

import (
	"fmt"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/spf13/cobra"
)

func topCommand() *cobra.Command {
	var every time.Duration
	c := &cobra.Command{
		Use:   "top",
		Short: "Show all channels live",
		Long: `Show all channels live: how full, messages a second in and out, the history of the
latter, and who is at the ends: the process id, P for parked, T for stopped.

  q, Esc, Ctrl-C   quit
  s, r             sort by the next column; reverse
  up, down, k, j   select a channel
  Enter            its counters, and back
  p, space         pause
  +, -             look more or less often`,
		Example: `  shmctl top
  shmctl top --interval 200ms --dir /dev/shm/feeds`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if every < minEvery || every > maxEvery {
				return fmt.Errorf("--interval %v: want %v to %v", every, minEvery, maxEvery)
			}
			s, err := tcell.NewScreen()
			if err == nil {
				err = s.Init()
			}
			if err != nil {
				return fmt.Errorf("top needs a terminal: %w; for a file or a pipe use `shmctl stat NAME --watch`", err)
			}
			defer s.Fini()
			t := &top{screen: s, board: newBoard(), every: every}
			defer t.board.close()
			t.run(c.Context().Done())
			return nil
		},
	}
	c.Flags().DurationVar(&every, "interval", time.Second, "time between two looks")
	return c
}

const (
	minEvery = 50 * time.Millisecond
	maxEvery = time.Minute
)

// A top is the screen and what it shows.
type top struct {
	screen   tcell.Screen
	board    *board
	every    time.Duration
	paused   bool
	selected string // path
	first    int    // row at the head of the table
	details  bool
}

// run shows until the user or done ends it.
func (t *top) run(done <-chan struct{}) {
	events, quit := make(chan tcell.Event), make(chan struct{})
	defer close(quit)
	go t.screen.ChannelEvents(events, quit)
	t.board.look()
	ticker := time.NewTicker(t.every)
	defer ticker.Stop()
	for {
		t.draw()
		select {
		case <-done:
			return
		case <-ticker.C:
			if !t.paused {
				t.board.look()
			}
		case e, ok := <-events:
			if !ok {
				return
			}
			switch e := e.(type) {
			case *tcell.EventResize:
				t.screen.Sync()
			case *tcell.EventKey:
				if t.key(e) {
					return
				}
				ticker.Reset(t.every)
			}
		}
	}
}

// key does what a key says, and reports whether that is to quit.
func (t *top) key(e *tcell.EventKey) (quit bool) {
	switch e.Key() {
	case tcell.KeyCtrlC:
		return true
	case tcell.KeyEscape:
		if !t.details {
			return true
		}
		t.details = false
	case tcell.KeyUp:
		t.move(-1)
	case tcell.KeyDown:
		t.move(1)
	case tcell.KeyEnter:
		t.details = !t.details
	case tcell.KeyRune:
		switch e.Rune() {
		case 'q':
			return true
		case 's':
			t.board.sort = (t.board.sort + 1) % len(columns)
			t.board.arrange()
		case 'r':
			t.board.desc = !t.board.desc
			t.board.arrange()
		case 'p', ' ':
			t.paused = !t.paused
		case 'k':
			t.move(-1)
		case 'j':
			t.move(1)
		case '+':
			t.every = max(t.every/2, minEvery)
		case '-':
			t.every = min(t.every*2, maxEvery)
		}
	}
	return false
}

// index is the place of the selected row, 0 if it has gone.
func (t *top) index() int {
	for i, r := range t.board.list {
		if r.v.path == t.selected {
			return i
		}
	}
	return 0
}

func (t *top) move(by int) {
	if n := len(t.board.list); n > 0 {
		t.selected = t.board.list[min(max(t.index()+by, 0), n-1)].v.path
	}
}

var (
	plain   = tcell.StyleDefault
	dim     = plain.Dim(true)
	heading = plain.Bold(true)
	chosen  = plain.Reverse(true)
	alarm   = plain.Foreground(tcell.ColorRed)
	warning = plain.Foreground(tcell.ColorYellow)
)

func (t *top) draw() {
	t.screen.Clear()
	width, height := t.screen.Size()
	b := t.board
	sent, received := b.totals()
	state := "every " + since(t.every)
	if t.paused {
		state = "paused"
	}
	t.put(0, heading, fmt.Sprintf("shmctl top  %s  by %s  names: %d  %s/s in, %s/s out  %s", state, columns[b.sort].name, len(b.list), count(sent), count(received), namesDir()))
	table := max(height-3, 0) // lines for rows
	at := t.index()
	if t.details && len(b.list) > 0 {
		t.detail(b.list[at], height)
	} else {
		t.put(1, dim, title(width))
		t.first = min(max(t.first, at-table+1), at)
		for i := 0; i < table && t.first+i < len(b.list); i++ {
			r := b.list[t.first+i]
			style := r.style()
			if t.first+i == at {
				style = chosen
			}
			t.put(2+i, style, r.text(width))
		}
		switch {
		case b.err != nil:
			t.put(2, alarm, b.err.Error())
		case len(b.list) == 0:
			t.put(2, dim, "nothing there; a channel shows when a process opens it")
		}
	}
	t.put(height-1, dim, "q quit  s sort  r reverse  ↑↓ select  Enter details  p pause  + - interval")
	t.screen.Show()
}

// detail shows the counters of one channel.
func (t *top) detail(r *row, height int) {
	lines := []string{fmt.Sprintf("%s: %s", printable(r.v.name()), r.v.kind())}
	if r.v.err != nil {
		lines = append(lines, r.v.err.Error())
	}
	if r.v.pool != nil {
		lines = r.v.poolLines(r.pool)
	}
	if r.v.ch != nil {
		pool, err := r.v.ch.Pool()
		if err != nil {
			r.err = err
		}
		lines = r.v.lines(r.last, pool)
		lines = append(lines, "", fmt.Sprintf("a second  %s waits, %s parks, %s wakes (sender); %s, %s, %s (receiver)",
			count(r.rate.Sender.Waits), count(r.rate.Sender.Parks), count(r.rate.Sender.Wakes),
			count(r.rate.Receiver.Waits), count(r.rate.Receiver.Parks), count(r.rate.Receiver.Wakes)))
	}
	for i, l := range lines {
		if 2+i < height-1 {
			t.put(2+i, plain, l)
		}
	}
}

// style shows what is wrong.
func (r *row) style() tcell.Style {
	switch {
	case r.v.ch == nil && r.v.pool == nil, r.err != nil, dead(r.last.Sender.Endpoint), dead(r.last.Receiver.Endpoint):
		return alarm
	case r.fill() >= 90:
		return warning
	}
	return plain
}

// put writes a line, cut at the edge of the screen.
func (t *top) put(y int, style tcell.Style, text string) {
	width, _ := t.screen.Size()
	x := 0
	for _, r := range clip(text, width) {
		t.screen.SetContent(x, y, r, nil, style)
		x++
	}
	if style == chosen {
		for ; x < width; x++ {
			t.screen.SetContent(x, y, ' ', nil, style)
		}
	}
}
