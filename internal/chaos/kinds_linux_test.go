package chaos

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
	"github.com/shmkit/shm/waiter"
)

// A sender is the sending end of a channel of messages: a *shmchan.Sender, or
// what stands before another kind of one.
type sender interface {
	Send(context.Context, message) error
	TrySend(message) error
	SendBatch(context.Context, []message) (int, error)
	Reserve(context.Context) (*message, error)
	Commit() error
	Len() int
	Cap() int
	Ready() <-chan struct{}
	WaitPeer(context.Context) error
	File() (*os.File, error)
	Detach() error
	Close() error
}

type receiver interface {
	Recv(context.Context) (message, error)
	TryRecv() (message, error)
	RecvBatch(context.Context, []message) (int, error)
	Peek(context.Context) (*message, error)
	Release() error
	Len() int
	Cap() int
	Ready() <-chan struct{}
	WaitPeer(context.Context) error
	File() (*os.File, error)
	Detach() error
	Close() error
}

// A kind is a kind of channel under the children. One with a name has a dir and
// can be opened by successors; without, its ends travel as descriptors.
type kind struct {
	name string
	dir  func(testing.TB) string

	pair         func(...shmchan.Option) (sender, receiver, error)
	openSender   func(string, ...shmchan.Option) (sender, error)
	openReceiver func(string, ...shmchan.Option) (receiver, error)
	takeSender   func(*os.File, ...shmchan.Option) (sender, error)
	takeReceiver func(*os.File, ...shmchan.Option) (receiver, error)

	bufs *shape // nil: a channel of a type
	pool bool   // no channel, but a slabpool.Pool
}

// kinds are those that are killed at random, and attacked.
var kinds = append(typedKinds[:len(typedKinds):len(typedKinds)],
	bufs("buf pair", nil, mixed),
	bufs("buf named", inShm, mixed),
)

// mixed takes all ways that a Buf can take, and holds some.
var mixed = shape{sizes: []int{short, full, 3 * full, 17 * full}, keep: 2, pool: ample}

var typedKinds = []kind{
	typed("pair", nil),
	typed("named", inShm),
	typed("disk", onDisk),
}

// sweepKinds are those of the sweep. Each Buf channel has messages of one size, so
// that an operation is the same each time.
var sweepKinds = append(typedKinds[:len(typedKinds):len(typedKinds)],
	bufs("block pair", nil, shape{sizes: []int{3 * full}, pool: ample}),
	bufs("block named", inShm, shape{sizes: []int{3 * full}, pool: ample}),
	bufs("tight", inShm, shape{sizes: []int{3 * full}, pool: []slabpool.Class{{Size: 3 * full, Count: capacity}}}),
	bufs("inline", inShm, shape{sizes: []int{short}, pool: ample}),
	kind{name: "pool", dir: inShm, pool: true},
)

func kindOf(name string) *kind {
	for _, all := range [][]kind{kinds, sweepKinds} {
		for i := range all {
			if all[i].name == name {
				return &all[i]
			}
		}
	}
	panic("no kind " + name)
}

func (k *kind) named() bool { return k.dir != nil }

// takes tells how many messages a receiver that dies can take along: see checker.
// A Buf is the receiver's as soon as it has it, also by Peek.
func (k *kind) takes(n uint64) uint64 {
	if k.bufs != nil {
		return max(n, 1)
	}
	return n
}

// typed is a channel of shmchan.
func typed(name string, dir func(testing.TB) string) kind {
	return kind{
		name: name, dir: dir,
		pair: func(o ...shmchan.Option) (sender, receiver, error) { return shmchan.Pair[message](o...) },
		openSender: func(where string, o ...shmchan.Option) (sender, error) {
			return shmchan.OpenSender[message](where, o...)
		},
		openReceiver: func(where string, o ...shmchan.Option) (receiver, error) {
			return shmchan.OpenReceiver[message](where, o...)
		},
		takeSender: func(f *os.File, o ...shmchan.Option) (sender, error) {
			return shmchan.SenderFromFile[message](f, o...)
		},
		takeReceiver: func(f *os.File, o ...shmchan.Option) (receiver, error) {
			return shmchan.ReceiverFromFile[message](f, o...)
		},
	}
}

func inShm(t testing.TB) string {
	d, err := os.MkdirTemp("/dev/shm", "chaos-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(d) })
	return d
}

func onDisk(t testing.TB) string { return t.TempDir() }

// place is where a channel of the kind lies: a path, or nothing for a pair.
func (k *kind) place(t testing.TB) string {
	if !k.named() {
		return ""
	}
	return filepath.Join(k.dir(t), "channel")
}

// options of an end: capacity, and a policy by its name.
func ends(policy string, more ...shmchan.Option) []shmchan.Option {
	o := append([]shmchan.Option{shmchan.WithCapacity(capacity)}, more...)
	for _, p := range []waiter.Policy{waiter.Adaptive, waiter.Spin, waiter.Park} {
		if p.String() == policy {
			o = append(o, shmchan.WithWait(p))
		}
	}
	return o
}

// capacity of all channels here: small, so that both ends wait, and wrap, often.
const capacity = 4
