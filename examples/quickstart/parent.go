package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// A peer is the second process, started for one job.
type peer struct {
	job     job
	cmd     *exec.Cmd
	results *shmchan.Receiver[result]
}

// start starts this program again for a job, with the descriptors of the
// transport, which it closes here.
func start(ctx context.Context, j job, ends []*os.File) (*peer, error) {
	defer func() { closeAll(ends) }()
	// Room for all that it ever sends, so that it can end without us.
	tx, rx, err := shmchan.Pair[result](shmchan.WithCapacity(2))
	if err != nil {
		return nil, err
	}
	end, err := tx.File()
	if err != nil {
		return nil, errors.Join(err, tx.Close(), rx.Close())
	}
	ends = append([]*os.File{end}, ends...)
	p := &peer{job: j, results: rx}
	if err := p.exec(ctx, ends); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start the second process: %w", err), rx.Close())
	}
	return p, nil
}

// ready waits until the second process says that it has attached to all.
func (p *peer) ready(ctx context.Context) error {
	_, err := p.results.Recv(ctx)
	return err
}

func (p *peer) exec(ctx context.Context, ends []*os.File) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p.cmd = exec.CommandContext(ctx, self) // killed when ctx ends
	p.cmd.Env = append(os.Environ(), jobVar+"="+p.job.String())
	p.cmd.Stderr = os.Stderr
	p.cmd.ExtraFiles = ends // descriptors 3, 4 and so on over there
	return p.cmd.Start()
}

// finish waits for the result, unless something went wrong before.
func (p *peer) finish(ctx context.Context, err error) (result, error) {
	if err != nil {
		return result{}, err
	}
	return p.results.Recv(ctx)
}

// end waits for the second process, which ends by itself once our end of the
// transport is closed. The error says what went wrong on both sides.
func (p *peer) end(err error) error {
	status := p.cmd.Wait()
	err = errors.Join(err, p.results.Close())
	switch {
	case err != nil && status != nil:
		return fmt.Errorf("%v: %w; the second process (pid %d) ended with: %w", p.job, err, p.cmd.Process.Pid, status)
	case err != nil:
		return fmt.Errorf("%v: %w", p.job, err)
	case status != nil:
		return fmt.Errorf("%v: the second process (pid %d) ended with: %w", p.job, p.cmd.Process.Pid, status)
	}
	return nil
}

// A run is one job done.
type run struct {
	pid   int
	got   result
	took  time.Duration
	trips []time.Duration // of a ping
}

// stream sends everything to a second process. The clock runs from the moment
// when both are attached until the result of the other is here.
func stream(ctx context.Context, j job, c *corpus, bar *progress) (run, error) {
	out, ends, err := j.transport.openStream()
	if err != nil {
		return run{}, fmt.Errorf("%v: %w", j, err)
	}
	p, err := start(ctx, j, ends)
	if err != nil {
		return run{}, errors.Join(err, out.Close())
	}
	err = p.ready(ctx)
	begin := time.Now()
	if err == nil {
		err = send(ctx, out, c, bar)
	}
	got, err := p.finish(ctx, errors.Join(err, out.Close()))
	return run{pid: p.cmd.Process.Pid, got: got, took: time.Since(begin)}, p.end(err)
}

// pingPong measures round trips to a second process that sends back what comes.
func pingPong(ctx context.Context, j job, n int, bar *progress) (run, error) {
	out, ends, err := j.transport.openPing()
	if err != nil {
		return run{}, fmt.Errorf("%v: %w", j, err)
	}
	p, err := start(ctx, j, ends)
	if err != nil {
		return run{}, errors.Join(err, out.Close())
	}
	var trips []time.Duration
	if err = p.ready(ctx); err == nil {
		trips, err = ping(ctx, out, n, bar)
	}
	got, err := p.finish(ctx, errors.Join(err, out.Close()))
	return run{pid: p.cmd.Process.Pid, got: got, trips: trips}, p.end(err)
}

// check compares what the second process received with what was sent.
func check(j job, want, got result) error {
	if want != got {
		return fmt.Errorf("%v: the two sides differ\n  sent:     %v\n  received: %v", j, want, got)
	}
	return nil
}

// closeAll closes our copies, whose errors matter to nobody. A socket is there
// twice.
func closeAll(files []*os.File) {
	for _, f := range slices.Compact(files) {
		f.Close()
	}
}
