package chaos

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/slabpool"
)

// A region is what a hostile child writes into: a mapping of a channel.
type region struct {
	mem   []byte
	sound []byte // what was there in the beginning
	parts []part
	rnd   *rand.Rand

	heads, states int // in a pool: where its first free list, and its first record, lie
}

// A part is a section of the region, or something in it that deserves more than
// its share.
type part struct{ from, to int }

// newRegion finds out what lies where: see docs/memory-layout.md.
func newRegion(mem []byte) *region {
	r := &region{mem: mem, sound: append([]byte(nil), mem...), rnd: rand.New(rand.NewPCG(rand.Uint64(), 0))}
	r.parts = []part{
		{0, len(mem)},   // everything
		{0, 4096},       // header
		{0, 128},        // its fixed part
		{128, 136},      // the state
		{256, 256 + 96}, // section table
	}
	for at := 256; at < 256+64*32; at += 32 {
		kind := binary.NativeEndian.Uint32(r.sound[at:])
		from, size := int(binary.NativeEndian.Uint64(r.sound[at+8:])), int(binary.NativeEndian.Uint64(r.sound[at+16:]))
		if kind == 0 || from < 4096 || size <= 0 || from > len(mem) || size > len(mem)-from {
			continue
		}
		r.parts = append(r.parts, part{from, from + size})
		for head := from; head+128 <= from+size && head < from+512; head += 128 {
			r.parts = append(r.parts, part{head, head + 24}) // the words at the start of a record
		}
		if kind == 3 { // the lane: its slots, in which the two sides meet
			for range 4 {
				r.parts = append(r.parts, part{from + 384, from + size})
			}
		}
		if kind == 6 {
			r.pool(from, size)
		}
	}
	return r
}

// pool finds the words of a pool: see slabpool/layout.go.
func (r *region) pool(from, size int) {
	n := min(int(binary.NativeEndian.Uint64(r.sound[from:])), 16)
	r.heads = from + 512
	r.states = r.heads + 128*n
	records := 0
	for i := range n {
		count := binary.NativeEndian.Uint64(r.sound[from+128+16*i+8:])
		records += 64 << bits.Len64((count-1)/4)
	}
	if n < 1 || r.states+records > from+size {
		return // not made yet
	}
	r.parts = append(r.parts, part{from, r.heads}) // classes, and the event
	for range 3 {
		r.parts = append(r.parts, part{r.heads, r.states}, part{r.states, r.states + records})
	}
}

func (r *region) word(at int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&r.mem[at&^7])) }

// mutate writes garbage somewhere.
func (r *region) mutate() {
	p := r.parts[r.rnd.IntN(len(r.parts))]
	at := p.from + r.rnd.IntN(p.to-p.from)
	w := r.word(at)
	switch r.rnd.IntN(18) {
	case 0:
		r.mem[at] = byte(r.rnd.Uint32())
	case 1:
		w.Store(r.rnd.Uint64())
	case 2:
		w.Store(0)
	case 3:
		w.Store(^uint64(0))
	case 4:
		w.Store(1 << r.rnd.IntN(64))
	case 5, 6, 7: // near what is there: counts, positions, sequences
		w.Add(uint64(r.rnd.IntN(17) - 8))
	case 8:
		w.Store(w.Load() ^ 1<<r.rnd.IntN(64))
	case 9:
		w.Store(r.rnd.Uint64N(64))
	case 10: // the word of a role: phase, epoch, deaths
		w.Store(r.rnd.Uint64N(8) | r.rnd.Uint64N(4)<<8 | r.rnd.Uint64N(4)<<40)
	case 11: // a word from elsewhere
		w.Store(r.word(r.rnd.IntN(len(r.mem))).Load())
	case 12: // sizes and offsets at their limits
		w.Store(uint64(len(r.mem)) + uint64(r.rnd.IntN(129)-64))
	case 13:
		for i := at; i < min(at+64, p.to); i++ {
			r.mem[i] = byte(r.rnd.Uint32())
		}
	case 14: // as it was, so that the victim gets further next time
		copy(r.mem[p.from:p.to], r.sound[p.from:p.to])
	case 15: // all of it
		copy(r.mem, r.sound)
	case 16: // the state of a block: flags and holders, of the same generation
		w.Store(w.Load()&^0xffffff | r.rnd.Uint64N(8) | r.rnd.Uint64N(8)<<8)
	case 17: // the first of a list, the next of one, a handle's block
		w.Store(w.Load()&^0xffffff | r.rnd.Uint64N(16))
	}
}

// hostileMain KIND WHERE SIDE: writes into the channel until it is told to stop. Of
// a pair it holds the other end, and uses that too.
func hostileMain(c *control, args []string) {
	if args[1] != "" {
		for c.stop.Load() == 0 {
			hostileFile(c, args[1])
		}
		return
	}
	r := roleOf(args[0], "", "adaptive")
	var work func()
	if args[2] == "sender" {
		rx, err := r.receiver()
		if err != nil {
			fail("receiver: %v", err)
		}
		work = func() { receiverWork(c, rx) }
	} else {
		tx, err := r.sender()
		if err != nil {
			fail("sender: %v", err)
		}
		work = func() { senderWork(c, tx) }
	}
	go work()
	scribble(c, newRegion(channelMapping()), func() bool { return false })
	runtime.KeepAlive(work) // or the end is collected, and its mapping with it
}

var _ = register("hostile", hostileMain)

// hostileFile writes into the file that has the name, for as long as it has it.
func hostileFile(c *control, name string) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		time.Sleep(50 * time.Microsecond)
		return
	}
	defer f.Close()
	was, err := f.Stat()
	if err != nil {
		fail("stat: %v", err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(was.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		fail("map: %v", err)
	}
	defer unix.Munmap(mem)
	r := newRegion(mem)
	if rand.N(4) > 0 { // most of the time it is opened and used before
		time.Sleep(time.Duration(rand.N(int64(3 * time.Millisecond))))
	}
	scribble(c, r, func() bool {
		is, err := os.Stat(name)
		return err != nil || !os.SameFile(was, is)
	})
}

func scribble(c *control, r *region, over func() bool) {
	for c.stop.Load() == 0 && !over() {
		n := 1 << r.rnd.IntN(15)
		for range n {
			r.mutate()
		}
		c.mutations.Add(uint64(n))
		switch r.rnd.IntN(3) {
		case 0:
			time.Sleep(time.Duration(r.rnd.Int64N(int64(100 * time.Microsecond))))
		case 1:
			time.Sleep(time.Duration(r.rnd.Int64N(int64(2 * time.Millisecond))))
		}
	}
}

// A mapped is a line of /proc/self/maps.
type mapped struct {
	from, to uintptr
	name     string
}

func mappings() (all []mapped) {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		fail("%v", err)
	}
	for line := range strings.Lines(string(text)) {
		var m mapped
		var mode, offset, device, inode string
		fmt.Sscanf(line, "%x-%x %s %s %s %s", &m.from, &m.to, &mode, &offset, &device, &inode)
		if i := strings.IndexByte(line, '/'); i >= 0 {
			m.name = strings.TrimSpace(line[i:])
		}
		all = append(all, m)
	}
	return all
}

// channelMapping is the one memfd that is mapped here and not the control.
func channelMapping() []byte {
	for _, m := range mappings() {
		if strings.HasPrefix(m.name, "/memfd:") && !strings.Contains(m.name, "chaos-control") {
			at := m.from
			return unsafe.Slice(*(**byte)(unsafe.Pointer(&at)), m.to-m.from)
		}
	}
	fail("no memfd is mapped")
	return nil
}

// A hunt is a hostile child and its prey on one channel.
type hunt struct {
	kind, side, policy string
	patience           time.Duration // for a call that does not return
	cheat              string        // what the prey does wrong, to see that it is found
}

// run lets the two work for d.
func (h hunt) run(t testing.TB, c *control, page *os.File, size int, d time.Duration) error {
	k := kindOf(h.kind)
	where := k.place(t)
	c.reset()
	var mine, theirs *os.File
	if !k.named() {
		tx, rx, err := k.pair(ends(h.policy)...)
		must(t, err)
		mine, err = tx.File()
		must(t, err)
		theirs, err = rx.File()
		must(t, err)
		if h.side == "receiver" {
			mine, theirs = theirs, mine
		}
		defer mine.Close()
		defer theirs.Close()
	}
	hostile := spawn(t, "hostile", files(page, theirs), h.kind, where, h.side)
	prey := spawn(t, "prey", files(page, mine), h.kind, where, h.side, h.policy, fmt.Sprint(size), h.cheat)
	time.Sleep(d)
	c.stop.Store(1) // looked at after each call
	err := reapWithin(h.patience, prey, false)
	if herr := reapWithin(patience, hostile, false); err == nil && herr != nil {
		err = fmt.Errorf("the hostile one, which also uses the channel: %w", herr)
	}
	if k.named() {
		os.Remove(where)
		os.Remove(where + ".lock")
	}
	return err
}

// regionSize is the size of the channels of a kind.
func regionSize(t testing.TB, k *kind) int {
	name := filepath.Join(onDisk(t), "channel")
	if k.pool {
		p, err := slabpool.Open(name, poolClass)
		must(t, err)
		defer p.Close()
		st, err := os.Stat(name)
		must(t, err)
		return int(st.Size())
	}
	tx, err := k.openSender(name, ends("park")...)
	must(t, err)
	defer tx.Close()
	st, err := os.Stat(name)
	must(t, err)
	return int(st.Size())
}

// TestHostilePeer: while a child opens, uses and closes a channel, or a pool, another
// one writes garbage into all of its memory.
func TestHostilePeer(t *testing.T) {
	c, page := newControl(t)
	size := map[string]int{}
	var hunts []hunt
	for i := range kinds {
		size[kinds[i].name] = regionSize(t, &kinds[i])
		for _, side := range []string{"sender", "receiver"} {
			for _, policy := range []string{"adaptive", "park"} {
				hunts = append(hunts, hunt{kind: kinds[i].name, side: side, policy: policy, patience: patience})
			}
		}
	}
	size["pool"] = regionSize(t, kindOf("pool"))
	for range 3 {
		hunts = append(hunts, hunt{kind: "pool", patience: patience})
	}
	rand.Shuffle(len(hunts), func(i, j int) { hunts[i], hunts[j] = hunts[j], hunts[i] })
	begin := time.Now()
	total := time.Duration(much(300_000, 20_000, 1_500)) * time.Millisecond
	rounds := 0
	for ; time.Since(begin) < total || rounds < len(hunts); rounds++ {
		h := hunts[rounds%len(hunts)]
		if err := h.run(t, c, page, size[h.kind], time.Duration(rand.N(int64(much(800, 400, 100))))*time.Millisecond); err != nil {
			t.Fatalf("%+v: %v", h, err)
		}
	}
	var table report
	table.head("rounds", "mutations", "attaches", "behind walls", "calls", "without error", "ErrCorrupt", "ErrClosed", "ErrPeerDied", "others")
	n := func(i int) uint64 { return c.notes[i].Load() }
	table.add(time.Since(begin), rounds, c.mutations.Load(), n(noteAttach), n(noteWalled), n(noteCall), n(noteFine), n(noteCorrupt), n(noteClosed), n(noteDied), n(noteOther))
	table.print(t, "hostile peer")
	if n(noteWalled)*4 < n(noteAttach) {
		t.Errorf("only %d of %d attaches were behind walls", n(noteWalled), n(noteAttach))
	}
	if n(noteCorrupt) == 0 || n(noteFine) == 0 || c.mutations.Load() == 0 {
		t.Error("the victim saw only errors, or none, or nothing was written")
	}
}

// TestHostilePeerFinds: what a prey must not do is found.
func TestHostilePeerFinds(t *testing.T) {
	c, page := newControl(t)
	size := regionSize(t, kindOf("named"))
	for _, cheat := range []string{"stray before", "stray behind", "panic", "hoard", "undocumented", "hang"} {
		h := hunt{kind: "named", side: "sender", policy: "park", patience: time.Second, cheat: cheat}
		quiet := os.Stderr
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		must(t, err)
		os.Stderr = null
		err = h.run(t, c, page, size, 100*time.Millisecond)
		os.Stderr = quiet
		null.Close()
		if err == nil {
			t.Errorf("%s: not found", cheat)
		}
	}
}
