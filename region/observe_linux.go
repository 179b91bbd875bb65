package region

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Observe looks at the region of a name without being able to change it: it
// needs no more than permission to read the file, whoever owns it. The file
// and the header are checked as Open does, apart from owner and mode, and from
// required sections of an unknown kind, which are shown.
//
// Whether an endpoint lives is asked of the lock file where this user may read
// it (the owner and root may); opening and closing that makes the endpoints
// look at each other once, so keep an Observer rather than making one for
// each look.
//
// It does not block. Errors: fs.ErrNotExist, fs.ErrPermission, fs.ErrInvalid
// for a bad name or kind of file, ErrCorrupt and ErrMismatch as Validate gives
// them, errors.ErrUnsupported for a network file system.
func Observe(name string) (*Observer, error) {
	path, err := resolve(name)
	if err != nil {
		return nil, err
	}
	if err := checkDir(path); err != nil {
		return nil, err
	}
	fd, err := openToRead(path)
	if err != nil {
		return nil, err
	}
	o := &Observer{name: path, data: fd}
	if err := o.attach(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	o.lock, o.lockErr = o.openLocks()
	return o, nil
}

// openToRead opens an existing file for reading, and explains why not.
func openToRead(path string) (int, error) {
	fd, err := openat(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	switch err {
	case nil:
		return fd, nil
	case unix.ELOOP:
		return -1, fmt.Errorf("region: %s: is a symbolic link, which no region is: %w", path, fs.ErrInvalid)
	case unix.ENXIO:
		return -1, fmt.Errorf("region: %s: is no regular file: %w", path, fs.ErrInvalid)
	case unix.EACCES, unix.EPERM:
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			return -1, fmt.Errorf("region: %s: owner %d, mode %#o does not let user %d read; ask its owner, or become it: %w",
				path, st.Uid, st.Mode&0o777, os.Geteuid(), err)
		}
	}
	return -1, fmt.Errorf("region: open %s: %w", path, err)
}

// attach checks and maps the file.
func (o *Observer) attach() error {
	var st unix.Stat_t
	if err := fstat(o.data, &st); err != nil {
		return fmt.Errorf("region: %s: %w", o.name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("region: %s: is no regular file: %w", o.name, fs.ErrInvalid)
	}
	var sfs unix.Statfs_t
	if err := fstatfs(o.data, &sfs); err != nil {
		return fmt.Errorf("region: %s: %w", o.name, err)
	}
	if err := checkLocal(o.name, int64(sfs.Type)); err != nil {
		return err
	}
	b, err := headerBytes(o.data)
	if err != nil {
		return fmt.Errorf("region: %s: %w", o.name, err)
	}
	// What an attacher must understand, an observer need not.
	l, err := validate(b, uint64(st.Size), func(Kind) bool { return true })
	if err != nil {
		return fmt.Errorf("region: %s: %w", o.name, err)
	}
	mem, err := unix.Mmap(o.data, 0, int(l.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("region: %s: map %d bytes for reading: %w", o.name, l.Size, err)
	}
	o.layout, o.mem = l, mem
	return nil
}

// openLocks opens the lock file for asking, which takes no lock.
func (o *Observer) openLocks() (*ofdLocks, error) {
	fd, err := openToRead(o.name + lockSuffix)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := fstat(fd, &st); err != nil || st.Ino != o.layout.LockInode {
		unix.Close(fd)
		return nil, fmt.Errorf("region: %s: is not the lock file that the region was made with, so nobody can tell who uses it; end its users and remove it: %w",
			o.name+lockSuffix, ErrCorrupt)
	}
	return &ofdLocks{fd}, nil
}

// LockError tells why the lock file cannot be asked who lives: nil if it can,
// fs.ErrPermission if this user may not read it (then Endpoint gives hints),
// ErrCorrupt or fs.ErrNotExist if it was replaced or taken away, after which
// nobody can open the region.
func (o *Observer) LockError() error { return o.lockErr }

// Close ends the look. Closing twice does nothing.
func (o *Observer) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mem == nil {
		return nil
	}
	err := unix.Munmap(o.mem)
	o.mem = nil
	unix.Close(o.data)
	if o.lock != nil {
		unix.Close(o.lock.fd)
	}
	return err
}

// read calls f with the memory, and survives when the file is cut off.
func (o *Observer) read(f func(base unsafe.Pointer)) error {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.mem == nil {
		return fmt.Errorf("region: observe %s: %w", o.name, fs.ErrClosed)
	}
	if survive(func() { f(unsafe.Pointer(unsafe.SliceData(o.mem))) }) {
		return fmt.Errorf("region: %s: the file was cut off under its users; end its users and remove it: %w", o.name, ErrCorrupt)
	}
	return nil
}

// unlinked tells whether the file has lost its name.
func (o *Observer) unlinked() bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	var st unix.Stat_t
	return o.mem != nil && fstat(o.data, &st) == nil && st.Nlink == 0
}

// life tells whether the holder of a role lives.
func (o *Observer) life(role int, e Endpoint) (l Life, sure bool) {
	if e.Phase != Attached && e.Phase != Transit {
		return LifeUnknown, false
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.mem != nil && o.lock != nil {
		b := roleByte(role)
		if e.Phase == Transit {
			b = transitByte(role)
		}
		if held, err := o.lock.held(b); err == nil {
			if held {
				return Alive, true
			}
			return Gone, true
		}
	}
	if e.Phase == Transit || e.Start == 0 {
		return LifeUnknown, false
	}
	start, err := startOf(strconv.Itoa(e.PID))
	switch {
	case err == nil && start == e.Start:
		return Alive, false
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return Gone, false
	}
	return LifeUnknown, false
}
