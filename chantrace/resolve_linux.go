package chantrace

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shmkit/shm/region"
	"golang.org/x/sys/unix"
)

const headerSize = 4096 // what region.Validate wants to see

// look opens a file without following a link at its end and without waiting,
// and reads the header of a region, if it is one. Path is what to call it.
func look(open, path string) (file, found, error) { return lookAt(open, path, unix.O_NOFOLLOW) }

func lookAt(open, path string, flags int) (file, found, error) {
	fd, err := unix.Open(open, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return file{}, found{}, fmt.Errorf("open %s: %w", open, err)
	}
	f := os.NewFile(uintptr(fd), open)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return file{}, found{}, fmt.Errorf("stat %s: %w", open, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return file{}, found{}, fmt.Errorf("%s is no regular file: %w", open, fs.ErrInvalid)
	}
	what := found{path: printable(path)}
	b := make([]byte, headerSize)
	if _, err := f.ReadAt(b, 0); err == nil || err == io.EOF {
		if l, err := region.Validate(b, uint64(st.Size)); err == nil {
			what.layout = l
		}
	}
	return file{uint64(st.Dev), st.Ino}, what, nil
}

// mappedBy looks for the file of a word among what a process has mapped.
func mappedBy(pid int, w *WordStats) (found, bool) {
	if pid == 0 {
		return found{}, false
	}
	dir := "/proc/" + strconv.Itoa(pid)
	m, ok := mapping(dir, w)
	if !ok {
		return found{}, false
	}
	if f, ok := open(dir, m, w); ok {
		return f, true
	}
	return found{path: m.path}, true // seen, but not to be read
}

// A mapped is one line of /proc/PID/maps.
type mapped struct {
	span string // in hexadecimal, as in map_files
	path string
}

// mapping finds the word's file among what a process has mapped. That compares
// device numbers as the kernel has them inside, which st_dev is not on every
// file system (btrfs).
func mapping(dir string, w *WordStats) (mapped, bool) {
	b, err := os.ReadFile(dir + "/maps")
	if err != nil {
		return mapped{}, false
	}
	device := fmt.Sprintf("%02x:%02x", major(w.Device), minor(w.Device))
	for line := range strings.Lines(string(b)) {
		// 7f..-7f.. rw-s 00001000 00:01 1234   /memfd:shm-region (deleted)
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 6)
		if len(f) == 6 && f[3] == device && f[4] == strconv.FormatUint(w.Inode, 10) {
			return mapped{f[0], printable(strings.TrimLeft(f[5], " "))}, true
		}
	}
	return mapped{}, false
}

// open reads the header of a mapped file: through map_files, which needs
// CAP_CHECKPOINT_RESTORE, or through a descriptor that the process has of it.
func open(dir string, m mapped, w *WordStats) (found, bool) {
	if id, f, err := lookAt(dir+"/map_files/"+m.span, m.path, 0); err == nil && id.inode == w.Inode {
		return f, true
	}
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return found{}, false
	}
	for _, d := range fds {
		path := filepath.Join(dir, "fd", d.Name())
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || st.Ino != w.Inode || uint64(st.Dev) != w.Device || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		if id, f, err := lookAt(path, m.path, 0); err == nil && id == (file{w.Device, w.Inode}) {
			return f, true
		}
	}
	return found{}, false
}
