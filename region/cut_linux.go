package region

import "golang.org/x/sys/unix"

// shrunk tells whether the file of a named region is shorter than it was made,
// which nothing here ever does.
func (r *Region) shrunk() bool { return r.short(func(int) {}) }

// lengthen undoes that, as far as the size goes.
func (r *Region) lengthen() {
	r.short(func(fd int) { unix.Ftruncate(fd, int64(r.layout.Size)) })
}

// short calls fn with the file of a named region if it is shorter than it was
// made, and reports that. A file that nothing leads to any more is not looked at.
func (r *Region) short(fn func(fd int)) bool {
	r.fds.RLock()
	defer r.fds.RUnlock()
	if r.backing != BackingNamed || r.locks == nil {
		return false
	}
	fd, err := r.memory()
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if fstat(fd, &st) != nil || uint64(st.Size) >= r.layout.Size {
		return false
	}
	fn(fd)
	return true
}
