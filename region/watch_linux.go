package region

import (
	"encoding/binary"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The watcher of a process: one inotify descriptor, read through Go's
// netpoller by one goroutine. When a process dies the kernel closes its
// descriptions of the lock inode, which is an event (IN_CLOSE) just before
// the locks are gone. So an event is only a hint: the roles are probed at
// once and a few more times. A change of the memory's file other than through a
// mapping (IN_MODIFY) is watched too: somebody may have cut it off.
//
// Invariants:
//   - an inode is in byKey and byWD while a Region watches it, and is watched
//     by the kernel for that time;
//   - a Region is in the inodes that its watch.in names, and in polled if the
//     kernel did not watch all of them;
//   - no Region method is called with watcher.mu held.
var watcher struct {
	mu     sync.Mutex
	file   *os.File // the inotify descriptor; nil if there is none
	fd     int      // file's
	byWD   map[int32]*inode
	byKey  map[fileID]*inode
	linger *time.Timer // closes file when it has been unused for a while

	polled  map[*Region]struct{} // those that the kernel will not watch for us
	polling bool                 // whether pollLocks runs
}

// lookAgain is when to look after an event, each counted from the one before.
// The last ones are for a machine too busy to finish a dying process.
var lookAgain = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 200 * time.Microsecond, 400 * time.Microsecond,
	1 * time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond,
	20 * time.Millisecond, 50 * time.Millisecond, 50 * time.Millisecond, 50 * time.Millisecond,
	50 * time.Millisecond, 50 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, time.Second,
}

const (
	pollEvery  = 50 * time.Millisecond
	lingerTime = 200 * time.Millisecond // closing an inotify descriptor takes the kernel about 10 ms
)

var inotifyInit = unix.InotifyInit1 // fails in tests

// An inode is a file that Regions of this process watch: their locks, or the
// memory of a named region.
type inode struct {
	key     fileID
	wd      int32
	regions map[*Region]struct{}
	step    int         // in lookAgain
	timer   *time.Timer // looks at lookAgain[step]; nil before the first event
}

// watchLocks makes r.look be called when somebody may have died. The caller
// holds r.life.
func watchLocks(r *Region) {
	watcher.mu.Lock()
	defer watcher.mu.Unlock()
	ok := watchInode(r, r.locks.(*ofdLocks).fd, unix.IN_CLOSE_WRITE|unix.IN_CLOSE_NOWRITE)
	if ok && r.backing == BackingNamed {
		fd, err := r.memory()
		if ok = err == nil; ok {
			ok = watchInode(r, fd, unix.IN_MODIFY) // a store to mapped memory is none
			unix.Close(fd)
		}
	}
	if ok {
		return
	}
	if watcher.polled == nil {
		watcher.polled = make(map[*Region]struct{})
	}
	watcher.polled[r] = struct{}{}
	if !watcher.polling {
		watcher.polling = true
		go pollLocks()
	}
}

// watchInode makes r.look be called at the events of a file. It reports false
// where the kernel does not watch. The caller holds watcher.mu.
func watchInode(r *Region, fd int, events uint32) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || startInotify() != nil {
		return false
	}
	key := fileID{uint64(st.Dev), st.Ino}
	in := watcher.byKey[key]
	if in == nil {
		wd, err := unix.InotifyAddWatch(watcher.fd, procPath(fd), events)
		if err != nil {
			stopInotify()
			return false
		}
		in = &inode{key: key, wd: int32(wd), regions: make(map[*Region]struct{})}
		watcher.byKey[key] = in
		watcher.byWD[in.wd] = in
	}
	in.regions[r] = struct{}{}
	r.watch.in = append(r.watch.in, key)
	return true
}

// unwatchLocks undoes watchLocks. The caller holds r.life.
func unwatchLocks(r *Region) {
	watcher.mu.Lock()
	defer watcher.mu.Unlock()
	delete(watcher.polled, r)
	for _, key := range r.watch.in {
		in := watcher.byKey[key]
		delete(in.regions, r)
		if len(in.regions) > 0 {
			continue
		}
		if in.timer != nil {
			in.timer.Stop()
		}
		delete(watcher.byKey, in.key)
		delete(watcher.byWD, in.wd)
		unix.InotifyRmWatch(watcher.fd, uint32(in.wd))
		stopInotify()
	}
	r.watch.in = nil
}

// startInotify makes the descriptor if there is none. The caller holds
// watcher.mu.
func startInotify() error {
	if watcher.file != nil {
		return nil
	}
	fd, err := inotifyInit(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return err
	}
	watcher.fd = fd
	watcher.file = os.NewFile(uintptr(fd), "inotify")
	watcher.byWD = make(map[int32]*inode)
	watcher.byKey = make(map[fileID]*inode)
	go readEvents(watcher.file)
	return nil
}

// stopInotify closes the descriptor some time after the last watch is gone,
// unless another one comes. The caller holds watcher.mu.
func stopInotify() {
	if len(watcher.byWD) > 0 {
		return
	}
	if watcher.linger != nil {
		watcher.linger.Reset(lingerTime)
		return
	}
	watcher.linger = time.AfterFunc(lingerTime, func() {
		watcher.mu.Lock()
		f := watcher.file
		if len(watcher.byWD) > 0 {
			f = nil
		}
		if f != nil {
			watcher.file, watcher.fd = nil, -1
		}
		watcher.mu.Unlock()
		if f != nil {
			f.Close() // readEvents ends
		}
	})
}

// readEvents hands the events of f to those who wait, until f is closed.
func readEvents(f *os.File) {
	buf := make([]byte, 4096)
	for {
		n, err := f.Read(buf)
		if err != nil {
			return
		}
		wds := make(map[int32]bool) // one look for any number of events
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			wd := int32(binary.NativeEndian.Uint32(b))
			mask := binary.NativeEndian.Uint32(b[4:])
			b = b[min(len(b), unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(b[12:]))):]
			if mask&unix.IN_Q_OVERFLOW != 0 {
				watcher.mu.Lock()
				for wd := range watcher.byWD {
					wds[wd] = true
				}
				watcher.mu.Unlock()
			}
			wds[wd] = true
		}
		for wd := range wds {
			watcher.mu.Lock()
			in := watcher.byWD[wd] // nil if it was unwatched meanwhile
			if watcher.file != f {
				in = nil
			}
			if in != nil {
				in.step = 0
			}
			watcher.mu.Unlock()
			if in != nil {
				in.look()
			}
		}
	}
}

// look looks at all the Regions of an inode, now and, while somebody could
// die, again. An event that comes meanwhile starts the row over.
func (in *inode) look() {
	atRisk := false
	for _, r := range in.snapshot() {
		if r.look() {
			atRisk = true
		}
	}
	watcher.mu.Lock()
	defer watcher.mu.Unlock()
	if !atRisk || in.step >= len(lookAgain) || len(in.regions) == 0 {
		return
	}
	d := lookAgain[in.step]
	in.step++
	if in.timer == nil {
		in.timer = time.AfterFunc(d, in.look)
	} else {
		in.timer.Reset(d)
	}
}

func (in *inode) snapshot() []*Region {
	watcher.mu.Lock()
	defer watcher.mu.Unlock()
	rs := make([]*Region, 0, len(in.regions))
	for r := range in.regions {
		rs = append(rs, r)
	}
	return rs
}

// pollLocks stands in for the kernel's events. It ends when nobody needs it.
func pollLocks() {
	for {
		watcher.mu.Lock()
		rs := make([]*Region, 0, len(watcher.polled))
		for r := range watcher.polled {
			rs = append(rs, r)
		}
		watcher.polling = len(rs) > 0
		watcher.mu.Unlock()
		if len(rs) == 0 {
			return
		}
		for _, r := range rs {
			r.look()
		}
		time.Sleep(pollEvery)
	}
}
