package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/shmkit/shm/shmchan"
)

// jobVar is set in the environment of the second process, and names its job.
const jobVar = "SHM_QUICKSTART_JOB"

// What the second process can do.
const (
	taskHash  = "SHA-256"
	taskTouch = "CRC-32C"
	taskPing  = "ping"
)

// A job is a task done over a transport.
type job struct {
	transport transport
	task      string
}

func (j job) String() string { return j.transport.name() + ": " + j.task }

func parseJob(spec string) (job, error) {
	name, task, _ := strings.Cut(spec, ": ")
	i := slices.IndexFunc(transports, func(t transport) bool { return t.name() == name })
	if i < 0 || (digests[task] == nil && task != taskPing) {
		return job{}, fmt.Errorf("%s=%q names no job: leave it to quickstart to set it", jobVar, spec)
	}
	return job{transports[i], task}, nil
}

// resultFD is the descriptor of the channel for results. Those of the transport
// follow it.
const resultFD = 3

// inherited is the i-th descriptor that the transport got from the first process.
func inherited(i int) *os.File {
	return os.NewFile(uintptr(resultFD+1+i), fmt.Sprintf("inherited %d", i))
}

// child is the second process: it does one job and sends the result back.
func child(spec string) error {
	signal.Ignore(os.Interrupt) // the first process hears it too, and decides
	j, err := parseJob(spec)
	if err != nil {
		return err
	}
	if err := j.run(context.Background()); err != nil {
		return fmt.Errorf("second process, %v: %w", j, err)
	}
	return nil
}

func (j job) run(ctx context.Context) error {
	if j.task == taskPing {
		p, err := j.transport.attachPing()
		if err != nil {
			return err
		}
		return deliver(ctx, p, func() (result, error) { return echo(ctx, p) })
	}
	in, err := j.transport.attachStream()
	if err != nil {
		return err
	}
	return deliver(ctx, in, func() (result, error) { return receive(ctx, in, digests[j.task]()) })
}

// deliver tells the first process that all is attached, with an empty result,
// does the work and sends its result.
func deliver(ctx context.Context, end io.Closer, work func() (result, error)) (err error) {
	defer func() { err = errors.Join(err, end.Close()) }()
	out, err := shmchan.SenderFromFile[result](os.NewFile(resultFD, "results"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := out.Send(ctx, result{}); err != nil {
		return err
	}
	r, err := work()
	if err != nil {
		return err
	}
	return out.Send(ctx, r)
}
