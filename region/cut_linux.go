package region

import "golang.org/x/sys/unix"

// shrunk tells whether the file of a named region is shorter than it was made,
// which nothing here ever does.
func (r *Region) shrunk() bool {
	r.fds.RLock()
	defer r.fds.RUnlock()
	var st unix.Stat_t
	return r.backing == BackingNamed && r.data >= 0 && fstat(r.data, &st) == nil && uint64(st.Size) < r.layout.Size
}

// lengthen undoes that, as far as the size goes.
func (r *Region) lengthen() {
	if !r.shrunk() {
		return
	}
	r.fds.RLock()
	defer r.fds.RUnlock()
	if r.data >= 0 {
		unix.Ftruncate(r.data, int64(r.layout.Size))
	}
}
