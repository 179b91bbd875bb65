package region

import "golang.org/x/sys/unix"

// shrunk tells whether the file of a named region is shorter than it was made,
// which nothing here ever does. It takes no descriptor, so that it goes on where
// there is none left. A file that the name does not lead to any more, and that is
// not held open, is not looked at.
func (r *Region) shrunk() bool {
	r.fds.RLock()
	defer r.fds.RUnlock()
	if r.backing != BackingNamed || r.locks == nil {
		return false
	}
	var st unix.Stat_t
	if r.data >= 0 {
		return fstat(r.data, &st) == nil && uint64(st.Size) < r.layout.Size
	}
	return unix.Lstat(r.name, &st) == nil && r.file == (fileID{uint64(st.Dev), st.Ino}) && uint64(st.Size) < r.layout.Size
}

// lengthen undoes that, as far as the size goes.
func (r *Region) lengthen() {
	if !r.shrunk() {
		return
	}
	r.fds.RLock()
	defer r.fds.RUnlock()
	if r.locks == nil {
		return
	}
	fd, err := r.memory()
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if fstat(fd, &st) == nil && uint64(st.Size) < r.layout.Size {
		unix.Ftruncate(fd, int64(r.layout.Size))
	}
}
