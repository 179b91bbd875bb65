package region

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
)

// A Config says what a new region looks like, or, for Open, what a region
// that is there already must live up to. The zero value lacks Roles.
type Config struct {
	Sections []Section   // without the endpoint table, which is added by itself
	Roles    int         // 1 to 64
	Mode     os.FileMode // of a named region that is made; 0 means 0600. See Open for one that is there

	// HugePages asks for transparent huge pages where the system has them.
	// The size is rounded up to 2 MiB. Best effort.
	HugePages bool

	// Init fills a new region before anybody else can see it. All bytes of
	// all sections are zero. An error undoes the creation and is returned as
	// it is. It must not claim, close or unmap.
	Init func(*Region) error

	// Accept looks at a valid region that Open found, before the role is
	// claimed, under the name's lock. nil keeps every one. An error is
	// returned as it is. It must not claim, close or unmap.
	Accept func(*Region) (Verdict, error)
}

// A Verdict is what Accept decides about an existing region.
type Verdict int

const (
	Keep   Verdict = iota // attach to it
	Remake                // retire it and create another in its place
)

// A Backing tells where a region's memory comes from.
type Backing uint8

// The backings.
const (
	BackingHeap  Backing = iota // the Go heap of this process
	BackingMemfd                // an anonymous file
	BackingNamed                // a file with a name
)

func (b Backing) String() string {
	names := [...]string{"heap", "memfd", "named"}
	if int(b) < len(names) {
		return names[b]
	}
	return fmt.Sprintf("backing %d", uint8(b))
}

// A Region is one attachment to a region: a mapping, a descriptor of the
// locks of its own, and at most one role.
//
// All methods may be called from any goroutine. What Base and Section return
// stays valid until Unmap; whoever calls Unmap answers for that nobody uses
// it, or calls State or Retired, any more.
//
// A Region that is dropped without Detach, Close, File or Abandon keeps its
// role until the process ends.
type Region struct {
	layout  *Layout
	name    string // absolute; "" if there is none
	backing Backing
	mode    os.FileMode // permission bits of a named region's file, when it was opened

	base   unsafe.Pointer
	header *header
	roles  []endpoint
	mem    []byte      // the mapping, or what keeps the heap memory alive
	heap   *heapShared // nil but for heap regions
	cut    word.U32    // 1: the memory was found to have gone away; see cut.go

	// life serialises what begins and ends a claim: Claim, Attach, Detach,
	// Close, File, Abandon, Unmap. It is held while finished runs and while
	// the name's lock is waited for.
	life sync.Mutex

	// fds guards the fields below: changed with life and fds held, read with
	// either.
	fds   sync.RWMutex
	locks locker // nil once the attachment has ended
	data  int    // descriptor of the memory; -1 if none, as for most named regions: see letGo
	file  fileID // which file that is
	role  int    // -1 if none
	epoch uint32 // of our claim

	watch watch
}

// A fileID is a file for as long as somebody has it open or mapped.
type fileID struct{ dev, ino uint64 }

// Heap makes a region on the Go heap, for tests and for use within one
// process; its locks and its watch are in-process. There is no role claimed.
// Unlike a mapping, the race detector sees this memory.
func Heap(c Config) (*Region, error) {
	l, err := newLayout(&c)
	if err != nil {
		return nil, err
	}
	l.Boot = [16]byte{} // nobody can see it after a reboot
	mem := make([]byte, l.Size+headerSize)
	skip := -uintptr(unsafe.Pointer(&mem[0])) & (headerSize - 1)
	shared := newHeapShared()
	r := newRegion(l, BackingHeap, mem[skip:skip+uintptr(l.Size):skip+uintptr(l.Size)])
	r.heap, r.locks = shared, &heapLocks{shared}
	r.header.write(l)
	if c.Init != nil {
		if err := c.Init(r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// newLayout plans a new region and gives it an identity.
func newLayout(c *Config) (*Layout, error) {
	l, err := c.plan()
	if err != nil {
		return nil, err
	}
	rand.Read(l.ID[:]) // never fails
	l.Boot = bootID()
	l.Created = time.Now().UnixNano()
	l.Creator = os.Getpid()
	return l, nil
}

// newRegion makes an attachment out of mapped memory. The caller sets locks
// and data.
func newRegion(l *Layout, b Backing, mem []byte) *Region {
	r := &Region{layout: l, backing: b, mem: mem, data: -1, role: -1}
	r.base = unsafe.Pointer(unsafe.SliceData(mem))
	r.header = (*header)(r.base)
	ep, _ := l.section(KindEndpoints)
	r.roles = unsafe.Slice((*endpoint)(unsafe.Add(r.base, ep.Offset)), l.Roles)
	if b != BackingHeap {
		r.enroll()
	}
	return r
}

// Base returns the start of the memory, aligned to 4096. nil after Unmap.
func (r *Region) Base() unsafe.Pointer { return r.base }

// Size returns the size of the memory in bytes.
func (r *Region) Size() uintptr { return uintptr(r.layout.Size) }

// Name returns the absolute path of a named region, "" for others.
func (r *Region) Name() string { return r.name }

// Backing tells where the memory comes from.
func (r *Region) Backing() Backing { return r.backing }

// Mode returns the permission bits that the file of a named region had when this
// attachment opened it, 0 for others.
func (r *Region) Mode() os.FileMode { return r.mode }

// ID returns the random identity that the region was made with. All its
// attachments have the same, two regions never.
func (r *Region) ID() [16]byte { return r.layout.ID }

// Layout returns the checked, private copy of the immutable header. The
// caller must not change it.
func (r *Region) Layout() *Layout { return r.layout }

// Roles returns how many roles the region has.
func (r *Region) Roles() int { return len(r.roles) }

// Section returns the section of kind k. Place and size come from the private
// copy of the table that was checked at the attach, so no peer can move them.
// What the section holds is as trustworthy as the peers are.
func (r *Region) Section(k Kind) (mem unsafe.Pointer, size uint64, version uint16, ok bool) {
	s, ok := r.layout.section(k)
	if !ok || r.base == nil {
		return nil, 0, 0, false
	}
	return unsafe.Add(r.base, s.Offset), s.Size, s.Version, true
}

// Retired tells whether the region is over: it was removed or replaced, and whoever
// opens the name now gets another one, or it was found to be cut off (Cut). Two
// loads.
func (r *Region) Retired() bool {
	return r.cut.Load() != 0 || r.header.state.Load() != stateLive // pairs with the stores in lost and retire
}

// retire tells every attachment that the name leads here no more. The caller
// holds the name's lock.
func (r *Region) retire() { r.header.state.Store(stateRetired) } // pairs with the load in Retired

// Role returns the role that this attachment holds, -1 if it holds none.
func (r *Region) Role() int {
	r.fds.RLock()
	defer r.fds.RUnlock()
	return r.role
}

// Claim takes a role for this attachment, which must not have one.
//
// It does not block, except that for a named region it waits up to 5 s for
// the name's lock. On an error nothing has changed: ErrBusy while a living
// process holds the role or carries it (see File), ErrRoleClosed if it was
// closed, ErrMismatch if there is no such role. The role of a dead process
// can be claimed at once; the successor's epoch is one higher.
func (r *Region) Claim(role int) error { return r.claimWithin(role, nameTimeout) }

// claimWithin is Claim that waits for the name's lock for at most so long.
func (r *Region) claimWithin(role int, patience time.Duration) error {
	r.life.Lock()
	defer r.life.Unlock()
	unlock, err := r.lockOwnName(patience)
	if err != nil {
		return err
	}
	defer unlock()
	return r.take(role, nil)
}

// take is claim that survives a file that is cut off meanwhile.
func (r *Region) take(role int, transit locker) (err error) {
	if survive(func() { err = r.claim(role, transit) }) {
		r.locks.unlock(roleByte(role)) // harmless if claim did not come that far
		return r.cutError()
	}
	return err
}

// quit is leave that survives a file that was cut off.
func (r *Region) quit(p Phase) {
	if survive(func() { r.leave(p) }) {
		r.lost()
	}
}

// Attach makes a second attachment of the same region, with a mapping and
// locks of its own, and claims a role on it. Errors are those of Claim;
// fs.ErrClosed if this attachment has ended.
func (r *Region) Attach(role int) (*Region, error) {
	r.life.Lock()
	defer r.life.Unlock()
	return r.attach(role, nameTimeout)
}

// TryAttach is Attach that does not wait for the name's lock: it gives ErrBusy
// while another process opens or closes the region, or another goroutine begins
// or ends a claim through this attachment.
func (r *Region) TryAttach(role int) (*Region, error) {
	if !r.life.TryLock() {
		return nil, fmt.Errorf("region: attach: another goroutine attaches or closes: %w", ErrBusy)
	}
	defer r.life.Unlock()
	return r.attach(role, 0)
}

// attach is Attach that waits for the name's lock for at most so long. The caller
// holds r.life.
func (r *Region) attach(role int, patience time.Duration) (*Region, error) {
	if r.locks == nil {
		return nil, fmt.Errorf("region: attach: %w", fs.ErrClosed)
	}
	var n *Region
	if r.heap != nil {
		n = newRegion(r.layout, BackingHeap, r.mem)
		n.heap, n.locks = r.heap, &heapLocks{r.heap}
	} else {
		var err error
		if n, err = r.again(); err != nil {
			return nil, err
		}
	}
	if err := n.claimWithin(role, patience); err != nil {
		n.Unmap()
		return nil, err
	}
	return n, nil
}

// lockOwnName takes the name's lock for a named region, nothing for others.
// The caller holds r.life.
func (r *Region) lockOwnName(patience time.Duration) (unlock func(), err error) {
	if r.name == "" || r.locks == nil {
		return func() {}, nil
	}
	if err := lockName(r.locks, r.name, patience); err != nil {
		return nil, err
	}
	return func() {
		if r.locks != nil {
			r.locks.unlock(nameByte)
		}
	}, nil
}

// lockName waits for the name's lock, for as long as patience lasts: nobody
// holds it longer than it takes to fill a region, unless it was stopped.
func lockName(l locker, name string, patience time.Duration) error {
	step := 100 * time.Microsecond
	for deadline := time.Now().Add(patience); ; step = min(2*step, 10*time.Millisecond) {
		ok, err := l.try(nameByte)
		if err != nil {
			return fmt.Errorf("region: %s: lock the name: %w", name, err)
		}
		if ok {
			return nil
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("region: %s: another process is stopped in the middle of opening or closing it; continue or end that process: %w", name, ErrBusy)
		}
		time.Sleep(step)
	}
}

var nameTimeout = 5 * time.Second // shorter in tests

// Detach gives the role up without ending anything: its state becomes
// Detached, and a successor may claim it. The attachment ends but for its
// mapping. Detaching what has ended does nothing.
//
// When Detach returns, the function given to Watch does not run and will not
// be called any more.
func (r *Region) Detach() error {
	r.life.Lock()
	defer r.life.Unlock()
	if r.locks == nil {
		return nil
	}
	r.unwatch()
	if r.role >= 0 {
		r.quit(Detached)
	}
	return r.release()
}

// Close ends the role for good: its state becomes Closed. The attachment ends
// but for its mapping. Closing what has ended does nothing.
//
// For a named region this happens under the name's lock, which is waited for
// up to 5 s, and finished (nil: no) is asked under it, after the state has
// changed, whether the whole region is over. If it is, the name and the lock
// file are removed, provided they still are those of this region. finished
// must not call a method that begins or ends a claim.
//
// The role is closed even where an error says that something else failed.
// When Close returns, the function given to Watch does not run and will not
// be called any more.
func (r *Region) Close(finished func() bool) error {
	r.life.Lock()
	defer r.life.Unlock()
	if r.locks == nil {
		return nil
	}
	r.unwatch()
	unlock, err := r.lockOwnName(nameTimeout)
	if r.role >= 0 {
		r.quit(Closed)
	}
	if err == nil {
		defer unlock() // a panic of finished included
		last := false
		if r.name != "" && finished != nil && survive(func() { last = finished() }) {
			r.lost()
		}
		if last {
			err = r.unlinkOwn()
		}
	}
	if e := r.release(); err == nil {
		err = e
	}
	return err
}

// Abandon ends the attachment as the death of the process would: the role
// keeps its state, its lock is gone, and peers find a death. It is meant for
// a cleanup of something that was dropped without being closed. The mapping
// stays until Unmap. On the heap Abandon marks the role Dead itself and calls
// the functions that other attachments gave to Watch.
func (r *Region) Abandon() {
	r.life.Lock()
	defer r.life.Unlock()
	if r.locks == nil {
		return
	}
	r.unwatch()
	role := r.role
	r.release()
	if r.heap != nil && role >= 0 {
		s := r.State(role)
		if s.Phase == Attached && s.Epoch == r.epoch {
			r.roles[role].word.CompareAndSwap(s.pack(), s.died().pack()) // pairs with the load in State
		}
		for _, o := range r.heap.others(r) {
			o.look()
		}
	}
}

// release lets locks and descriptors go. The caller holds r.life.
func (r *Region) release() error {
	r.fds.Lock()
	defer r.fds.Unlock()
	err := r.locks.close()
	if r.data >= 0 {
		if e := closeFD(r.data); err == nil {
			err = e
		}
	}
	r.locks, r.data, r.role = nil, -1, -1
	return err
}

// Unmap ends the access to the memory; what Base and Section returned is
// invalid. If the attachment has not ended, it is abandoned first. Unmapping
// twice does nothing.
func (r *Region) Unmap() error {
	r.Abandon()
	r.life.Lock()
	defer r.life.Unlock()
	mem := r.forget()
	if mem == nil || r.heap != nil {
		return nil
	}
	return r.strike(mem)
}

// forget returns the mapping and keeps nothing of it. The caller holds r.life.
func (r *Region) forget() []byte {
	r.fds.Lock()
	defer r.fds.Unlock()
	mem := r.mem
	r.mem, r.base, r.header, r.roles = nil, nil, nil, nil
	return mem
}
