//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// A receive is a way to get the next message of a channel.
type receive func(*shmchan.Receiver[m8]) (m8, error)

// waits are the scenarios about waiting: a round trip with both sides parked, by
// each way to wait, on a thread of one's own and at a poller.
func waits() (list []Scenario) {
	for _, w := range []struct {
		name string
		recv func(others []*shmchan.Receiver[m8]) receive
		idle int // channels without messages beside the one at work
	}{
		{"Recv", func([]*shmchan.Receiver[m8]) receive { return byRecv }, 0},
		{"Ready in a select", byReady, 0},
		{"Selector, 1 case", bySelector, 0},
		{"Selector, 8 cases", bySelector, 7},
		{"Selector, 64 cases", bySelector, 63},
	} {
		for _, shared := range []bool{false, true} {
			name := "round trip 8 B, park, " + w.name
			if shared {
				name += ", shared threads"
			}
			list = append(list, Scenario{Name: name, N: 5_000, run: func(s *session, n int) error {
				return waitPingPong(s, n, w.idle, shared, w.recv)
			}})
		}
	}
	return append(list, Scenario{Name: "one message a millisecond, CPU time of the receiver", N: 1_000, run: trickle})
}

func byRecv(rx *shmchan.Receiver[m8]) (m8, error) { return rx.Recv(ctx) }

// byReady waits in a select beside a ticker and a context, as programs do.
func byReady([]*shmchan.Receiver[m8]) receive {
	tick := time.NewTicker(time.Hour)
	ctx, cancel := context.WithCancel(ctx)
	return func(rx *shmchan.Receiver[m8]) (m8, error) {
		for {
			select {
			case <-rx.Ready():
				v, err := rx.TryRecv()
				if !errors.Is(err, shmchan.ErrEmpty) {
					return v, err
				}
			case <-tick.C:
				cancel()
			case <-ctx.Done():
				return m8{}, ctx.Err()
			}
		}
	}
}

func bySelector(others []*shmchan.Receiver[m8]) receive {
	cases := make([]shmchan.Case, len(others)+1)
	for i, rx := range others {
		cases[i] = rx
	}
	sel := shmchan.NewSelector(cases...)
	return func(rx *shmchan.Receiver[m8]) (m8, error) {
		sel.Set(len(others), rx)
		for {
			if _, err := sel.Select(ctx); err != nil {
				return m8{}, err
			}
			v, err := rx.TryRecv()
			if !errors.Is(err, shmchan.ErrEmpty) {
				return v, err
			}
		}
	}
}

// waitPingPong bounces a message, with recv on both sides.
func waitPingPong(s *session, n, idle int, shared bool, way func([]*shmchan.Receiver[m8]) receive) error {
	names := [2]string{s.name("there"), s.name("back")}
	tx, err := shmchan.OpenSender[m8](names[s.side], shmchan.WithWait(waiter.Park))
	if err != nil {
		return err
	}
	defer tx.Close()
	rx, err := shmchan.OpenReceiver[m8](names[1-s.side], shmchan.WithWait(waiter.Park))
	if err != nil {
		return err
	}
	defer rx.Close()
	var others []*shmchan.Receiver[m8]
	for range idle {
		_, o, err := shmchan.Pair[m8](shmchan.WithHeap(), shmchan.WithWait(waiter.Park))
		if err != nil {
			return err
		}
		defer o.Close()
		others = append(others, o)
	}
	if shared {
		stop, err := crowd()
		if err != nil {
			return err
		}
		defer stop()
	}
	if err := tx.WaitPeer(ctx); err != nil {
		return err
	}
	recv := way(others)
	if os.Getenv("PINALL") != "" {
		pinAll(s.side)
	}
	return s.timed(func() error {
		// The harness's goroutine is tied to a thread, and to hand anything to
		// such a one costs a switch of threads. So another one does the work.
		done := make(chan error)
		go func() { done <- bounceBy(recv, tx, rx, s.side, n) }()
		return <-done
	})
}

func bounceBy(recv receive, tx *shmchan.Sender[m8], rx *shmchan.Receiver[m8], side, n int) error {
	var v m8
	for range n {
		if side == 0 {
			if err := tx.Send(ctx, v); err != nil {
				return err
			}
		}
		got, err := recv(rx)
		if err != nil {
			return err
		}
		if side == 1 {
			if err := tx.Send(ctx, got); err != nil {
				return err
			}
		}
	}
	return nil
}

// crowd takes the places of those who park on a thread of their own.
func crowd() (stop func(), err error) {
	const n = 40
	ctx, cancel := context.WithCancel(ctx)
	var ends []*shmchan.Receiver[m8]
	for range n {
		_, rx, err := shmchan.Pair[m8](shmchan.WithHeap(), shmchan.WithWait(waiter.Park))
		if err != nil {
			cancel()
			return nil, fmt.Errorf("crowd: %w", err)
		}
		ends = append(ends, rx)
		go rx.Recv(ctx)
	}
	time.Sleep(20 * time.Millisecond) // until they are blocked
	return func() {
		cancel()
		for _, rx := range ends {
			rx.Close()
		}
	}, nil
}

// trickle receives one message a millisecond with the default policy. What it
// reports is not the time but how much CPU time the receiver used for each.
func trickle(s *session, n int) error {
	if s.side == 1 {
		tx, err := shmchan.OpenSender[m8](s.name("trickle"))
		if err != nil {
			return err
		}
		defer tx.Close()
		s.meet()
		for range n {
			time.Sleep(time.Millisecond)
			if err := tx.Send(ctx, m8{}); err != nil {
				return err
			}
		}
		return nil
	}
	rx, err := shmchan.OpenReceiver[m8](s.name("trickle"))
	if err != nil {
		return err
	}
	defer rx.Close()
	s.meet()
	before, err := cpuTime()
	if err != nil {
		return err
	}
	for range n {
		if _, err := rx.Recv(ctx); err != nil {
			return err
		}
	}
	after, err := cpuTime()
	s.took = after - before
	return err
}

// cpuTime is what this process has used.
func cpuTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, os.NewSyscallError("getrusage", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

func pinAll(side int) {
	var one unix.CPUSet
	one.Set(side)
	d, _ := os.ReadDir("/proc/self/task")
	for _, e := range d {
		id, _ := strconv.Atoi(e.Name())
		unix.SchedSetaffinity(id, &one)
	}
}
