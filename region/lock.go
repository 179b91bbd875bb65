package region

import "sync"

// The bytes of the lock inode. No byte of the file is ever read or written.
const nameByte = 0 // whoever opens, closes or removes the name

func roleByte(role int) int64    { return 1 + 2*int64(role) }
func transitByte(role int) int64 { return 2 + 2*int64(role) }

// A locker is one description of a lock inode. A lock belongs to the
// description that took it, and is gone with it, whatever happens to the
// process. Calls may be made at the same time, but none after close.
type locker interface {
	try(b int64) (bool, error)  // take b; false if another description has it
	unlock(b int64) error       // let b go
	held(b int64) (bool, error) // whether another description has b
	close() error               // unlocks by hand what was taken, then closes
}

// held errs on the living side: a lock that cannot be asked about is held.
func held(l locker, b int64) bool {
	h, err := l.held(b)
	return h || err != nil
}

// heapShared is what the attachments of one heap region share: the part of
// the kernel.
type heapShared struct {
	mu       sync.Mutex
	owner    map[int64]*heapLocks
	watching map[*Region]struct{}
}

func newHeapShared() *heapShared {
	return &heapShared{owner: make(map[int64]*heapLocks), watching: make(map[*Region]struct{})}
}

// others returns the attachments that watch, without r.
func (s *heapShared) others(r *Region) []*Region {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rs []*Region
	for o := range s.watching {
		if o != r {
			rs = append(rs, o)
		}
	}
	return rs
}

// heapLocks is a locker inside one process.
type heapLocks struct{ shared *heapShared }

func (l *heapLocks) try(b int64) (bool, error) {
	l.shared.mu.Lock()
	defer l.shared.mu.Unlock()
	if o := l.shared.owner[b]; o != nil && o != l {
		return false, nil
	}
	l.shared.owner[b] = l
	return true, nil
}

func (l *heapLocks) unlock(b int64) error {
	l.shared.mu.Lock()
	defer l.shared.mu.Unlock()
	if l.shared.owner[b] == l {
		delete(l.shared.owner, b)
	}
	return nil
}

func (l *heapLocks) held(b int64) (bool, error) {
	l.shared.mu.Lock()
	defer l.shared.mu.Unlock()
	o := l.shared.owner[b]
	return o != nil && o != l, nil
}

func (l *heapLocks) close() error {
	l.shared.mu.Lock()
	defer l.shared.mu.Unlock()
	for b, o := range l.shared.owner {
		if o == l {
			delete(l.shared.owner, b)
		}
	}
	return nil
}
