package bench

import (
	"fmt"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// blocks are the scenarios of package slabpool and of Buf channels.
func blocks() []Scenario {
	const mib = 1 << 20
	list := []Scenario{
		{Name: "blocks: alloc and free, one process", N: 2_000_000, run: churn(1)},
		{Name: "blocks: alloc and free, both", N: 2_000_000, Rate: true, run: churn(2)},
		{Name: "blocks: memcpy of 1 MiB", N: 2_000, run: copies(mib)},
		{Name: "blocks: 1 MiB copied in and copied out", N: 2_000, run: bufs(mib, true)},
	}
	for _, size := range []int{8, 48, 49, 64, 4096, 4 * mib} {
		list = append(list, Scenario{Name: fmt.Sprintf("blocks: Buf of %d B, not touched", size), N: 300_000, run: bufs(size, false)})
	}
	return list
}

// churn allocates and frees n blocks in all, in one process or in both.
func churn(sides int) func(*session, int) error {
	return func(s *session, n int) error {
		p, err := slabpool.Open(s.name("pool"), slabpool.Class{Size: 4096, Count: 1024})
		if err != nil {
			return err
		}
		defer p.Close()
		return s.timed(func() error {
			if s.side >= sides {
				return nil
			}
			for range n / sides {
				h, err := p.TryAlloc(4096)
				if err != nil {
					return err
				}
				if err := p.Free(h); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// copies copies size bytes n times, on side 0, between buffers that take turns.
func copies(size int) func(*session, int) error {
	return func(s *session, n int) error {
		from, to := make([]byte, size), make([]byte, 8*size)
		for i := range to {
			to[i] = 1
		}
		return s.timed(func() error {
			if s.side == 0 {
				for i := range n {
					copy(to[i%8*size:][:size], from)
				}
			}
			return nil
		})
	}
}

// bufs sends n Bufs from side 0 to side 1.
func bufs(size int, touch bool) func(*session, int) error {
	return func(s *session, n int) error {
		pool := shmchan.WithPool(slabpool.Class{Size: size, Count: 8})
		mine := make([]byte, size)
		if s.side == 0 {
			tx, err := shmchan.OpenBufSender(s.name("bufs"), pool)
			if err != nil {
				return err
			}
			defer tx.Close()
			if err := tx.WaitPeer(ctx); err != nil {
				return err
			}
			return s.timed(func() error {
				for range n {
					b, err := tx.Loan(ctx, size)
					if err != nil {
						return err
					}
					if touch {
						copy(b.Bytes(), mine)
					}
					if err := tx.Send(ctx, b); err != nil {
						return err
					}
				}
				return nil
			})
		}
		rx, err := shmchan.OpenBufReceiver(s.name("bufs"), pool)
		if err != nil {
			return err
		}
		defer rx.Close()
		return s.timed(func() error {
			for range n {
				b, err := rx.Recv(ctx)
				if err != nil {
					return err
				}
				if touch {
					copy(mine, b.Bytes())
				}
				if err := b.Release(); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
