package shmchan

import (
	"os"

	"github.com/shmkit/shm/region"
)

// Pair makes a channel and returns both its ends, here in one process. Hand
// one on with File. On Linux the memory is an anonymous file that is sealed
// against shrinking and growing; elsewhere it is on the Go heap. Errors:
// ErrType, fs.ErrInvalid, and those of the system.
func Pair[T any](opts ...Option) (*Sender[T], *Receiver[T], error) {
	p, err := newPlan[T](opts)
	if err != nil {
		return nil, nil, err
	}
	sr, rr, err := pairEnds(p)
	if err != nil {
		return nil, nil, err
	}
	se, err := newSendEnd(sr, p)
	if err != nil {
		rr.Unmap()
		return nil, nil, err
	}
	re, err := newRecvEnd(rr, p)
	if err != nil {
		se.close()
		return nil, nil, err
	}
	return newSender[T](se), newReceiver[T](re), nil
}

// OpenSender attaches the sending end of the channel with this name, and makes
// the channel if there is none: whoever comes first makes it, in either order.
// A bare name lies in /dev/shm (or in $SHMCHAN_DIR); an absolute path is used
// as it is. It does not wait for a receiver.
//
// The options of the first comer hold. A later one may leave WithCapacity,
// WithMode and WithHugePages out, and gets ErrMismatch if it asks for others.
// A channel that no living process uses is taken over with its messages, or
// made anew if it has none.
//
// Errors: ErrBusy (with the process id) if a living process is its sender;
// ErrMismatch; ErrClosed if it is closed and its receiver or messages are still
// there; ErrType; ErrCorrupt; fs.ErrPermission; fs.ErrNotExist for a missing
// directory; fs.ErrInvalid for a bad name or option; ENOSPC with the size that
// is needed, or ENOMEM. After an error nothing has changed. If others may write to
// the file, or might cut it off by mistake, see Guard.
func OpenSender[T any](name string, opts ...Option) (*Sender[T], error) {
	return attachSender[T](opts, func(p *plan) (*region.Region, error) { return openEnd(name, roleSender, p) })
}

// OpenReceiver is OpenSender for the receiving end. A closed channel that
// still has messages can be opened, to receive them.
func OpenReceiver[T any](name string, opts ...Option) (*Receiver[T], error) {
	return attachReceiver[T](opts, func(p *plan) (*region.Region, error) { return openEnd(name, roleReceiver, p) })
}

// SenderFromFile attaches through a descriptor that (*Sender).File made here or
// in another process, and goes on where that one stopped. On success f is
// closed; after an error it is the caller's, and can be used again.
//
// Errors: fs.ErrInvalid if f is no such descriptor, or one that carries a
// receiver; ErrBusy if a copy of it was attached before; ErrMismatch;
// ErrCorrupt; ErrType.
func SenderFromFile[T any](f *os.File, opts ...Option) (*Sender[T], error) {
	return attachSender[T](opts, func(p *plan) (*region.Region, error) { return endFromFile(f, roleSender, p) })
}

// ReceiverFromFile is SenderFromFile for the receiving end.
func ReceiverFromFile[T any](f *os.File, opts ...Option) (*Receiver[T], error) {
	return attachReceiver[T](opts, func(p *plan) (*region.Region, error) { return endFromFile(f, roleReceiver, p) })
}

// attachSender makes a Sender of the region that attach finds for the plan.
func attachSender[T any](opts []Option, attach func(*plan) (*region.Region, error)) (*Sender[T], error) {
	p, err := newPlan[T](opts)
	if err != nil {
		return nil, err
	}
	r, err := attach(p)
	if err != nil {
		return nil, err
	}
	e, err := newSendEnd(r, p)
	if err != nil {
		return nil, err
	}
	return newSender[T](e), nil
}

// attachReceiver makes a Receiver of the region that attach finds for the plan.
func attachReceiver[T any](opts []Option, attach func(*plan) (*region.Region, error)) (*Receiver[T], error) {
	p, err := newPlan[T](opts)
	if err != nil {
		return nil, err
	}
	r, err := attach(p)
	if err != nil {
		return nil, err
	}
	e, err := newRecvEnd(r, p)
	if err != nil {
		return nil, err
	}
	return newReceiver[T](e), nil
}
