package region

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// ofdLocks is a locker on an open file description of its own. Nobody may
// have a duplicate of fd: the locks would live as long as that.
type ofdLocks struct{ fd int }

func (l *ofdLocks) flock(cmd int, typ int16, b, n int64) (int16, error) {
	for {
		lk := unix.Flock_t{Type: typ, Whence: io.SeekStart, Start: b, Len: n}
		err := unix.FcntlFlock(uintptr(l.fd), cmd, &lk)
		if err != unix.EINTR {
			return lk.Type, err
		}
	}
}

func (l *ofdLocks) try(b int64) (bool, error) {
	_, err := l.flock(unix.F_OFD_SETLK, unix.F_WRLCK, b, 1)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

func (l *ofdLocks) unlock(b int64) error {
	_, err := l.flock(unix.F_OFD_SETLK, unix.F_UNLCK, b, 1)
	return err
}

func (l *ofdLocks) held(b int64) (bool, error) {
	typ, err := l.flock(unix.F_OFD_GETLK, unix.F_WRLCK, b, 1)
	return typ != unix.F_UNLCK, err
}

// close unlocks by hand, because a child that was forked and has not called
// exec yet shares the description.
func (l *ofdLocks) close() error {
	_, err := l.flock(unix.F_OFD_SETLK, unix.F_UNLCK, 0, 0)
	if e := unix.Close(l.fd); err == nil {
		err = e
	}
	return err
}

// reopen makes a new description of the file behind fd, with locks of its own.
func reopen(fd int) (int, error) {
	n, err := openat(procPath(fd), unix.O_RDWR|unix.O_NONBLOCK, 0)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, unix.ENOENT):
		return -1, fmt.Errorf("region: /proc is not mounted, and without it a descriptor cannot be opened again: %w", errors.ErrUnsupported)
	default:
		return -1, fmt.Errorf("region: open a descriptor again: %w", err)
	}
}

func procPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// openat opens with O_CLOEXEC and without being interrupted.
func openat(path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func closeFD(fd int) error { return unix.Close(fd) }
