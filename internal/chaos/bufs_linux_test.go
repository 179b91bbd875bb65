package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// A shape is what the Bufs of a kind look like. A message lies in a Buf as often as
// there is room for it, so that one which is torn anywhere is seen; in one of short
// bytes, which need no block, it lies without its last Fill.
type shape struct {
	sizes []int // bytes of the Bufs that a sender takes, in turn
	keep  int   // Bufs that a receiver holds between Peek and the next Release
	pool  []slabpool.Class
}

const (
	short = 48
	full  = int(unsafe.Sizeof(message{}))
)

// ample is a pool that has a block for whatever can be under way or held at once.
var ample = []slabpool.Class{{Size: 4 * full, Count: 2 * capacity}, {Size: 20 * full, Count: capacity}}

// bufs is a Buf channel of shmchan.
func bufs(name string, dir func(testing.TB) string, s shape) kind {
	with := func(o []shmchan.Option) []shmchan.Option { return append(o, shmchan.WithPool(s.pool...)) }
	asSender := func(tx *shmchan.BufSender, err error) (sender, error) {
		return &bufSender{BufSender: tx, shape: &s}, err
	}
	asReceiver := func(rx *shmchan.BufReceiver, err error) (receiver, error) {
		return &bufReceiver{BufReceiver: rx, shape: &s}, err
	}
	return kind{
		name: name, dir: dir, bufs: &s,
		pair: func(o ...shmchan.Option) (sender, receiver, error) {
			tx, rx, err := shmchan.BufPair(with(o)...)
			return &bufSender{BufSender: tx, shape: &s}, &bufReceiver{BufReceiver: rx, shape: &s}, err
		},
		openSender: func(where string, o ...shmchan.Option) (sender, error) {
			return asSender(shmchan.OpenBufSender(where, with(o)...))
		},
		openReceiver: func(where string, o ...shmchan.Option) (receiver, error) {
			return asReceiver(shmchan.OpenBufReceiver(where, with(o)...))
		},
		takeSender: func(f *os.File, o ...shmchan.Option) (sender, error) {
			return asSender(shmchan.BufSenderFromFile(f, with(o)...))
		},
		takeReceiver: func(f *os.File, o ...shmchan.Option) (receiver, error) {
			return asReceiver(shmchan.BufReceiverFromFile(f, with(o)...))
		},
	}
}

func bytesOf(m *message) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(m)), full) }

// write fills a Buf with m.
func write(b *shmchan.Buf, m message) {
	p := b.Bytes()
	if len(p) == short {
		copy(p[copy(p, bytesOf(&m)[:short-8]):], bytesOf(&m)[full-8:])
		return
	}
	for len(p) >= full {
		p = p[copy(p, bytesOf(&m)):]
	}
}

// read returns what write wrote, or something that is not whole.
func read(b *shmchan.Buf) (m message) {
	p := b.Bytes()
	if len(p) == short {
		copy(bytesOf(&m), p[:short-8])
		copy(bytesOf(&m)[full-8:], p[short-8:])
		m.Fill[3] = sealed(m.Seq, m.Life).Fill[3]
		return m
	}
	if len(p) == 0 || len(p)%full != 0 {
		return m
	}
	copy(bytesOf(&m), p)
	for rest := p[full:]; len(rest) > 0; rest = rest[full:] {
		if !bytes.Equal(rest[:full], p[:full]) {
			m.Sum = ^sealed(m.Seq, m.Life).Sum
		}
	}
	return m
}

// A bufSender sends messages in Bufs.
type bufSender struct {
	*shmchan.BufSender
	shape *shape
	turn  int
	loan  *shmchan.Buf // of Reserve
	slow  context.Context
	apart message // what Reserve returned, if the Buf has no room for it
}

func (s *bufSender) size() int {
	s.turn++
	return s.shape.sizes[s.turn%len(s.shape.sizes)]
}

func (s *bufSender) Send(ctx context.Context, m message) error {
	b, err := s.Loan(ctx, s.size())
	if err != nil {
		return err
	}
	write(b, m)
	if err = s.BufSender.Send(ctx, b); err != nil {
		err = errors.Join(err, b.Release())
	}
	return err
}

func (s *bufSender) TrySend(m message) error {
	b, err := s.TryLoan(s.size())
	if err != nil {
		return err
	}
	write(b, m)
	if err = s.BufSender.TrySend(b); err != nil {
		err = errors.Join(err, b.Release())
	}
	return err
}

func (s *bufSender) SendBatch(ctx context.Context, ms []message) (int, error) {
	for i, m := range ms {
		if err := s.Send(ctx, m); err != nil {
			return i, err
		}
	}
	return len(ms), nil
}

// Reserve takes a loan, and Commit sends it.
func (s *bufSender) Reserve(ctx context.Context) (*message, error) {
	s.slow = ctx
	if s.loan == nil {
		b, err := s.Loan(ctx, s.size())
		if err != nil {
			return nil, err
		}
		s.loan = b
	}
	return s.place(), nil
}

func (s *bufSender) place() *message {
	if p := s.loan.Bytes(); len(p) >= full {
		return (*message)(unsafe.Pointer(unsafe.SliceData(p)))
	}
	return &s.apart
}

func (s *bufSender) Commit() error {
	write(s.loan, *s.place())
	err := s.BufSender.Send(s.slow, s.loan)
	if err == nil {
		s.loan = nil
	}
	return err
}

// borrow takes a loan and gives it back.
func (s *bufSender) borrow() error {
	b, err := s.Loan(bg, s.size())
	if err == nil {
		err = b.Release()
	}
	return err
}

// exhaust takes all blocks.
func (s *bufSender) exhaust() ([]*shmchan.Buf, error) { return takeAll(s.TryLoan) }

func takeAll(loan func(int) (*shmchan.Buf, error)) (loans []*shmchan.Buf, err error) {
	for {
		b, err := loan(full)
		if errors.Is(err, shmchan.ErrFull) {
			return loans, nil
		}
		if err != nil {
			return loans, err
		}
		loans = append(loans, b)
	}
}

// accounted looks for every block, now that the other end is dead or idle: those in
// the channel are in use, all others are free, and each of them can be had, once.
func (s *bufSender) accounted() error { return s.account(s.TryLoan) }

// account is accounted for loans that come in this way.
func (s *bufSender) account(loan func(int) (*shmchan.Buf, error)) error {
	if s.loan != nil {
		if err := s.loan.Release(); err != nil {
			return err
		}
		s.loan = nil
	}
	before := s.Stats()
	used, err := s.shape.used(before, s.Len())
	if err != nil {
		return err
	}
	loans, err := takeAll(loan)
	if err != nil {
		return err
	}
	for i, b := range loans {
		write(b, sealed(uint64(i), 0))
	}
	for i, b := range loans {
		if read(b) != sealed(uint64(i), 0) {
			return fmt.Errorf("a block was given out twice, or is written to: loan %d", i)
		}
		if err := b.Release(); err != nil {
			return err
		}
	}
	if all := s.shape.blocks(); used+len(loans) != all {
		return fmt.Errorf("%d blocks are in use and %d could be had, of %d: %v", used, len(loans), all, before)
	}
	_, err = s.shape.used(s.Stats(), s.Len())
	return err
}

func (s *shape) blocks() (n int) {
	for _, c := range s.pool {
		n += c.Count
	}
	return n
}

// used returns how many blocks are in use, which must be those of the messages in
// the channel.
func (s *shape) used(stats []slabpool.Stats, messages int) (n int, err error) {
	for _, c := range stats {
		n += c.InUse
		if c.InUse+c.Free+c.Cached != c.Count {
			return 0, fmt.Errorf("blocks are missing: %v", c)
		}
	}
	low, high := messages, messages
	if slices.Contains(s.sizes, short) {
		low = 0
	}
	if slices.Max(s.sizes) == short {
		high = 0
	}
	if n < low || n > high {
		return 0, fmt.Errorf("%d blocks are in use, with %d messages in the channel: %v", n, messages, stats)
	}
	return n, nil
}

// odd are calls that have nothing to do with messages, right and wrong ones. It
// returns the error of each.
func (s *bufSender) odd(ctx context.Context) (errs []error) {
	add := func(err error) { errs = append(errs, err) }
	_, err := s.TryLoan(1 << 20)
	add(err)
	_, err = s.TryLoan(0)
	add(err)
	b, err := s.Loan(ctx, s.size())
	add(err)
	if err != nil {
		return errs
	}
	add(b.SetLen(0))
	_, err = b.ReadFrom(bytes.NewReader(make([]byte, 30)))
	add(err)
	add(b.Retain())
	add(s.BufSender.Send(ctx, b)) // has another hold
	add(b.Release())
	if err = s.BufSender.Send(ctx, b); err != nil {
		add(err)
		add(b.Release())
	}
	add(b.Release()) // one too many
	add(s.BufSender.Send(ctx, b))
	return append(errs, whole3(s.Stats()))
}

// whole3 tells whether each block is in one of three states.
func whole3(stats []slabpool.Stats) error {
	for _, c := range stats {
		if c.InUse+c.Free+c.Cached != c.Count {
			return fmt.Errorf("blocks are missing: %v", c)
		}
	}
	return nil
}

// A bufReceiver receives messages in Bufs.
type bufReceiver struct {
	*shmchan.BufReceiver
	shape *shape
	held  []holding
}

// A holding is a Buf that was not released yet, and what was in it.
type holding struct {
	buf *shmchan.Buf
	m   message
}

func (r *bufReceiver) Recv(ctx context.Context) (message, error) {
	return taken(r.BufReceiver.Recv(ctx))
}

func (r *bufReceiver) TryRecv() (message, error) { return taken(r.BufReceiver.TryRecv()) }

func taken(b *shmchan.Buf, err error) (message, error) {
	if err != nil {
		return message{}, err
	}
	m := read(b)
	return m, b.Release()
}

func (r *bufReceiver) RecvBatch(ctx context.Context, ms []message) (n int, err error) {
	for n < len(ms) && (n == 0 || r.Len() > 0) {
		if ms[n], err = r.Recv(ctx); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Peek takes a message and keeps its Buf. Release releases those that are too many.
func (r *bufReceiver) Peek(ctx context.Context) (*message, error) {
	b, err := r.BufReceiver.Recv(ctx)
	if err != nil {
		return nil, err
	}
	r.held = append(r.held, holding{b, read(b)})
	return &r.held[len(r.held)-1].m, nil
}

func (r *bufReceiver) Release() error { return r.release(r.shape.keep) }

func (r *bufReceiver) release(keep int) error {
	for len(r.held) > keep {
		i := len(r.held) / 2 // in no order
		h := r.held[i]
		r.held = slices.Delete(r.held, i, i+1)
		if now := read(h.buf); now != h.m {
			return fmt.Errorf("changed while it was held: %v, now %v: %w", h.m, now, shmchan.ErrCorrupt)
		}
		if err := h.buf.Release(); err != nil {
			return err
		}
	}
	return nil
}

func (r *bufReceiver) Close() error {
	return errors.Join(r.BufReceiver.Close(), r.release(0))
}

// accounted is that of a bufSender, for what a receiver can see.
func (r *bufReceiver) accounted() error {
	if err := r.release(0); err != nil {
		return err
	}
	_, err := r.shape.used(r.Stats(), r.Len())
	return err
}

func (r *bufReceiver) odd(ctx context.Context) (errs []error) {
	b, err := r.BufReceiver.Recv(ctx)
	errs = append(errs, err)
	if err == nil {
		_, err := b.WriteTo(io.Discard)
		errs = append(errs, err, b.Retain(), b.Release(), b.Release(), b.Release())
	}
	return append(errs, whole3(r.Stats()))
}

// accounted tells whether an end of a channel finds all blocks. One without blocks
// has nothing to find.
func accounted(end any) error {
	if e, ok := end.(interface{ accounted() error }); ok {
		return e.accounted()
	}
	return nil
}

// A Buf that is torn anywhere is seen, of every size that is sent.
func TestTornBufIsSeen(t *testing.T) {
	tx, rx, err := shmchan.BufPair(shmchan.WithPool(ample...))
	must(t, err)
	defer tx.Close()
	defer rx.Close()
	for _, size := range mixed.sizes {
		b, err := tx.Loan(bg, size)
		must(t, err)
		m := sealed(5, 2)
		write(b, m)
		if got := read(b); got != m {
			t.Fatalf("%d bytes: got %v", size, got)
		}
		for i := range b.Bytes() {
			b.Bytes()[i] ^= 1
			if got := read(b); got.whole() {
				t.Errorf("%d bytes: a change of byte %d is not seen", size, i)
			}
			b.Bytes()[i] ^= 1
		}
		must(t, b.Release())
	}
}
