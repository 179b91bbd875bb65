//go:build linux

package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// A Scenario is one thing that two processes do n times.
type Scenario struct {
	Name string
	N    int  // operations a round
	Rate bool // report operations per second, not time per operation
	run  func(s *session, n int) error
}

// The message types: 8, 24 and 56 bytes fill slots of 16, 32 and 64.
type (
	m8  struct{ A uint64 }
	m24 struct{ A, B, C uint64 }
	m56 struct{ A, B, C, D, E, F, G uint64 }
)

// Scenarios are all that there are, probes first.
func Scenarios() []Scenario {
	list := []Scenario{
		{Name: "c2c", N: 50_000, run: func(s *session, n int) error { s.page.oneLine(s.side, n); return nil }},
		{Name: "c2c, a line each way", N: 50_000, run: func(s *session, n int) error { s.page.twoLines(s.side, n); return nil }},
		{Name: "raw futex", N: 5_000, run: func(s *session, n int) error { s.page.futexes(s.side, n, 0); return nil }},
		{Name: "raw futex, both parked", N: 5_000, run: parkedFutexes},
	}
	list = append(list, rings[m8](8)...)
	list = append(list, rings[m24](24)...)
	list = append(list, rings[m56](56)...)
	for _, p := range []waiter.Policy{waiter.Spin, waiter.Adaptive} {
		list = append(list,
			Scenario{Name: fmt.Sprintf("round trip 8 B, %v", p), N: 50_000, run: pingPong[m8](p, 0)},
			Scenario{Name: fmt.Sprintf("round trip 56 B, %v", p), N: 50_000, run: pingPong[m56](p, 0)})
	}
	list = append(list, blocks()...)
	list = append(list, waits()...)
	return append(list,
		Scenario{Name: "round trip 8 B, park", N: 5_000, run: pingPong[m8](waiter.Park, 0)},
		Scenario{Name: "round trip 8 B, park, both parked", N: 5_000, run: pingPong[m8](waiter.Park, hold)},
		Scenario{Name: "os.Pipe round trip 8 B", N: 5_000, run: conns(bounce)},
		Scenario{Name: "Unix socket round trip 8 B", N: 5_000, run: socket(bounce)},
		Scenario{Name: "os.Pipe 8 B", N: 50_000, Rate: true, run: conns(push)},
		Scenario{Name: "Unix socket 8 B", N: 50_000, Rate: true, run: socket(push)},
	)
}

// rings are the throughput scenarios for one type.
func rings[T any](size int) []Scenario {
	return []Scenario{
		{Name: fmt.Sprintf("Send/Recv %d B", size), N: 2_000_000, Rate: true, run: stream(
			func(tx *shmchan.Sender[T], n int) error {
				var v T
				for range n {
					if err := tx.Send(ctx, v); err != nil {
						return err
					}
				}
				return nil
			},
			func(rx *shmchan.Receiver[T], n int) error {
				for range n {
					if _, err := rx.Recv(ctx); err != nil {
						return err
					}
				}
				return nil
			})},
		{Name: fmt.Sprintf("SendBatch/RecvBatch 64 × %d B", size), N: 6_400_000, Rate: true, run: stream(
			func(tx *shmchan.Sender[T], n int) error {
				var vs [64]T
				for ; n > 0; n -= len(vs) {
					if _, err := tx.SendBatch(ctx, vs[:min(n, len(vs))]); err != nil {
						return err
					}
				}
				return nil
			},
			func(rx *shmchan.Receiver[T], n int) error {
				var buf [64]T
				for n > 0 {
					k, err := rx.RecvBatch(ctx, buf[:])
					if err != nil {
						return err
					}
					n -= k
				}
				return nil
			})},
		{Name: fmt.Sprintf("Reserve/Commit, Peek/Release %d B", size), N: 2_000_000, Rate: true, run: stream(
			func(tx *shmchan.Sender[T], n int) error {
				var v T
				for range n {
					p, err := tx.Reserve(ctx)
					if err != nil {
						return err
					}
					*p = v
					if err := tx.Commit(); err != nil {
						return err
					}
				}
				return nil
			},
			func(rx *shmchan.Receiver[T], n int) error {
				var sum T
				for range n {
					p, err := rx.Peek(ctx)
					if err != nil {
						return err
					}
					sum = *p
					if err := rx.Release(); err != nil {
						return err
					}
				}
				_ = sum
				return nil
			})},
	}
}

// hold is for how long an answer is held back where the other side is to have
// parked before it comes. That time is not counted.
const hold = 10 * time.Microsecond

func parkedFutexes(s *session, n int) error {
	err := s.timed(func() error { s.page.futexes(s.side, n, hold); return nil })
	s.took -= time.Duration(2*n) * hold
	return err
}

var ctx = context.Background()

// stream sends from side 0 to side 1.
func stream[T any](send func(*shmchan.Sender[T], int) error, recv func(*shmchan.Receiver[T], int) error) func(*session, int) error {
	return func(s *session, n int) error {
		if s.side == 0 {
			tx, err := shmchan.OpenSender[T](s.name("stream"))
			if err != nil {
				return err
			}
			defer tx.Close()
			if err := tx.WaitPeer(ctx); err != nil {
				return err
			}
			return s.timed(func() error { return send(tx, n) })
		}
		rx, err := shmchan.OpenReceiver[T](s.name("stream"))
		if err != nil {
			return err
		}
		defer rx.Close()
		return s.timed(func() error { return recv(rx, n) })
	}
}

// pingPong bounces one message over two channels. Each side holds it back for
// a while.
func pingPong[T any](p waiter.Policy, hold time.Duration) func(*session, int) error {
	return func(s *session, n int) error {
		names := [2]string{s.name("there"), s.name("back")}
		tx, err := shmchan.OpenSender[T](names[s.side], shmchan.WithWait(p))
		if err != nil {
			return err
		}
		defer tx.Close()
		rx, err := shmchan.OpenReceiver[T](names[1-s.side], shmchan.WithWait(p))
		if err != nil {
			return err
		}
		defer rx.Close()
		if err := tx.WaitPeer(ctx); err != nil {
			return err
		}
		err = s.timed(func() error {
			var v T
			for range n {
				if s.side == 0 {
					busy(hold)
					if err := tx.Send(ctx, v); err != nil {
						return err
					}
				}
				got, err := rx.Recv(ctx)
				if err != nil {
					return err
				}
				if s.side == 1 {
					busy(hold)
					if err := tx.Send(ctx, got); err != nil {
						return err
					}
				}
			}
			return nil
		})
		s.took -= time.Duration(2*n) * hold
		return err
	}
}

// conns runs f over the two pipes that every session has.
func conns(f func(s *session, n int, r io.Reader, w io.Writer) error) func(*session, int) error {
	return func(s *session, n int) error {
		return s.timed(func() error { return f(s, n, s.in, s.out) })
	}
}

// socket runs f over a Unix stream socket.
func socket(f func(s *session, n int, r io.Reader, w io.Writer) error) func(*session, int) error {
	return func(s *session, n int) error {
		path := s.name("sock")
		var c net.Conn
		var err error
		if s.side == 0 {
			l, lerr := net.Listen("unix", path)
			if lerr != nil {
				return lerr
			}
			defer l.Close()
			s.meet()
			c, err = l.Accept()
		} else {
			s.meet()
			c, err = net.Dial("unix", path)
		}
		if err != nil {
			return err
		}
		defer c.Close()
		return s.timed(func() error { return f(s, n, c, c) })
	}
}

func bounce(s *session, n int, r io.Reader, w io.Writer) error {
	var b [8]byte
	for range n {
		if s.side == 0 {
			if _, err := w.Write(b[:]); err != nil {
				return err
			}
		}
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return err
		}
		if s.side == 1 {
			if _, err := w.Write(b[:]); err != nil {
				return err
			}
		}
	}
	return nil
}

func push(s *session, n int, r io.Reader, w io.Writer) error {
	var b [8]byte
	for range n {
		var err error
		if s.side == 0 {
			_, err = w.Write(b[:])
		} else {
			_, err = io.ReadFull(r, b[:])
		}
		if err != nil {
			return err
		}
	}
	return nil
}
