package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A progress draws a bar, ten times a second. A nil one draws nothing.
type progress struct {
	out  io.Writer
	done atomic.Int64 // of total

	mu    sync.Mutex
	label string
	total int64 // 0: not known

	quit  chan struct{}
	drawn sync.WaitGroup
	once  sync.Once
}

// newProgress gives nil if f is no terminal.
func newProgress(f *os.File) *progress {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Getenv("TERM") == "dumb" {
		return nil
	}
	p := &progress{out: f, label: "files read", quit: make(chan struct{})}
	p.drawn.Go(p.loop)
	return p
}

// begin starts the next piece of work.
func (p *progress) begin(label string, total int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.label, p.total = label, total
	p.done.Store(0)
}

func (p *progress) add(n int) {
	if p != nil {
		p.done.Add(int64(n))
	}
}

// stop wipes the bar. It may be called twice.
func (p *progress) stop() {
	if p == nil {
		return
	}
	p.once.Do(func() { close(p.quit) })
	p.drawn.Wait()
}

func (p *progress) loop() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.quit:
			fmt.Fprint(p.out, "\r\x1b[K")
			return
		case <-tick.C:
			p.draw()
		}
	}
}

func (p *progress) draw() {
	const width = 30
	p.mu.Lock()
	defer p.mu.Unlock()
	done := p.done.Load()
	if p.total <= 0 {
		fmt.Fprintf(p.out, "\r\x1b[K%s %d", p.label, done)
		return
	}
	filled := int(width * min(done, p.total) / p.total)
	fmt.Fprintf(p.out, "\r\x1b[K[%s%s] %s", strings.Repeat("#", filled), strings.Repeat(".", width-filled), p.label)
}
