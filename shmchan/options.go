package shmchan

import (
	"fmt"
	"io/fs"
	"math"
	"os"

	"github.com/shmkit/shm/slabpool"
	"github.com/shmkit/shm/waiter"
)

// An Option changes how a channel is made or how an endpoint behaves. No
// option at all is right for most users.
type Option func(*options)

type options struct {
	capacity  int // 0: not asked for
	mode      os.FileMode
	wait      waiter.Policy
	successor bool
	hugePages bool
	heap      bool
	classes   []slabpool.Class // nil: not asked for
	err       error
}

const defaultCapacity = 1024

// WithCapacity sets how many messages the channel holds, rounded up to a power
// of two. The default is 1024. 0 is refused: there is no rendezvous. Opening a
// channel that exists with another capacity gives ErrMismatch.
func WithCapacity(n int) Option {
	return func(o *options) {
		if n < 1 || n > math.MaxInt32 {
			o.err = fmt.Errorf("shmchan: capacity %d, want 1 to %d: %w", n, math.MaxInt32, fs.ErrInvalid)
		}
		o.capacity = n
	}
}

// WithMode sets the permissions of a named channel; the default is 0600. With
// group or other write permission, endpoints of other users may attach, and
// this endpoint attaches to channels that other users made; they can cut the file
// off, see Guard. Opening a channel that exists with another mode gives
// ErrMismatch.
func WithMode(perm os.FileMode) Option {
	return func(o *options) { o.mode = perm }
}

// WithWait sets how blocked calls of this endpoint wait: waiter.Adaptive (the
// default), waiter.Spin or waiter.Park.
func WithWait(p waiter.Policy) Option {
	return func(o *options) {
		if !p.Valid() {
			o.err = fmt.Errorf("shmchan: wait policy %d: %w", p, fs.ErrInvalid)
		}
		o.wait = p
	}
}

// WithAwaitSuccessor makes this endpoint wait for a dead peer as for one that
// has not come yet, instead of giving ErrPeerDied.
func WithAwaitSuccessor() Option {
	return func(o *options) { o.successor = true }
}

// WithHugePages asks for transparent huge pages where the system has them.
// Opening a channel that was made without it gives ErrMismatch.
func WithHugePages() Option {
	return func(o *options) { o.hugePages = true }
}

// WithHeap makes Pair put the channel on the Go heap, where the race detector
// sees it: for tests under -race. It cannot leave the process, so File does
// not work. Other constructors refuse it.
func WithHeap() Option {
	return func(o *options) { o.heap = true }
}

// WithPool sets the blocks that the messages of a Buf channel lie in, in
// classes by size; the default is slabpool.DefaultClasses, 13 MiB in all. What
// all messages under way and held at once need must be there; Loan waits
// otherwise. Other constructors refuse it. Opening a channel that exists with
// another pool gives ErrMismatch.
func WithPool(classes ...slabpool.Class) Option {
	return func(o *options) {
		if len(classes) == 0 {
			classes = slabpool.DefaultClasses()
		}
		if _, err := slabpool.Plan(classes...); err != nil {
			o.err = fmt.Errorf("shmchan: %w", err)
		}
		o.classes = classes
	}
}

func gather(opts []Option) (options, error) {
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o, o.err
}
