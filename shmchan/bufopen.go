package shmchan

import (
	"os"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/slabpool"
)

// BufPair is Pair for a Buf channel.
func BufPair(opts ...Option) (*BufSender, *BufReceiver, error) {
	p, err := newBufPlan(opts)
	if err != nil {
		return nil, nil, err
	}
	sr, rr, err := pairEnds(p)
	if err != nil {
		return nil, nil, err
	}
	s, err := newBufSender(sr, p)
	if err != nil {
		rr.Unmap()
		return nil, nil, err
	}
	r, err := newBufReceiver(rr, p)
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	return s, r, nil
}

// OpenBufSender is OpenSender for a Buf channel. A later comer may leave
// WithPool out too. A channel of a type that has this name gives ErrMismatch.
// What a dead predecessor had on loan, or sent and did not publish, is free
// again.
func OpenBufSender(name string, opts ...Option) (*BufSender, error) {
	return attachBufSender(opts, func(p *plan) (*region.Region, error) { return openEnd(name, roleSender, p) })
}

// OpenBufReceiver is OpenReceiver for a Buf channel. What a dead predecessor
// held is free again; what it was about to receive is received next.
func OpenBufReceiver(name string, opts ...Option) (*BufReceiver, error) {
	return attachBufReceiver(opts, func(p *plan) (*region.Region, error) { return openEnd(name, roleReceiver, p) })
}

// BufSenderFromFile is SenderFromFile for a Buf channel.
func BufSenderFromFile(f *os.File, opts ...Option) (*BufSender, error) {
	return attachBufSender(opts, func(p *plan) (*region.Region, error) { return endFromFile(f, roleSender, p) })
}

// BufReceiverFromFile is ReceiverFromFile for a Buf channel.
func BufReceiverFromFile(f *os.File, opts ...Option) (*BufReceiver, error) {
	return attachBufReceiver(opts, func(p *plan) (*region.Region, error) { return endFromFile(f, roleReceiver, p) })
}

func attachBufSender(opts []Option, attach func(*plan) (*region.Region, error)) (*BufSender, error) {
	p, err := newBufPlan(opts)
	if err != nil {
		return nil, err
	}
	r, err := attach(p)
	if err != nil {
		return nil, err
	}
	return newBufSender(r, p)
}

func attachBufReceiver(opts []Option, attach func(*plan) (*region.Region, error)) (*BufReceiver, error) {
	p, err := newBufPlan(opts)
	if err != nil {
		return nil, err
	}
	r, err := attach(p)
	if err != nil {
		return nil, err
	}
	return newBufReceiver(r, p)
}

// stats is for any goroutine.
func (s *bufSide) stats() []slabpool.Stats {
	if !s.e.borrow() {
		return nil
	}
	defer s.e.giveBack()
	return s.pool.Stats()
}
