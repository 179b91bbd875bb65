package main

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmkit/shm/chantrace"
	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

func TestTrace(t *testing.T) {
	here(t)
	fails(t, []string{"trace", "none"}, `there is no "none"`)
	fails(t, []string{"trace", "--interval", "1ms"}, "too short")
	tx, rx := pair(t, "ticks")
	if err := chantrace.Supported(); err != nil {
		fails(t, []string{"trace", "ticks"}, "stat NAME --watch")
		t.Skipf("not here: %v", err)
	}
	must(t, rx.Detach())
	rx, err := shmchan.OpenReceiver[tick]("ticks", shmchan.WithWait(waiter.Park))
	must(t, err)
	t.Cleanup(func() { rx.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	asked := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			rx.Recv(ctx)
			select {
			case asked <- struct{}{}:
			case <-ctx.Done():
			}
		}
	}()
	go func() {
		for tx.Send(ctx, tick{}) == nil {
			select {
			case <-asked:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() { cancel(); <-done }()
	svg := filepath.Join(t.TempDir(), "ticks.svg")
	out, errs, code := run(t, "trace", "ticks", "--for", "1s", "--svg", svg)
	if code != 0 {
		t.Fatal(out + errs)
	}
	contains(t, out, "ticks receiver: last slept shmctl.test", "woken to running")
	contains(t, errs, "wrote "+svg)
	b, err := os.ReadFile(svg)
	must(t, err)
	contains(t, string(b), "<svg", "ticks receiver")
	for d := xml.NewDecoder(strings.NewReader(string(b))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	fails(t, []string{"trace", "--svg", "/nonsense/x.svg"}, "/nonsense/x.svg")
}
