package region

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// strayAge is how old a lock file without a region must be to be called a
// stray. Opening takes less, unless the process was stopped in the middle.
const strayAge = 10 * time.Second

// tempPrefix begins the name of a file that has no name of its own yet, where
// there is no O_TMPFILE; see makeFile.
const tempPrefix = ".shm-"

// lockSize is the size of a lock file that belongs to a region.
const lockSize = 16

// List returns the absolute paths of the regions in a directory ("" means
// $SHMCHAN_DIR, or /dev/shm if that is not set), in order of their names.
// They are the files that begin as a region does, and those that have a lock
// file beside them, whatever they hold: Observe tells. Files that this user
// may not read are regions if they have a lock file.
//
// strays are what crashes may leave behind: lock files older than ten seconds
// that lock nothing and belong to nothing, and unnamed halves of regions.
// Remove takes a stray lock file away if given the name of its region; the
// next Open of that name uses it.
//
// It opens no lock file. Files that come and go meanwhile may be missed.
func List(dir string) (regions, strays []string, err error) {
	if dir == "" {
		path, err := resolve("x")
		if err != nil {
			return nil, nil, err
		}
		dir = filepath.Dir(path)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, nil, fmt.Errorf("region: list: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("region: list %s: %w", dir, err)
	}
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		there[e.Name()] = true
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		name, path := e.Name(), filepath.Join(dir, e.Name())
		of, isLock := strings.CutSuffix(name, lockSuffix)
		switch {
		case isLock && there[of]: // goes with its region
		case isLock, strings.HasPrefix(name, tempPrefix):
			info, err := e.Info()
			if err != nil || isLock && info.Size() > lockSize { // somebody else's
				continue
			}
			if time.Since(info.ModTime()) > strayAge {
				strays = append(strays, path)
			}
		case there[name+lockSuffix], beginsAsRegion(path):
			regions = append(regions, path)
		}
	}
	return regions, strays, nil
}

// beginsAsRegion tells whether a file has the magic bytes.
func beginsAsRegion(path string) bool {
	fd, err := openat(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var b [len(magic)]byte
	n, err := unix.Pread(fd, b[:], 0)
	return err == nil && n == len(b) && bytes.Equal(b[:], magic[:])
}
