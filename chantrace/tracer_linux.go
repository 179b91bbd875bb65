//go:build linux && (amd64 || arm64)

package chantrace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// A Tracer watches all futex waits of the machine on words in shared files. Its
// methods may be called from any goroutine.
//
// Invariants: links is empty once the context is done; everything is closed
// once closed is set. The programs stay attached no longer than the process
// lives: the kernel sees to it.
type Tracer struct {
	stop func() bool // lets go of the context

	mu     sync.Mutex
	closed bool
	links  []link.Link
	parts  parts
}

// parts is what is loaded into the kernel.
type parts struct {
	OnSwitch *ebpf.Program  `ebpf:"on_switch"`
	OnWaking *ebpf.Program  `ebpf:"on_waking"`
	Words    *ebpf.Map      `ebpf:"words"`
	Lost     *ebpf.Variable `ebpf:"lost"`
}

type partsAndCalls struct {
	parts
	OnSysExit *ebpf.Program `ebpf:"on_sys_exit"`
}

// Attach starts to trace, until ctx is done or [Tracer.Close] is called. After
// ctx is done nothing more is counted, and Snapshot tells what was. It takes
// some 0.1 s.
//
// The error wraps [ErrPrivilege], [ErrBTF] or [ErrKernel] where the system does
// not allow it (see [Supported]), and [fs.ErrInvalid] for bad options.
func Attach(ctx context.Context, o Options) (*Tracer, error) {
	if o.MaxWords < 0 || o.MaxWords > 1<<20 {
		return nil, fmt.Errorf("chantrace: Options.MaxWords is %d, want 0 to %d: %w", o.MaxWords, 1<<20, fs.ErrInvalid)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if err := Supported(); err != nil {
		return nil, err
	}
	t := &Tracer{}
	progs, err := t.load(o)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, p := range progs[2:] {
			p.Close() // its link keeps it
		}
	}()
	for _, p := range progs {
		l, err := link.AttachTracing(link.TracingOptions{Program: p})
		if err != nil {
			t.Close()
			return nil, fmt.Errorf("chantrace: attach: %w", refusal(err))
		}
		t.links = append(t.links, l)
	}
	stop := context.AfterFunc(ctx, t.detach)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop = stop
	return t, nil
}

// load loads the programs and returns them in the order to attach: on_waking
// makes the waits that on_switch looks for, so it comes after. The first two are
// in t.parts as well; the rest is the caller's.
func (t *Tracer) load(o Options) ([]*ebpf.Program, error) {
	spec, err := loadObserver()
	if err != nil {
		return nil, fmt.Errorf("chantrace: %w", err)
	}
	spec.Maps[observerMapWords].MaxEntries = uint32(o.MaxWords)
	if o.MaxWords == 0 {
		spec.Maps[observerMapWords].MaxEntries = defaultMaxWords
	}
	shift := uint32(bits.TrailingZeros(uint(os.Getpagesize())))
	if err := spec.Variables[observerVarPageShift].Set(shift); err != nil {
		return nil, fmt.Errorf("chantrace: %w", err)
	}
	var all partsAndCalls
	if o.Syscalls {
		err = spec.LoadAndAssign(&all, nil)
	} else {
		err = spec.LoadAndAssign(&all.parts, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("chantrace: load: %w", refusal(err))
	}
	t.parts = all.parts
	progs := []*ebpf.Program{all.OnSwitch, all.OnWaking}
	if o.Syscalls {
		progs = append(progs, all.OnSysExit)
	}
	return progs, nil
}

// detach stops counting.
func (t *Tracer) detach() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unlink()
}

func (t *Tracer) unlink() error {
	var errs []error
	for _, l := range t.links {
		errs = append(errs, l.Close())
	}
	t.links = nil
	return errors.Join(errs...)
}

// Close stops tracing and frees what the kernel keeps. Closing twice is fine.
func (t *Tracer) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	if t.stop != nil {
		t.stop()
	}
	return errors.Join(t.unlink(), t.parts.OnSwitch.Close(), t.parts.OnWaking.Close(), t.parts.Words.Close())
}

// Snapshot returns what was counted since Attach, ordered by device, inode and
// offset. The caller owns the result. It takes about 2 µs a word, and disturbs
// nobody. After Close the error wraps [os.ErrClosed].
func (t *Tracer) Snapshot() ([]WordStats, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, fmt.Errorf("chantrace: snapshot: %w", os.ErrClosed)
	}
	var (
		words []WordStats
		key   observerWord
		value observerStats
	)
	it := t.parts.Words.Iterate() // nothing is ever deleted, so none is seen twice
	for it.Next(&key, &value) {
		words = append(words, statsOf(&key, &value))
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("chantrace: snapshot: %w", err)
	}
	slices.SortFunc(words, func(a, b WordStats) int { return a.compare(&b) })
	return words, nil
}

// Lost returns what could not be counted since Attach. After Close the error
// wraps [os.ErrClosed].
func (t *Tracer) Lost() (Lost, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return Lost{}, fmt.Errorf("chantrace: lost: %w", os.ErrClosed)
	}
	var n observerLosses
	if err := t.parts.Lost.Get(&n); err != nil {
		return Lost{}, fmt.Errorf("chantrace: lost: %w", err)
	}
	l := Lost{Full: n.Full, Memory: n.Storage, Missed: n.Missed, Contended: n.Contended, Nowhere: n.Nowhere, Many: n.Waitv}
	for _, p := range []*ebpf.Program{t.parts.OnSwitch, t.parts.OnWaking} {
		s, err := p.Stats()
		if err != nil {
			return Lost{}, fmt.Errorf("chantrace: lost: %w", err)
		}
		l.Recursion += s.RecursionMisses
	}
	return l, nil
}

func statsOf(k *observerWord, v *observerStats) WordStats {
	return WordStats{
		Device: unix.Mkdev(k.Device>>20, k.Device&(1<<20-1)),
		Inode:  k.Inode,
		Offset: k.Offset,

		Park:     v.Park,
		Run:      v.Run,
		ParkTime: time.Duration(v.ParkNs),
		RunTime:  time.Duration(v.RunNs),

		Woken:     v.Woken,
		TimedOut:  v.TimedOut,
		Signalled: v.Signalled,
		Other:     v.Other,
		Refused:   v.Refused,
		Wakes:     v.Wakes,
		Wasted:    v.Wasted,

		Waiter:  taskOf(v.Waiter.Id, v.Waiter.Comm),
		Waker:   taskOf(v.Waker.Id, v.Waker.Comm),
		Address: v.Addr,
	}
}

// taskOf makes a Task of a sample.
func taskOf(id uint64, comm [16]int8) Task {
	var b []byte
	for _, c := range comm {
		if c == 0 {
			break
		}
		b = append(b, byte(c))
	}
	return Task{PID: int(id >> 32), TID: int(uint32(id)), Comm: printable(string(b))}
}
