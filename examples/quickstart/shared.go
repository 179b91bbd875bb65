package main

import (
	"context"
	"errors"
	"os"

	"github.com/shmkit/shm/shmchan"
)

// ringRecords is the capacity of the channel of records: enough to ride out
// the scheduler, little enough to stay in the cache.
const ringRecords = 512

// shared is the transport that this module is about.
type shared struct{}

func (shared) name() string { return "shmchan" }

func (shared) pings() bool { return true }

func (shared) openStream() (recordSender, []*os.File, error) {
	tx, rx, err := shmchan.Pair[record](shmchan.WithCapacity(ringRecords))
	if err != nil {
		return nil, nil, err
	}
	end, err := rx.File() // the receiver goes to the second process
	if err != nil {
		return nil, nil, errors.Join(err, tx.Close(), rx.Close())
	}
	return tx, []*os.File{end}, nil
}

func (shared) attachStream() (recordReceiver, error) {
	return shmchan.ReceiverFromFile[record](inherited(0))
}

// numbers is a channel there and one back.
type numbers struct {
	out *shmchan.Sender[uint64]
	in  *shmchan.Receiver[uint64]
}

func (p numbers) Send(ctx context.Context, v uint64) error { return p.out.Send(ctx, v) }
func (p numbers) Recv(ctx context.Context) (uint64, error) { return p.in.Recv(ctx) }
func (p numbers) Close() error                             { return errors.Join(p.out.Close(), p.in.Close()) }

func (shared) openPing() (pinger, []*os.File, error) {
	there, theirIn, err := shmchan.Pair[uint64]()
	if err != nil {
		return nil, nil, err
	}
	theirOut, back, err := shmchan.Pair[uint64]()
	if err != nil {
		return nil, nil, errors.Join(err, there.Close(), theirIn.Close())
	}
	p := numbers{out: there, in: back}
	in, err := theirIn.File()
	if err != nil {
		return nil, nil, errors.Join(err, theirIn.Close(), theirOut.Close(), p.Close())
	}
	out, err := theirOut.File()
	if err != nil {
		return nil, nil, errors.Join(err, in.Close(), theirOut.Close(), p.Close())
	}
	return p, []*os.File{in, out}, nil
}

func (shared) attachPing() (pinger, error) {
	in, err := shmchan.ReceiverFromFile[uint64](inherited(0))
	if err != nil {
		return nil, err
	}
	out, err := shmchan.SenderFromFile[uint64](inherited(1))
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return numbers{out: out, in: in}, nil
}
