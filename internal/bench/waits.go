//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

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
	const cpu = "CPU time of a receiver, one message a millisecond, "
	list = append(list,
		Scenario{Name: cpu + "adaptive", N: 1_000, run: trickle(waiter.Adaptive)},
		Scenario{Name: cpu + "park", N: 1_000, run: trickle(waiter.Park)},
		Scenario{Name: cpu + "os.Pipe", N: 1_000, run: pipeTrickle},
		Scenario{Name: cpu + "bare futex loop", N: 1_000, run: futexTrickle(syscall.Syscall6)},
		Scenario{Name: cpu + "bare futex loop that keeps its P", N: 1_000, run: futexTrickle(syscall.RawSyscall6)})
	for _, c := range []struct {
		name string
		set  func(*session) (back func(), err error)
	}{
		{"one CPU for both", func(*session) (func(), error) { return pinAll(0) }},
		{"GOMAXPROCS=1", func(*session) (func(), error) {
			before := runtime.GOMAXPROCS(1)
			return func() { runtime.GOMAXPROCS(before) }, nil
		}},
		{"more busy processes than CPUs", hogs},
	} {
		for _, x := range []struct {
			name string
			run  func(*session, int) error
		}{
			{"round trip 8 B, adaptive", pingPong[m8](waiter.Adaptive, 0)},
			{"round trip 8 B, park", pingPong[m8](waiter.Park, 0)},
			{"os.Pipe round trip 8 B", conns(bounce)},
		} {
			list = append(list, Scenario{Name: x.name + ", " + c.name, N: 2_000, run: func(s *session, n int) error {
				back, err := c.set(s)
				if err != nil {
					return err
				}
				defer back()
				return x.run(s, n)
			}})
		}
	}
	return list
}

// hogs runs something busy for each CPU.
func hogs(s *session) (stop func(), err error) {
	var cmds []*exec.Cmd
	stop = func() {
		for _, cmd := range cmds {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	for range runtime.NumCPU() {
		if s.side != 0 {
			break
		}
		cmd := exec.Command("/bin/sh", "-c", "while :; do :; done")
		cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
		if err := cmd.Start(); err != nil {
			stop()
			return nil, err
		}
		cmds = append(cmds, cmd)
	}
	// A child has the CPU of the thread that started it; these are for all.
	var all unix.CPUSet
	for cpu := range runtime.NumCPU() {
		all.Set(cpu)
	}
	for _, cmd := range cmds {
		unix.SchedSetaffinity(cmd.Process.Pid, &all)
	}
	return stop, nil
}

// pinAll ties all threads of this process to one of its two CPUs, until back.
func pinAll(side int) (back func(), err error) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, err
	}
	was := map[int]unix.CPUSet{}
	back = func() {
		for id, set := range was {
			unix.SchedSetaffinity(id, &set)
		}
	}
	one := cpu(side)
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		var set unix.CPUSet
		if unix.SchedGetaffinity(id, &set) != nil {
			continue // it has ended
		}
		was[id] = set
		if err := unix.SchedSetaffinity(id, &one); err != nil {
			back()
			return nil, os.NewSyscallError("sched_setaffinity", err)
		}
	}
	return back, nil
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
	back, err := pinAll(s.side)
	if err != nil {
		return err
	}
	defer back()
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

// trickle receives one message a millisecond. What it reports is not the time
// but how much CPU time the receiver used for each.
func trickle(p waiter.Policy) func(*session, int) error {
	return func(s *session, n int) error {
		if s.side == 1 {
			tx, err := shmchan.OpenSender[m8](s.name("trickle"))
			if err != nil {
				return err
			}
			defer tx.Close()
			s.meet()
			return slowly(n, func() error { return tx.Send(ctx, m8{}) })
		}
		rx, err := shmchan.OpenReceiver[m8](s.name("trickle"), shmchan.WithWait(p))
		if err != nil {
			return err
		}
		defer rx.Close()
		s.meet()
		return s.charged(n, func() error { _, err := rx.Recv(ctx); return err })
	}
}

func pipeTrickle(s *session, n int) error {
	var b [8]byte
	s.meet()
	if s.side == 1 {
		return slowly(n, func() error { _, err := s.out.Write(b[:]); return err })
	}
	return s.charged(n, func() error { _, err := io.ReadFull(s.in, b[:]); return err })
}

// futexTrickle is a loop of bare system calls: what the kernel takes, and what
// Go's scheduler adds if it is told of the call (Syscall6), as it must be where
// other goroutines are to run meanwhile.
func futexTrickle(call func(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err syscall.Errno)) func(*session, int) error {
	return func(s *session, n int) error {
		w := &s.page.bell[0].v
		i := atomic.LoadUint32(w)
		s.meet()
		if s.side == 1 {
			return slowly(n, func() error {
				atomic.AddUint32(w, 1)
				syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(w)), 1, 1, 0, 0, 0)
				return nil
			})
		}
		return s.charged(n, func() error {
			i++
			for v := atomic.LoadUint32(w); int32(v-i) < 0; v = atomic.LoadUint32(w) {
				call(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(w)), 0, uintptr(v), 0, 0, 0)
			}
			return nil
		})
	}
}

func slowly(n int, send func() error) error {
	for range n {
		time.Sleep(time.Millisecond)
		if err := send(); err != nil {
			return err
		}
	}
	return nil
}

// charged measures the CPU time of this process.
func (s *session) charged(n int, recv func() error) error {
	before, err := cpuTime()
	if err != nil {
		return err
	}
	for range n {
		if err := recv(); err != nil {
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
