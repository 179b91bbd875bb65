package region

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A named region is two files: NAME, the memory, and NAME.lock, whose byte 0
// is the name's lock.
//
// Invariants:
//   - NAME, and NAME.lock, are made, removed and replaced only by who holds
//     byte 0 of the very inode that NAME.lock leads to;
//   - NAME is complete when it appears;
//   - a lock inode belongs to one region: the header has its number, and it
//     holds the region's identity (16 bytes); NAME goes first and NAME.lock
//     after it when they go.
//
// Ownership: whoever holds the name's lock owns both directory entries.
//
// Who may die where: the creator before NAME appears leaves at most NAME.lock,
// which the next one uses; a remover between the two likewise. The kernel
// lets the name's lock go with its holder.

// Open attaches to the region of a name, or creates it if there is none, and
// claims a role, all under the name's lock, so that of any number of callers
// exactly one creates. A bare name lies in $SHMCHAN_DIR, or /dev/shm if that
// is not set; an absolute path is used as it is.
//
// An existing region is mapped only after the file and the header have been
// checked: a regular file with one link and no symbolic one, of this user or
// root (or of anyone, if c.Mode lets others write), not more writable than
// c.Mode, not on a network or FUSE file system, as big as the header says.
// Then c.Accept sees it. A region that is retired or from before a reboot is
// replaced.
//
// It waits up to 5 s for the name's lock. Errors: ErrBusy if the role is held
// by a living process or the lock by a stopped one, ErrRoleClosed,
// ErrMismatch, ErrCorrupt, fs.ErrPermission, fs.ErrInvalid for a bad name,
// Config or kind of file, fs.ErrNotExist if the directory is missing, ENOSPC
// if the file system is too full, what Init and Accept returned. Nothing is
// left behind then.
func Open(name string, role int, c Config) (*Region, error) {
	path, err := resolve(name)
	if err != nil {
		return nil, err
	}
	l, err := newLayout(&c)
	if err != nil {
		return nil, err
	}
	if role < 0 || role >= c.Roles {
		return nil, fmt.Errorf("region: role %d of %d: %w", role, c.Roles, fs.ErrInvalid)
	}
	if err := checkDir(path); err != nil {
		return nil, err
	}
	for range 100 {
		n, err := lockPath(path, &c)
		if err != nil {
			return nil, err
		}
		var r *Region
		if survive(func() { r, err = n.open(role, &c, l) }) { // what it had is undone
			return nil, cutError(path)
		}
		if r != nil || err != nil {
			return r, err
		}
	}
	return nil, fmt.Errorf("region: %s: is replaced by others all the time: %w", path, ErrBusy)
}

// A heldName is the name's lock, taken.
type heldName struct {
	path  string
	locks *ofdLocks
	inode uint64
	made  bool // the lock file is ours, but see undo
}

// lockPath opens or makes the lock file of path and takes the name's lock.
func lockPath(path string, c *Config) (*heldName, error) {
	for range 1000 {
		n, err := tryLockPath(path, c)
		if n != nil || err != nil {
			return n, err
		}
	}
	return nil, fmt.Errorf("region: %s: the lock file is replaced by others all the time: %w", path, ErrBusy)
}

// tryLockPath is one turn of lockPath. It returns neither lock nor error if
// the lock file went away meanwhile.
func tryLockPath(path string, c *Config) (*heldName, error) {
	lockFile := path + lockSuffix
	n := &heldName{path: path}
	fd, err := openFile(lockFile)
	if errors.Is(err, fs.ErrNotExist) {
		var temp string
		fd, temp, err = makeFile(lockFile, c.lockMode())
		if err != nil {
			return nil, err
		}
		if err = nameFile(fd, temp, lockFile); err != nil {
			dropFile(fd, temp)
			if errors.Is(err, fs.ErrExist) || temp != "" && errors.Is(err, fs.ErrNotExist) {
				return nil, nil // somebody was faster, or took our temporary name
			}
			return nil, err
		}
		n.made = true
	}
	if err != nil {
		return nil, err
	}
	n.locks = &ofdLocks{fd}

	var st unix.Stat_t
	err = fstat(fd, &st)
	if err == nil {
		err = checkFile(lockFile, &st, c, c.lockRefused())
	}
	if err == nil {
		err = lockName(n.locks, path, nameTimeout)
	}
	if err != nil {
		n.unlock() // never ours to remove: without the lock, or for a file that we refuse
		return nil, err
	}
	if !isStill(lockFile, fd) {
		n.unlock()
		return nil, nil
	}
	n.inode = st.Ino
	return n, nil
}

// unlock lets the name go and closes the lock file.
func (n *heldName) unlock() { n.locks.close() }

// undo lets the name go, and removes a lock file that we made for nothing. That
// we made it is not enough: before we had locked it, another process may have,
// and made the region.
func (n *heldName) undo() {
	if n.made && !n.inUse() {
		unix.Unlink(n.path + lockSuffix)
	}
	n.unlock()
}

// inUse tells whether the name leads to a region whose locks these are.
func (n *heldName) inUse() bool {
	fd, err := openFile(n.path)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := fstat(fd, &st); err != nil {
		return false
	}
	l, err := readHeader(fd, uint64(st.Size))
	return err == nil && n.belongs(l)
}

// belongs tells whether these are the locks of the region with this header.
func (n *heldName) belongs(l *Layout) bool {
	var id [17]byte
	k, err := unix.Pread(n.locks.fd, id[:], 0)
	return err == nil && k == len(l.ID) && [16]byte(id[:16]) == l.ID && n.inode == l.LockInode
}

// used tells whether the lock file was that of a region. Some process may still
// have that region, and hold roles by these locks.
func (n *heldName) used() bool {
	var b [1]byte
	k, err := unix.Pread(n.locks.fd, b[:], 0)
	return err != nil || k > 0
}

// remove takes both names away. The lock file goes even if it is older than
// this call: a lock inode belongs to one region.
func (n *heldName) remove() error {
	if err := unix.Unlink(n.path); err != nil {
		return fmt.Errorf("region: remove %s: %w", n.path, err)
	}
	for _, path := range []string{n.path, n.path + lockSuffix} {
		unix.Unlink(tempPath(path)) // of a creator that died
	}
	if err := unix.Unlink(n.path + lockSuffix); err != nil && err != unix.ENOENT {
		return fmt.Errorf("region: remove %s: %w", n.path+lockSuffix, err)
	}
	return nil
}

// open does the work of Open under the name's lock, which it lets go. It
// returns neither Region nor error if it removed what was there: a region that is
// over, or the locks of one whose name somebody has taken away by hand, or that a
// creator or a remover left when it died.
func (n *heldName) open(role int, c *Config, l *Layout) (r *Region, err error) {
	done := false
	defer func() {
		if !done { // a panic of a callback included
			n.undo()
		}
	}()
	r, err = n.attach(c)
	created := false
	if errors.Is(err, fs.ErrNotExist) {
		if n.used() {
			unix.Unlink(n.path + lockSuffix)
			n.unlock()
			done = true
			return nil, nil
		}
		r, err = n.create(c, l)
		created = true
	}
	if err != nil {
		return nil, err
	}
	if r == nil {
		done = true
		err := n.remove()
		n.unlock()
		return nil, err
	}
	r.locks = n.locks
	if err := r.take(role, nil); err != nil {
		r.drop() // undo closes the locks
		if created {
			unix.Unlink(n.path)
		}
		return nil, err
	}
	done = true
	r.letGo()
	n.locks.unlock(nameByte)
	return r, nil
}

// attach maps the region that has the name, without a role. It returns
// neither Region nor error if that is retired, marked so here if need be, and
// is to be removed; fs.ErrNotExist if there is none.
func (n *heldName) attach(c *Config) (r *Region, err error) {
	x, err := n.mapExisting(c, c.dataRefused())
	if err != nil {
		return nil, err
	}
	defer func() {
		if r == nil { // a panic of Accept included
			x.drop()
		}
	}()

	now := bootID()
	if x.Retired() || x.layout.Boot != now && x.layout.Boot != [16]byte{} && now != [16]byte{} {
		x.retire()
		return nil, nil
	}
	if !n.belongs(x.layout) {
		return nil, fmt.Errorf("region: %s: its lock file was taken away or replaced, so nobody can tell who uses it; end its users and remove it: %w", n.path, ErrCorrupt)
	}
	if c.Accept != nil {
		x.locks = n.locks // for Probe
		v, err := c.Accept(x)
		x.locks = nil
		if err != nil {
			return nil, err
		}
		if v == Remake {
			x.retire()
			return nil, nil
		}
	}
	return x, nil
}

// mapExisting opens, checks and maps the file that has the name. It sets no
// locks.
func (n *heldName) mapExisting(c *Config, refused uint32) (*Region, error) {
	fd, err := openFile(n.path)
	if err != nil {
		return nil, err
	}
	r, err := n.mapOpened(fd, c, refused)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return r, nil
}

func (n *heldName) mapOpened(fd int, c *Config, refused uint32) (*Region, error) {
	var st unix.Stat_t
	if err := fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("region: %s: %w", n.path, err)
	}
	if err := checkFile(n.path, &st, c, refused); err != nil {
		return nil, err
	}
	return mapChecked(n.path, BackingNamed, fd, &st)
}

// mapChecked maps a file of whose owner and mode the caller approves.
func mapChecked(path string, b Backing, fd int, st *unix.Stat_t) (*Region, error) {
	what := path
	if what == "" {
		what = "memfd"
	}
	var sfs unix.Statfs_t
	if err := fstatfs(fd, &sfs); err != nil {
		return nil, fmt.Errorf("region: %s: %w", what, err)
	}
	if err := checkLocal(what, int64(sfs.Type)); err != nil {
		return nil, err
	}
	l, err := readHeader(fd, uint64(st.Size))
	if err != nil {
		return nil, fmt.Errorf("region: %s: %w", what, err)
	}
	if err := fill(fd, st); err != nil {
		return nil, fmt.Errorf("region: %s: %w", what, err)
	}
	mem, err := mapFile(fd, l.Size)
	if err != nil {
		return nil, fmt.Errorf("region: %s: %w", what, err)
	}
	r := newRegion(l, b, mem)
	r.name, r.data = path, fd
	if b == BackingNamed {
		r.mode = os.FileMode(st.Mode & 0o777)
	}
	return r, nil
}

// drop gives up an attachment that nobody has seen, but for its locks.
func (r *Region) drop() {
	unix.Close(r.data)
	r.data, r.locks = -1, nil
	r.Unmap()
}

// undo unmaps what a creation has mapped, if anything. Descriptors and locks are
// the caller's.
func (r *Region) undo() {
	if r != nil {
		r.data, r.locks = -1, nil
		r.Unmap()
	}
}

// create makes the region and gives it the name.
func (n *heldName) create(c *Config, l *Layout) (r *Region, err error) {
	l.LockInode = n.inode
	fd, temp, err := makeFile(n.path, c.dataMode())
	if err != nil {
		return nil, err
	}
	var x *Region
	defer func() {
		if r == nil { // a panic of Init included
			x.undo()
			dropFile(fd, temp)
		}
	}()
	mem, err := c.create(fd, l)
	if err != nil {
		return nil, fmt.Errorf("region: %s: %w", n.path, err)
	}
	x = newRegion(l, BackingNamed, mem)
	x.name, x.data, x.mode = n.path, fd, os.FileMode(c.dataMode())
	x.header.write(l)
	if c.Init != nil {
		x.locks = n.locks
		err := c.Init(x)
		x.locks = nil
		if err != nil {
			return nil, err
		}
	}
	if k, err := unix.Pwrite(n.locks.fd, l.ID[:], 0); err != nil || k != len(l.ID) {
		return nil, fmt.Errorf("region: %s: write the lock file: %w", n.path, cmp.Or(err, error(unix.ENOSPC)))
	}
	if err := nameFile(fd, temp, n.path); err != nil {
		return nil, err
	}
	return x, nil
}

// unlinkOwn removes the names of r if they still are its own. The caller
// holds the name's lock and r.life.
func (r *Region) unlinkOwn() error {
	n := &heldName{path: r.name, locks: r.locks.(*ofdLocks)}
	var st unix.Stat_t
	if !isStill(r.name+lockSuffix, n.locks.fd) || unix.Lstat(r.name, &st) != nil || r.file != (fileID{uint64(st.Dev), st.Ino}) {
		return nil
	}
	if err := n.remove(); err != nil {
		r.retire() // whoever may remove it, will
		return err
	}
	return nil
}

// Remove takes a name away, whoever uses the region. The region is marked
// retired, wake (nil: nothing) is called with it so that parked peers look,
// and both files are removed. Attached processes keep their memory until they
// leave. wake must not claim, close or unmap.
//
// A file that is no valid region is removed too. Errors: fs.ErrNotExist if
// there is none, fs.ErrInvalid for a bad name or a directory,
// fs.ErrPermission, ErrBusy if another process is stopped in the middle of
// opening. It waits up to 5 s for the name's lock.
func Remove(name string, wake func(*Region)) error {
	path, err := resolve(name)
	if err != nil {
		return err
	}
	if err := checkDir(path); err != nil {
		return err
	}
	// Do not make a lock file only to say that there is nothing.
	if !exists(path) && !exists(path+lockSuffix) {
		return fmt.Errorf("region: remove %s: %w", path, fs.ErrNotExist)
	}
	n, err := lockPath(path, &Config{Mode: 0o666}) // whatever the modes are: the kernel says who may remove
	if err != nil {
		return err
	}
	defer n.unlock()

	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		unix.Unlink(path + lockSuffix) // ours, or left behind by a creator that died
		return fmt.Errorf("region: remove %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if n.made {
			unix.Unlink(path + lockSuffix)
		}
		return fmt.Errorf("region: remove %s: is a directory: %w", path, fs.ErrInvalid)
	}
	if r, err := n.mapExisting(&Config{Mode: 0o666}, 0); err == nil {
		r.locks = n.locks
		survive(func() {
			r.retire()
			if wake != nil {
				wake(r)
			}
		})
		r.drop()
	}
	return n.remove()
}

func exists(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) != unix.ENOENT
}
