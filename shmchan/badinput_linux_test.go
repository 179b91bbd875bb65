package shmchan_test

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/shmchan"
)

// refusedBoth fails unless neither end of the name can be opened.
func refusedBoth(t *testing.T, name string, want error, says ...string) {
	t.Helper()
	_, err := shmchan.OpenSender[int](name)
	wantErr(t, err, want, says...)
	_, err = shmchan.OpenReceiver[int](name)
	wantErr(t, err, want, says...)
}

func TestBadNames(t *testing.T) {
	d := dir(t)
	for _, name := range []string{
		"", ".", "..", "/", "a/b", "./a", "../a", "a\x00b", d + "/", d + "/..", "x.lock", strings.Repeat("x", 256),
		d + "/" + strings.Repeat("x/", 3000) + "x",
	} {
		refusedBoth(t, name, fs.ErrInvalid, "name")
		wantErr(t, shmchan.Remove(name), fs.ErrInvalid, "name")
	}
	names(t, d)
	for _, name := range []string{"with space", "ünï", "-", "...", strings.Repeat("x", 250), d + "/absolute"} {
		must(t, sender(t, name).Close())
	}
	t.Setenv("SHMCHAN_DIR", "relative")
	refusedBoth(t, "name", fs.ErrInvalid, "SHMCHAN_DIR")
	t.Setenv("SHMCHAN_DIR", d+"/missing")
	refusedBoth(t, "name", fs.ErrNotExist, d+"/missing", "SHMCHAN_DIR")
	wantErr(t, shmchan.Remove("name"), fs.ErrNotExist)
	refusedBoth(t, d+"/missing/name", fs.ErrNotExist)
	names(t, d)
}

// What has the name but is no channel that we may use is refused, left as it
// is, and can be removed.
func TestBadFiles(t *testing.T) {
	// channel leaves a channel with a message under the name.
	channel := func(t *testing.T, name string) {
		tx := sender(t, name)
		must(t, tx.TrySend(1))
		must(t, tx.Detach())
	}
	for what, c := range map[string]struct {
		make func(t *testing.T, name string)
		want error
		says string
	}{
		"owner": {func(t *testing.T, name string) {
			if os.Getuid() != 0 {
				t.Skip("only root can give files away")
			}
			channel(t, name)
			must(t, os.Chown(name, 12345, 12345))
		}, fs.ErrPermission, "owner 12345"},
		"mode": {func(t *testing.T, name string) {
			channel(t, name)
			must(t, os.Chmod(name, 0o666))
		}, fs.ErrPermission, "0666"},
		"lock's mode": {func(t *testing.T, name string) {
			channel(t, name)
			must(t, os.Chmod(name+".lock", 0o644))
		}, fs.ErrPermission, "0644"},
		"truncated": {func(t *testing.T, name string) {
			channel(t, name)
			must(t, os.Truncate(name, 8192))
		}, shmchan.ErrCorrupt, "8192"},
		"cut to nothing": {func(t *testing.T, name string) {
			channel(t, name)
			must(t, os.Truncate(name, 0))
		}, shmchan.ErrCorrupt, "0 bytes"},
		"grown": {func(t *testing.T, name string) {
			channel(t, name)
			must(t, os.Truncate(name, 1<<20))
		}, shmchan.ErrCorrupt, "1048576"},
		"overwritten": {func(t *testing.T, name string) {
			channel(t, name)
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteString(strings.Repeat("garbage!", 1000))
			must(t, err)
			must(t, f.Close())
		}, shmchan.ErrCorrupt, "garbage!"},
		"text": {func(t *testing.T, name string) {
			must(t, os.WriteFile(name, []byte(strings.Repeat("hello\n", 10000)), 0o600))
		}, shmchan.ErrCorrupt, "hello"},
		"empty": {func(t *testing.T, name string) {
			must(t, os.WriteFile(name, nil, 0o600))
		}, shmchan.ErrCorrupt, "0 bytes"},
		"without its locks": {func(t *testing.T, name string) {
			channel(t, name)
			must(t, os.Remove(name+".lock"))
		}, shmchan.ErrCorrupt, "lock file"},
		"directory": {func(t *testing.T, name string) {
			must(t, os.Mkdir(name, 0o700))
		}, fs.ErrInvalid, "directory"},
		"symbolic link": {func(t *testing.T, name string) {
			channel(t, name+"2")
			must(t, os.Symlink(name+"2", name))
		}, fs.ErrInvalid, "symbolic link"},
		"hard link": {func(t *testing.T, name string) {
			channel(t, name)
			must(t, os.Link(name, name+"2"))
		}, fs.ErrPermission, "hard links"},
		"pipe": {func(t *testing.T, name string) {
			must(t, unix.Mkfifo(name, 0o600))
		}, fs.ErrInvalid, "no regular file"},
		"socket": {func(t *testing.T, name string) {
			l, err := net.Listen("unix", name)
			must(t, err)
			t.Cleanup(func() { l.Close() })
		}, fs.ErrInvalid, "no regular file"},
	} {
		t.Run(what, func(t *testing.T) {
			d := dir(t)
			name := filepath.Join(d, "name")
			c.make(t, name)
			before := listing(t, d)
			refusedBoth(t, name, c.want, c.says)
			if after := listing(t, d); after != before {
				t.Fatalf("was\n%s\nis\n%s", before, after)
			}
			if what == "directory" {
				wantErr(t, shmchan.Remove(name), fs.ErrInvalid, "directory")
				return
			}
			if what == "lock's mode" { // nor would Remove wait for it
				must(t, os.Chmod(name+".lock", 0o600))
			}
			must(t, shmchan.Remove(name))
			tx, rx := sender(t, name), receiver(t, name)
			sends(t, tx, 0, 3)
			recvs(t, rx, 0, 3)
		})
	}
}

// listing says what is in a directory, with sizes and contents.
func listing(t *testing.T, d string) string {
	var b strings.Builder
	must(t, filepath.WalkDir(d, func(path string, e fs.DirEntry, err error) error {
		must(t, err)
		st, err := os.Lstat(path)
		must(t, err)
		content := 0
		if st.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			must(t, err)
			for _, c := range data {
				content = content*31 + int(c)
			}
		}
		fmt.Fprintln(&b, path, st.Mode(), st.Size(), content)
		return nil
	}))
	return b.String()
}

func TestFullFileSystem(t *testing.T) {
	d := t.TempDir()
	if err := unix.Mount("tmpfs", d, "tmpfs", 0, "size=65536"); err != nil {
		t.Skip("cannot mount a tmpfs of 64 KiB:", err)
	}
	defer unix.Unmount(d, unix.MNT_DETACH)
	t.Setenv("SHMCHAN_DIR", d)
	for _, c := range []int{1 << 13, 1 << 20} {
		_, err := shmchan.OpenSender[int]("name", shmchan.WithCapacity(c))
		wantErr(t, err, unix.ENOSPC, "bytes needed", "free")
		_, err = shmchan.OpenReceiver[int]("name", shmchan.WithCapacity(c))
		wantErr(t, err, unix.ENOSPC, "bytes needed", "free")
		names(t, d)
	}
	tx, rx := sender(t, "name", shmchan.WithCapacity(1024)), receiver(t, "name")
	for i := range 1024 { // every page is there
		must(t, tx.TrySend(i))
	}
	recvs(t, rx, 0, 1024)
	must(t, tx.Close())
	must(t, rx.Close())
}

func TestBadDescriptors(t *testing.T) {
	_, err := shmchan.SenderFromFile[int](nil)
	wantErr(t, err, fs.ErrInvalid, "nil")
	_, err = shmchan.ReceiverFromFile[int](nil)
	wantErr(t, err, fs.ErrInvalid, "nil")

	pr, pw, err := os.Pipe()
	must(t, err)
	plain, err := os.Create(filepath.Join(t.TempDir(), "plain"))
	must(t, err)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	other := os.NewFile(uintptr(fds[1]), "other end")
	_, err = other.WriteString("something else")
	must(t, err)
	for _, f := range []*os.File{pr, pw, plain, os.NewFile(uintptr(fds[0]), "socket")} {
		_, err := shmchan.SenderFromFile[int](f)
		wantErr(t, err, fs.ErrInvalid)
		_, err = shmchan.ReceiverFromFile[int](f)
		wantErr(t, err, fs.ErrInvalid)
		must(t, f.Close()) // it was left open
		_, err = shmchan.SenderFromFile[int](f)
		wantErr(t, err, fs.ErrClosed)
	}
	must(t, other.Close())
}

// A refused descriptor is as good as before.
func TestDescriptorOfTheOtherEnd(t *testing.T) {
	tx, rx := pair[int](t, nil)
	f, err := rx.File()
	must(t, err)
	_, err = shmchan.SenderFromFile[int](f)
	wantErr(t, err, fs.ErrInvalid, "other end")
	rx, err = shmchan.ReceiverFromFile[int](f)
	must(t, err)
	defer rx.Close()
	must(t, tx.TrySend(1))
	recvs(t, rx, 1, 2)
}

// Of two copies of a descriptor one is the role.
func TestDescriptorAttachedTwice(t *testing.T) {
	tx, rx := pair[int](t, nil)
	f, err := tx.File()
	must(t, err)
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	second := os.NewFile(uintptr(fd), "second")
	defer second.Close()
	tx, err = shmchan.SenderFromFile[int](f)
	must(t, err)
	defer tx.Close()
	_, err = shmchan.SenderFromFile[int](second)
	wantErr(t, err, shmchan.ErrBusy)
	must(t, tx.TrySend(1))
	recvs(t, rx, 1, 2)
}

// After Remove, a role that was on its way leads nowhere.
func TestDescriptorOfARemovedChannel(t *testing.T) {
	dir(t)
	f, err := sender(t, "name").File()
	must(t, err)
	defer f.Close()
	must(t, shmchan.Remove("name"))
	_, err = shmchan.SenderFromFile[int](f)
	wantErr(t, err, shmchan.ErrClosed)
}
