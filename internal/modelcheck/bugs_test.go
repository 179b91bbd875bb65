package modelcheck

import (
	"fmt"
	"testing"
	"unsafe"
)

// Seeded bugs: small algorithms, each right and with one thing wrong. The
// explorer must pass the first and find the second, under the memory model
// and in the execution that the table names.

// A mailbox is a sequence of items from one thread to another that parks on
// an event count while there is none.
//
// The sleeper reads the sequence, raises the flag, looks again and waits on
// the sequence that it read. The waker publishes and, if the flag is raised,
// lowers it, bumps the sequence and wakes.
type mailbox struct {
	tail   U32
	seq    U32
	flag   U32
	closed U32
	item   [3]uint64
}

// mailboxBugs are what can be wrong with it.
type mailboxBugs struct {
	noRecheck  bool // the sleeper does not look again
	noFence    bool // none between publish and the look at the flag
	membarrier bool // the sleeper pays for it instead: right
	bumpFirst  bool // the waker bumps, lowers, wakes
	early      bool // the item is written after it is published
	timid      bool // recovery wakes only if the flag is raised
	items      int
}

func (m *mailbox) wake(b mailboxBugs) {
	if !b.noFence && !b.membarrier {
		Fence()
	}
	if m.flag.Load() == 0 {
		return
	}
	if b.bumpFirst {
		m.seq.Add(1)
		m.flag.Store(0)
	} else {
		m.flag.Store(0)
		m.seq.Add(1)
	}
	m.seq.Wake(1 << 30)
}

func (m *mailbox) send(i uint32, b mailboxBugs) {
	p := &m.item[i]
	if b.early {
		m.tail.StoreRelease(i + 1)
	}
	Writes(unsafe.Pointer(p), 8)
	*p = 10 + uint64(i)
	if !b.early {
		m.tail.StoreRelease(i + 1)
	}
	m.wake(b)
}

// recv returns false if the mailbox is closed and empty.
func (m *mailbox) recv(i uint32, b mailboxBugs) (uint64, bool) {
	for m.tail.Load() == i {
		if m.closed.Load() == 1 {
			if m.tail.Load() == i {
				return 0, false
			}
			break
		}
		s := m.seq.Load()
		m.flag.Store(1)
		if b.membarrier {
			Membarrier()
		}
		if b.noRecheck || m.tail.Load() == i && m.closed.Load() == 0 {
			m.seq.Wait(s, -1)
		}
	}
	p := &m.item[i]
	Reads(unsafe.Pointer(p), 8)
	return *p, true
}

// setup makes a sender, a receiver and, if the sender is to die, what
// recovers from that.
func (b mailboxBugs) setup(crash bool) func(*World) {
	return func(w *World) {
		m := Alloc[mailbox](w, "m")
		RegisterMembarrier()
		n := max(b.items, 1)
		w.Go("sender", func() {
			for i := range n {
				m.send(uint32(i), b)
			}
		})
		got := 0
		w.Go("receiver", func() {
			for i := range n {
				v, ok := m.recv(uint32(i), b)
				if !ok {
					return
				}
				if v != 10+uint64(i) {
					panic(fmt.Sprintf("item %d is %d", i, v))
				}
				got++
			}
		})
		if crash {
			w.Go("rescuer", func() {
				w.AwaitDeath("sender")
				m.closed.Store(1)
				if b.timid && m.flag.Load() == 0 {
					return
				}
				m.seq.Add(1)
				m.seq.Wake(1 << 30)
			})
			w.Final(func() error {
				if published := int(m.tail.Load()); got != published {
					return fmt.Errorf("%d items published, %d received", published, got)
				}
				return nil
			})
		}
	}
}

func TestMailbox(t *testing.T) {
	for _, m := range []Model{SC, TSO} {
		for _, b := range []mailboxBugs{{items: 3}, {items: 3, membarrier: true}} {
			Check(t, fmt.Sprintf("mailbox %v membarrier %v", m, b.membarrier), Explore(Config{Model: m}, b.setup(false)))
			b.items = 2
			Check(t, fmt.Sprintf("mailbox %v membarrier %v, spurious", m, b.membarrier), Explore(Config{Model: m, Spurious: 1}, b.setup(false)))
			Check(t, fmt.Sprintf("mailbox %v membarrier %v, crashes", m, b.membarrier), Sweep(Config{Model: m}, "sender", b.setup(true)))
		}
	}
	Check(t, "mailbox without fence under SC", Explore(Config{}, mailboxBugs{items: 2, noFence: true}.setup(false)))
}

func TestMailboxBugs(t *testing.T) {
	for _, x := range []struct {
		name      string
		cfg       Config
		bugs      mailboxBugs
		crash     bool
		kind      FailureKind
		execution int
	}{
		{"no look before parking", Config{}, mailboxBugs{noRecheck: true}, false, Deadlock, 5},
		{"bump, lower, wake", Config{}, mailboxBugs{bumpFirst: true, items: 2}, false, Deadlock, 41},
		{"no fence between publish and flag", Config{Model: TSO}, mailboxBugs{noFence: true}, false, Deadlock, 1},
		{"membarrier that one thread may not call", Config{Model: TSO, NoMembarrier: []string{"receiver"}}, mailboxBugs{membarrier: true}, false, Deadlock, 1},
		{"membarrier that misses a thread", Config{Model: TSO, NoRegister: []string{"sender"}}, mailboxBugs{membarrier: true}, false, Deadlock, 1},
		{"publish before write", Config{}, mailboxBugs{early: true}, false, Race, 1},
		{"recovery that asks the flag", Config{}, mailboxBugs{timid: true}, true, Deadlock, 33},
	} {
		r := Result{}
		if x.crash {
			r = Sweep(x.cfg, "sender", x.bugs.setup(true))
		} else {
			r = Explore(x.cfg, x.bugs.setup(false))
		}
		MustFail(t, x.name, r, x.kind, x.execution)
	}
}
