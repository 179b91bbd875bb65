package region

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	lockSuffix = ".lock"
	defaultDir = "/dev/shm"
	dirEnv     = "SHMCHAN_DIR"
	maxName    = 255 - len(lockSuffix)
	maxPath    = 4095 - len(lockSuffix)
)

// resolve turns a name into the absolute path of its file.
func resolve(name string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("region: name %q %s: %w", name, why, fs.ErrInvalid)
	}
	if strings.ContainsRune(name, 0) {
		return bad("contains a zero byte")
	}
	path := name
	if !strings.HasPrefix(name, "/") {
		switch {
		case name == "" || name == "." || name == "..":
			return bad("is no file name")
		case strings.Contains(name, "/"):
			return bad("is a relative path; give a bare name or an absolute path")
		}
		dir := os.Getenv(dirEnv)
		if dir == "" {
			dir = defaultDir
		}
		if !filepath.IsAbs(dir) {
			return bad("lies in $" + dirEnv + ", which is no absolute path: " + dir)
		}
		path = strings.TrimSuffix(dir, "/") + "/" + name
	}
	base := path[strings.LastIndexByte(path, '/')+1:]
	switch {
	case base == "" || base == "." || base == "..":
		return bad("names a directory")
	case strings.HasSuffix(base, lockSuffix):
		return bad("ends in " + lockSuffix + ", which is kept for locks")
	case len(base) > maxName:
		return bad(fmt.Sprintf("has %d bytes, want at most %d", len(base), maxName))
	case len(path) > maxPath:
		return bad(fmt.Sprintf("has %d bytes with its directory, want at most %d", len(path), maxPath))
	}
	return path, nil
}
