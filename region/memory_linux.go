package region

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// allocChunk is how much is allocated at a time: a signal makes the kernel
// undo an unfinished call.
const allocChunk = 64 << 20

// allocate gives every page of the file its memory or disk block, so that no
// access to the mapping can fail for want of it later (SIGBUS).
//
// free is what the file system had free in the beginning.
func allocate(fd int, size, free uint64) error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &lim); err == nil && size > lim.Cur {
		return fmt.Errorf("region: %d bytes needed, the limit on file sizes (RLIMIT_FSIZE) is %d: %w", size, lim.Cur, unix.EFBIG)
	}
	for off := uint64(0); off < size; off += allocChunk {
		n := min(allocChunk, size-off)
		err := fallocate(fd, off, n)
		if errors.Is(err, errors.ErrUnsupported) {
			err = writeZeros(fd, off, n)
		}
		switch {
		case err == nil:
		case errors.Is(err, unix.ENOSPC):
			return fullError(size, free, err)
		default:
			return fmt.Errorf("region: allocate %d bytes: %w", size, err)
		}
	}
	return nil
}

func fullError(size, free uint64, err error) error {
	return fmt.Errorf("region: %d bytes needed, the file system has %d free; make room or enlarge it: %w", size, free, err)
}

func fallocate(fd int, off, n uint64) error {
	for {
		if err := unix.Fallocate(fd, 0, int64(off), int64(n)); err != unix.EINTR {
			return err
		}
	}
}

// writeZeros allocates the old way, on a file that nobody else has yet.
func writeZeros(fd int, off, n uint64) error {
	zeros := make([]byte, min(n, 1<<20))
	for n > 0 {
		k, err := unix.Pwrite(fd, zeros[:min(n, uint64(len(zeros)))], int64(off))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		off, n = off+uint64(k), n-uint64(k)
	}
	return nil
}

// fill makes sure that an existing file has no holes. Whoever has it open for
// writing can punch some later, which then costs zeros or, on a full file
// system, the process: a named region is as trustworthy as those who may
// write to it.
func fill(fd int, st *unix.Stat_t) error {
	if uint64(st.Blocks)*512 >= uint64(st.Size) {
		return nil
	}
	// Blocks may be fewer because of compression; only fallocate can tell.
	if err := fallocate(fd, 0, uint64(st.Size)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("region: fill the holes of the file: %w", err)
	}
	return nil
}

// mapFile maps a whole region.
func mapFile(fd int, size uint64) ([]byte, error) {
	mem, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("region: map %d bytes: %w", size, err)
	}
	return mem, nil
}

func unmap(mem []byte) error { return unix.Munmap(mem) }

// vacate ends a mapping and keeps its place taken, until unmap.
func vacate(mem []byte) error {
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(&mem[0]), uintptr(len(mem)), unix.PROT_NONE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_FIXED)
	return err
}

// create maps and fills the new, empty file fd. On an error it leaves the
// file as it is and nothing else.
func (c *Config) create(fd int, l *Layout) (mem []byte, err error) {
	if err := unix.Ftruncate(fd, int64(l.Size)); err != nil {
		return nil, fmt.Errorf("region: set the size to %d bytes: %w", l.Size, err)
	}
	free := uint64(0)
	var st unix.Statfs_t
	if fstatfs(fd, &st) == nil {
		free = st.Bavail * uint64(st.Bsize)
		if int64(uint32(st.Type)) == unix.TMPFS_MAGIC {
			// Before a page is taken: what is allocated here is gone for others.
			if st.Blocks > 0 && l.Size > free {
				return nil, fullError(l.Size, free, unix.ENOSPC)
			}
			if err := checkRoom(l.Size); err != nil {
				return nil, err
			}
		}
	}
	if !c.HugePages {
		if err := allocate(fd, l.Size, free); err != nil {
			return nil, err
		}
		return mapFile(fd, l.Size)
	}
	mem, err = mapFile(fd, l.Size)
	if err != nil {
		return nil, err
	}
	// Only page faults of an advised mapping bring huge pages, fallocate may
	// not. What fails here, allocate finds out for certain.
	if unix.Madvise(mem, unix.MADV_HUGEPAGE) == nil {
		unix.Madvise(mem, unix.MADV_POPULATE_WRITE)
	}
	if err := allocate(fd, l.Size, free); err != nil {
		unmap(mem)
		return nil, err
	}
	return mem, nil
}

// readHeader copies the header of an existing file and checks it.
func readHeader(fd int, size uint64) (*Layout, error) {
	b, err := headerBytes(fd)
	if err != nil {
		return nil, err
	}
	return Validate(b, size)
}

// headerBytes copies the header of a file, less of it if that is all.
func headerBytes(fd int) ([]byte, error) {
	buf := make([]byte, headerSize)
	n := 0
	for n < len(buf) {
		k, err := unix.Pread(fd, buf[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("region: read the header: %w", err)
		}
		if k == 0 {
			break
		}
		n += k
	}
	return buf[:n], nil
}

// again makes a second mapping and description of the same region.
func (r *Region) again() (*Region, error) {
	data, err := r.memory()
	if err != nil {
		return nil, err
	}
	lock, err := reopen(r.locks.(*ofdLocks).fd)
	if err != nil {
		unix.Close(data)
		return nil, err
	}
	mem, err := mapFile(data, r.layout.Size)
	if err != nil {
		unix.Close(data)
		unix.Close(lock)
		return nil, err
	}
	n := newRegion(r.layout, r.backing, mem)
	n.name, n.mode, n.data, n.locks, n.file = r.name, r.mode, data, &ofdLocks{lock}, r.file
	if n.name != "" {
		n.letGo()
	}
	return n, nil
}

// letGo closes the descriptor of a named region's memory: a process may have
// thousands of regions, and the name leads to the file. One that others can cut
// off and take the name of keeps it, for lengthen. The caller has fds, or the
// Region to itself.
func (r *Region) letGo() {
	var st unix.Stat_t
	if err := fstat(r.data, &st); err != nil {
		return
	}
	r.file = fileID{uint64(st.Dev), st.Ino}
	if st.Mode&0o022 != 0 || int(st.Uid) != os.Geteuid() {
		return
	}
	unix.Close(r.data)
	r.data = -1
}

// memory returns a descriptor of the memory, which the caller closes. The caller
// holds r.life or r.fds.
func (r *Region) memory() (fd int, err error) {
	if r.data >= 0 {
		fd, err = unix.FcntlInt(uintptr(r.data), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return -1, fmt.Errorf("region: duplicate the descriptor: %w", err)
		}
		return fd, nil
	}
	fd, err = openFile(r.name)
	if err != nil {
		return -1, fmt.Errorf("region: open the memory again: %w", err)
	}
	var st unix.Stat_t
	if err := fstat(fd, &st); err != nil || r.file != (fileID{uint64(st.Dev), st.Ino}) {
		unix.Close(fd)
		return -1, fmt.Errorf("region: %s: the name leads to another file by now, so this region cannot be handed on: %w", r.name, fs.ErrNotExist)
	}
	return fd, nil
}
