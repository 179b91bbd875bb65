package main

import (
	"context"
	"errors"
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
// not for longer than the budget. It returns the time of each trip and closes p.
func ping(ctx context.Context, p pinger, n int, budget time.Duration, bar *progress) (trips []time.Duration, err error) {
	defer func() { err = errors.Join(err, p.Close()) }()
	trips = make([]time.Duration, 0, n)
	begin := time.Now()
	// One look at the clock a trip: the end of one is the start of the next.
	for last := time.Duration(0); len(trips) < n && last < budget; {
		sent := uint64(len(trips))
		if err := p.Send(ctx, sent); err != nil {
			return nil, err
		}
		got, err := p.Recv(ctx)
		if err != nil {
			return nil, err
		}
		if got != sent {
			return nil, errEcho(sent, got)
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
