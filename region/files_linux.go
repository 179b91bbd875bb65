package region

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// This file deals with directory entries: what may be opened, and how a file
// gets its name.

func fstat(fd int, st *unix.Stat_t) error {
	for {
		if err := unix.Fstat(fd, st); err != unix.EINTR {
			return err
		}
	}
}

func fstatfs(fd int, st *unix.Statfs_t) error {
	for {
		if err := unix.Fstatfs(fd, st); err != unix.EINTR {
			return err
		}
	}
}

// remote names the file systems whose mappings two processes may see
// differently, or whose owner is a program that can hang us.
var remote = map[int64]string{
	unix.NFS_SUPER_MAGIC:   "NFS",
	unix.SMB_SUPER_MAGIC:   "SMB",
	unix.SMB2_SUPER_MAGIC:  "SMB",
	unix.CIFS_SUPER_MAGIC:  "CIFS",
	unix.FUSE_SUPER_MAGIC:  "FUSE",
	unix.V9FS_MAGIC:        "9P",
	unix.CEPH_SUPER_MAGIC:  "Ceph",
	unix.AFS_SUPER_MAGIC:   "AFS",
	unix.AFS_FS_MAGIC:      "AFS",
	unix.CODA_SUPER_MAGIC:  "Coda",
	unix.NCP_SUPER_MAGIC:   "NCP",
	0x0bd00bd0:             "Lustre",
	0x01161970:             "GFS2",
	unix.OCFS2_SUPER_MAGIC: "OCFS2",
}

// checkLocal refuses a file system of a type of statfs, which some systems
// have with a sign.
func checkLocal(path string, typ int64) error {
	if kind, ok := remote[int64(uint32(typ))]; ok {
		return fmt.Errorf("region: %s: lies on %s, which does not share memory between processes; use a local file system such as /dev/shm: %w",
			path, kind, errors.ErrUnsupported)
	}
	return nil
}

// checkDir looks at the directory of path before anything is made in it.
func checkDir(path string) error {
	dir := filepath.Dir(path)
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		switch err {
		case unix.EINTR:
			continue
		case nil:
			return checkLocal(dir, int64(st.Type))
		case unix.ENOENT:
			return fmt.Errorf("region: %s: the directory %s does not exist; make it, or set $%s: %w", path, dir, dirEnv, err)
		default:
			return fmt.Errorf("region: %s: directory %s: %w", path, dir, err)
		}
	}
}

// checkFile holds an open file against the rules for named regions: a regular
// file with one name, of the right owner, writable for nobody that the opener
// did not ask for. refused is the mode bits that must not be there.
func checkFile(path string, st *unix.Stat_t, c *Config, refused uint32) error {
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("region: %s: is no regular file; remove it or use another name: %w", path, fs.ErrInvalid)
	}
	if st.Nlink > 1 {
		return fmt.Errorf("region: %s: has %d hard links, want 1; remove it or use another name: %w", path, st.Nlink, fs.ErrPermission)
	}
	if err := checkOwner(path, st, c); err != nil {
		return err
	}
	if wide := st.Mode & refused; wide != 0 {
		return fmt.Errorf("region: %s: owner %d, mode %#o, and %#o was not asked for; ask for that mode or remove the file: %w",
			path, st.Uid, st.Mode&0o777, wide, fs.ErrPermission)
	}
	return nil
}

func checkOwner(path string, st *unix.Stat_t, c *Config) error {
	if uid := uint32(os.Geteuid()); st.Uid != uid && st.Uid != 0 && c.Mode&0o022 == 0 {
		return fmt.Errorf("region: %s: owner %d, mode %#o, want owner %d or 0; remove the file, or ask for a mode that others may write to: %w",
			path, st.Uid, st.Mode&0o777, uid, fs.ErrPermission)
	}
	return nil
}

// dataMode is the mode of a new region.
func (c *Config) dataMode() uint32 {
	if c.Mode == 0 {
		return 0o600
	}
	return uint32(c.Mode)
}

// dataRefused is what an existing region must not grant.
func (c *Config) dataRefused() uint32 { return 0o022 &^ c.dataMode() }

// lockMode lets exactly those at the locks who may write to the region. Who
// may only read it could pretend to be alive.
func (c *Config) lockMode() uint32 {
	mode := uint32(0)
	for class := uint32(0o6); class <= 0o600; class <<= 3 {
		if c.dataMode()&class == class {
			mode |= class
		}
	}
	return mode
}

func (c *Config) lockRefused() uint32 { return 0o066 &^ c.lockMode() }

// openFile opens an existing file for reading and writing, and explains why
// not.
func openFile(path string) (int, error) {
	fd, err := openat(path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	switch err {
	case nil:
		return fd, nil
	case unix.ELOOP:
		return -1, fmt.Errorf("region: %s: is a symbolic link; remove it or use another name: %w", path, fs.ErrInvalid)
	case unix.EISDIR:
		return -1, fmt.Errorf("region: %s: is a directory; use another name: %w", path, fs.ErrInvalid)
	case unix.ENXIO:
		return -1, fmt.Errorf("region: %s: is no regular file; remove it or use another name: %w", path, fs.ErrInvalid)
	case unix.EACCES, unix.EPERM, unix.EROFS:
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			return -1, fmt.Errorf("region: %s: owner %d, mode %#o does not let user %d read and write: %w", path, st.Uid, st.Mode&0o777, os.Geteuid(), err)
		}
	}
	return -1, fmt.Errorf("region: open %s: %w", path, err)
}

// makeFile makes an empty file with the mode in the directory of path that
// has no name, or, where the file system cannot do that, the name temp.
func makeFile(path string, mode uint32) (fd int, temp string, err error) {
	dir := filepath.Dir(path)
	fd, err = openat(dir, unix.O_TMPFILE|unix.O_RDWR, mode)
	if err == unix.EOPNOTSUPP || err == unix.EISDIR || err == unix.ENOENT || err == unix.EINVAL || noTmpfile {
		if err == nil {
			unix.Close(fd)
		}
		temp = dir + "/.shm-" + rand.Text()
		fd, err = openat(temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, mode)
	}
	if err != nil {
		return -1, "", fmt.Errorf("region: make a file in %s: %w", dir, err)
	}
	if err = unix.Fchmod(fd, mode); err != nil { // whatever the umask is
		dropFile(fd, temp)
		return -1, "", fmt.Errorf("region: set the mode of a file in %s: %w", dir, err)
	}
	return fd, temp, nil
}

var noTmpfile = false // set by tests

// dropFile undoes makeFile.
func dropFile(fd int, temp string) {
	if temp != "" {
		unix.Unlink(temp)
	}
	unix.Close(fd)
}

// nameFile gives a file of makeFile its name, if nobody has it:
// fs.ErrExist otherwise. After success there is no temp.
func nameFile(fd int, temp, path string) error {
	var err error
	if temp == "" {
		err = unix.Linkat(unix.AT_FDCWD, procPath(fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
		if err == unix.ENOENT {
			if _, e := os.Stat("/proc/self/fd"); e != nil {
				return fmt.Errorf("region: name %s: /proc is not mounted: %w", path, errors.ErrUnsupported)
			}
		}
	} else {
		err = unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
		if err == unix.EINVAL || err == unix.ENOSYS {
			if err = unix.Link(temp, path); err == nil {
				err = unix.Unlink(temp)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("region: name %s: %w", path, err)
	}
	return nil
}

// isStill tells whether path is the file that fd has open.
func isStill(path string, fd int) bool {
	var a, b unix.Stat_t
	return unix.Lstat(path, &a) == nil && fstat(fd, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}
