package region

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// What a memfd of a region must be sealed against. F_SEAL_SEAL is added so
// that nobody can seal it against writing.
const (
	wantSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
	allSeals  = wantSeals | unix.F_SEAL_SEAL
)

// Memfd makes a region in an anonymous file, sealed against shrinking,
// growing and further seals, with all its pages allocated. There is no role
// claimed. It lives as long as a process has it mapped or has a descriptor of
// it; File hands it on. Errors: fs.ErrInvalid for a bad Config, what Init
// returned, and what the system says. It does not block.
//
// Where there are no such files (Linux has them), the region lies on the Go
// heap, so that both ends work in one process.
func Memfd(c Config) (*Region, error) {
	l, err := newLayout(&c)
	if err != nil {
		return nil, err
	}
	made, err := memfdCreate("shm-locks")
	if err != nil {
		return nil, err
	}
	// Since Linux 6.14 inotify is not told when the description that
	// memfd_create returned is closed, so nobody would hear of the death of its
	// holder. One that was opened by name is like any other.
	lock, err := reopen(made)
	unix.Close(made)
	if err != nil {
		return nil, err
	}
	r, err := c.memfd(l, lock)
	if err != nil {
		unix.Close(lock)
		return nil, err
	}
	return r, nil
}

func (c *Config) memfd(l *Layout, lock int) (r *Region, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(lock, &st); err != nil {
		return nil, fmt.Errorf("region: locks: %w", err)
	}
	l.LockInode = st.Ino
	if err := seal(lock); err != nil {
		return nil, err
	}
	data, err := memfdCreate("shm-region")
	if err != nil {
		return nil, err
	}
	var n *Region
	defer func() {
		if r == nil { // a panic of Init included
			n.undo()
			unix.Close(data)
		}
	}()
	mem, err := c.create(data, l)
	if err != nil {
		return nil, err
	}
	n = newRegion(l, BackingMemfd, mem)
	if err := seal(data); err != nil {
		return nil, err
	}
	n.data, n.locks = data, &ofdLocks{lock}
	n.header.write(l)
	if c.Init != nil {
		if err := c.Init(n); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// memfdCreate makes a file that cannot be made executable, where the kernel
// knows that (since 6.3).
func memfdCreate(name string) (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return -1, fmt.Errorf("region: memfd_create: %w", err)
	}
	return fd, nil
}

func seal(fd int) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, allSeals); err != nil {
		return fmt.Errorf("region: seal: %w", err)
	}
	return nil
}
