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

// A stack is a Treiber stack of free slots. Its head is a generation over
// eight bits of slot number.
type stack struct {
	head U32
	next [4]U32
}

const noSlot = 0xff

func (s *stack) pop(bits int) uint32 {
	for {
		h := s.head.Load()
		i := h & 0xff
		if i == noSlot {
			return i
		}
		next := s.next[i].Load()
		if s.head.CompareAndSwap(h, (h>>8+1)&(1<<bits-1)<<8|next) {
			return i
		}
	}
}

func (s *stack) push(i uint32, bits int) {
	for {
		h := s.head.Load()
		s.next[i].Store(h & 0xff)
		if s.head.CompareAndSwap(h, (h>>8+1)&(1<<bits-1)<<8|i) {
			return
		}
	}
}

// stackSetup has one thread that pops twice and one that pops and gives the
// first slot back, with pops-1 pops in between. No slot may have two owners.
func stackSetup(bits, pops int) func(*World) {
	return func(w *World) {
		s := Alloc[stack](w, "s")
		for i := range uint32(3) {
			s.next[i].Store(i + 1)
		}
		s.next[2].Store(noSlot)
		owner := Alloc[[4]U32](w, "owner")
		pop := func() uint32 {
			i := s.pop(bits)
			if i != noSlot && !owner[i].CompareAndSwap(0, 1) {
				panic(fmt.Sprintf("slot %d has two owners", i))
			}
			return i
		}
		w.Go("a", func() { pop(); pop() })
		w.Go("b", func() {
			i := pop()
			for range pops - 1 {
				pop()
			}
			if i != noSlot {
				owner[i].Store(0)
				s.push(i, bits)
			}
		})
	}
}

func TestStack(t *testing.T) {
	for _, m := range []Model{SC, TSO} {
		Check(t, fmt.Sprintf("stack %v, 16-bit generation", m), Explore(Config{Model: m}, stackSetup(16, 2)))
		Check(t, fmt.Sprintf("stack %v, 16-bit generation, 3 pops", m), Explore(Config{Model: m}, stackSetup(16, 3)))
	}
	Check(t, "stack, 1-bit generation, no wrap", Explore(Config{}, stackSetup(1, 2)))
	MustFail(t, "stack without generation (ABA)", Explore(Config{}, stackSetup(0, 2)), Panic, 23)
	MustFail(t, "stack, 1-bit generation wraps", Explore(Config{}, stackSetup(1, 3)), Panic, 23)
}
