package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// A peer is the second process, started for one job.
type peer struct {
	job     job
	cmd     *exec.Cmd
	results *shmchan.Receiver[result]
}

// start starts this program again for a job, with the ends of the transport,
// which it closes here, and waits until the new process has attached to all.
func start(ctx context.Context, j job, ends []*os.File) (*peer, error) {
	tx, rx, err := shmchan.Pair[result](shmchan.WithCapacity(1))
	if err != nil {
		return nil, errors.Join(err, closeAll(ends))
	}
	p := &peer{job: j, results: rx}
	end, err := tx.File()
	if err != nil {
		return nil, errors.Join(err, tx.Close(), rx.Close(), closeAll(ends))
	}
	ends = append([]*os.File{end}, ends...)
	if err := p.exec(ctx, ends); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start the second process: %w", err), closeAll(ends), rx.Close())
	}
	if err := errors.Join(closeAll(ends), rx.WaitPeer(ctx)); err != nil {
		return nil, p.end(err)
	}
	return p, nil
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

// end waits for the second process, which ends by itself once our ends of all
// channels are closed. The error says what went wrong on both sides.
func (p *peer) end(err error) error {
	err = errors.Join(err, p.results.Close())
	status := p.cmd.Wait()
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
	r := run{pid: p.cmd.Process.Pid}
	begin := time.Now()
	if err = send(ctx, out, c, bar); err == nil {
		r.got, err = p.results.Recv(ctx)
	}
	r.took = time.Since(begin)
	return r, p.end(err)
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
	r := run{pid: p.cmd.Process.Pid}
	if r.trips, err = ping(ctx, out, n, pingBudget, bar); err == nil {
		r.got, err = p.results.Recv(ctx)
	}
	return r, p.end(err)
}

// check compares what the second process received with what was sent.
func check(j job, want, got result) error {
	if want != got {
		return fmt.Errorf("%v: the two sides differ\n  sent:     %v\n  received: %v", j, want, got)
	}
	return nil
}

func errEcho(sent, got uint64) error {
	return fmt.Errorf("sent %d and got %d back", sent, got)
}

func closeAll(files []*os.File) error {
	var errs []error
	for i, f := range files {
		if i == 0 || f != files[i-1] { // a socket is there twice
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
