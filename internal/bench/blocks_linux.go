package bench

import (
	"bytes"
	"fmt"
	"unsafe"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// blocks are the scenarios of package slabpool and of Buf channels.
func blocks() []Scenario {
	const mib = 1 << 20
	list := []Scenario{
		{Name: "blocks: alloc and free, one process", N: 2_000_000, run: churn(1)},
		{Name: "blocks: alloc and free of a Raw, one process", N: 2_000_000, run: churnRaw},
		{Name: "blocks: alloc and free, both", N: 2_000_000, Rate: true, run: churn(2)},
		{Name: "blocks: memcpy of 1 MiB, 8 buffers", N: 4_000, run: copies(mib, 8)},
		{Name: "blocks: memcpy of 1 MiB, 256 buffers", N: 2_000, run: copies(mib, 256)},
		{Name: "blocks: Buf of 1 MiB, filled and looked through", N: 4_000, run: bufs(mib, false,
			func(_, b []byte) { clear(b) },
			func(_, b []byte) { bytes.IndexByte(b, 1) })},
		{Name: "blocks: Buf of 1 MiB, copied in and out", N: 4_000, run: bufs(mib, false,
			func(mine, b []byte) { copy(b, mine) },
			func(mine, b []byte) { copy(mine, b) })},
	}
	for _, size := range []int{8, 48, 49, 64, 4096, 4 * mib} {
		list = append(list, Scenario{Name: fmt.Sprintf("blocks: Buf of %d B, not touched", size), N: 300_000, run: bufs(size, false, nil, nil)})
	}
	for _, size := range []int{8, 64, 4 * mib} {
		list = append(list, Scenario{Name: fmt.Sprintf("blocks: Buf of %d B, not touched, one for all", size), N: 300_000, run: bufs(size, true, nil, nil)})
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
				s.rest()
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

// churnRaw is churn for an endpoint over private memory, on side 0.
func churnRaw(s *session, n int) error {
	g, err := slabpool.Plan(slabpool.Class{Size: 4096, Count: 1024})
	if err != nil {
		return err
	}
	room := make([]byte, g.Bytes()+slabpool.Align)
	mem := unsafe.Pointer(unsafe.SliceData(room))
	mem = unsafe.Add(mem, -uintptr(mem)%slabpool.Align)
	if err := slabpool.Init(mem, g.Bytes(), g); err != nil {
		return err
	}
	p, err := slabpool.Attach(mem, g.Bytes(), g, slabpool.Seat{Cache: 16})
	if err != nil {
		return err
	}
	return s.timed(func() error {
		if s.side > 0 {
			s.rest()
			return nil
		}
		for range n {
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

// copies copies size bytes n times, on side 0, between buffers that take turns.
func copies(size, buffers int) func(*session, int) error {
	return func(s *session, n int) error {
		from, to := make([]byte, buffers*size), make([]byte, buffers*size)
		for i := range to {
			from[i], to[i] = 1, 2 // so that each page is there
		}
		return s.timed(func() error {
			if s.side == 0 {
				for i := range n {
					at := i % buffers * size
					copy(to[at:at+size], from[at:at+size])
				}
			}
			return nil
		})
	}
}

// bufs sends n Bufs from side 0 to side 1, new ones or one of the caller's on each
// side. fill and look work on the bytes, with private ones of the same size beside
// them; nil does nothing.
func bufs(size int, own bool, fill, look func(mine, b []byte)) func(*session, int) error {
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
				b := &shmchan.Buf{}
				for range n {
					var err error
					if own {
						err = tx.LoanInto(ctx, size, b)
					} else {
						b, err = tx.Loan(ctx, size)
					}
					if err != nil {
						return err
					}
					if fill != nil {
						fill(mine, b.Bytes())
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
			b := &shmchan.Buf{}
			for range n {
				var err error
				if own {
					err = rx.RecvInto(ctx, b)
				} else {
					b, err = rx.Recv(ctx)
				}
				if err != nil {
					return err
				}
				if look != nil {
					look(mine, b.Bytes())
				}
				if err := b.Release(); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
