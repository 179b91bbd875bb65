package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// A transport is a way from one process to another. The first process opens
// it, and gets its own end and the descriptors that the second process needs
// to attach to the other.
type transport interface {
	name() string

	openStream() (recordSender, []*os.File, error)
	attachStream() (recordReceiver, error)

	pings() bool // whether round trips are measured too

	openPing() (pinger, []*os.File, error)
	attachPing() (pinger, error)
}

// The first is what the others are compared with.
var transports = []transport{
	shared{},
	kernel{"os.Pipe", pipes, 1},
	kernel{"os.Pipe, batched", pipes, batched},
	kernel{"Unix socket", socket, 1},
	kernel{"Unix socket, batched", socket, batched},
}

// A pinger is one end of a way there and back.
type pinger interface {
	Send(context.Context, uint64) error
	Recv(context.Context) (uint64, error)
	Close() error
}

// ping sends a number, waits until it is back, and again, at most n times and
// not for longer than pingBudget. It returns the time of each trip.
func ping(ctx context.Context, p pinger, n int, bar *progress) ([]time.Duration, error) {
	trips := make([]time.Duration, 0, n)
	begin := time.Now()
	// One look at the clock a trip: the end of one is the start of the next.
	for last := time.Duration(0); len(trips) < n && last < pingBudget; {
		if err := trip(ctx, p, uint64(len(trips))); err != nil {
			return nil, err
		}
		now := time.Since(begin)
		trips = append(trips, now-last)
		last = now
		if len(trips)%1024 == 0 {
			bar.add(1024)
		}
	}
	return trips, nil
}

func trip(ctx context.Context, p pinger, sent uint64) error {
	if err := p.Send(ctx, sent); err != nil {
		return err
	}
	got, err := p.Recv(ctx)
	if err == nil && got != sent {
		err = fmt.Errorf("sent %d and got %d back", sent, got)
	}
	return err
}

// echo sends back what comes, until the other side closes, and counts it.
func echo(ctx context.Context, p pinger) (result, error) {
	var r result
	for {
		v, err := p.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return r, err
		}
		if err := p.Send(ctx, v); err != nil {
			return r, err
		}
		r.Records++
	}
}
