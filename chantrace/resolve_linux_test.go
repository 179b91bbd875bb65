package chantrace

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan"
	"golang.org/x/sys/unix"
)

// word is one in a file.
func wordIn(t *testing.T, path string, offset uint64) WordStats {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return WordStats{Device: uint64(st.Dev), Inode: st.Ino, Offset: offset, Other: 1}
}

func TestResolveNames(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SHMCHAN_DIR", dir)
	tx, err := shmchan.OpenSender[int64]("ticks")
	must(t, err)
	defer tx.Close()
	path := filepath.Join(dir, "ticks")
	words := []WordStats{
		wordIn(t, path, 4352), wordIn(t, path, 4480), wordIn(t, path, 4484), wordIn(t, path, 4096), wordIn(t, path, 0), wordIn(t, path, 1<<40),
	}
	var r Resolver
	r.Resolve(words)
	want := []string{"ticks sender", "ticks receiver", "ticks, in its section events", "ticks, in its section endpoints", "ticks, in its section none", "ticks, in its section none"}
	for i, w := range words {
		if w.String() != want[i] || w.Place.Path != path {
			t.Errorf("offset %d is %v at %s, want %s", w.Offset, &w, w.Place.Path, want[i])
		}
	}
	// What was known once stays so.
	must(t, tx.Close()) // takes the name away
	again := []WordStats{{Device: words[0].Device, Inode: words[0].Inode, Offset: 4352}}
	r.Resolve(again)
	if again[0].String() != "ticks sender" {
		t.Errorf("after the channel has gone: %v", &again[0])
	}
}

// A directory for channels can hold anything.
func TestResolveHostile(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, b, 0o600))
		return path
	}
	head := make([]byte, 4096)
	copy(head, "shmkit\r\n")
	files := []string{
		write("empty", nil), write("short", []byte("shmkit\r\n")), write("wrong", head),
		write("x\x1b[2J\n", head),
	}
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Symlink(files[0], filepath.Join(dir, "link")))
	must(t, os.Symlink("/dev/zero", filepath.Join(dir, "zero")))
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	r := Resolver{Dirs: []string{dir, filepath.Join(dir, "missing")}}
	var words []WordStats
	for _, f := range files {
		words = append(words, wordIn(t, f, 4352))
	}
	done := make(chan bool)
	go func() {
		r.Resolve(words)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for a fifo or the like")
	}
	for i, w := range words {
		if w.Place.Channel != "" || w.Place.Role != "" {
			t.Errorf("%q is a channel: %+v", files[i], w.Place)
		}
		if w.String() != printable(files[i]) || strings.Contains(w.String(), "\x1b") {
			t.Errorf("%q is called %q", files[i], w.String())
		}
	}
}

func TestResolveThroughProcesses(t *testing.T) {
	fd, err := unix.MemfdCreate("words\x1b", unix.MFD_CLOEXEC)
	must(t, err)
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	must(t, f.Truncate(8192))
	mem, err := unix.Mmap(fd, 0, 8192, unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	defer unix.Munmap(mem)
	w := wordIn(t, fmt.Sprintf("/proc/self/fd/%d", fd), 64)
	w.Waiter.PID = 1 << 30 // nobody
	w.Waker.PID = os.Getpid()
	r := Resolver{Dirs: []string{}}
	words := []WordStats{w, {Device: w.Device, Inode: 1<<63 + 1, Waiter: Task{PID: os.Getpid()}}, {Device: w.Device, Inode: w.Inode + 1<<40}}
	r.Resolve(words)
	if p := words[0].Place; !strings.HasPrefix(p.Path, "/memfd:words") || p.Channel != "" || strings.Contains(p.Path, "\x1b") {
		t.Errorf("%+v", p)
	}
	for _, w := range words[1:] {
		if (w.Place != Place{}) {
			t.Errorf("a file that nobody has: %+v", w.Place)
		}
	}
}

// Other regions than channels have roles by number.
func TestResolveRegions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "region")
	r, err := region.Open(path, 2, region.Config{Roles: 3, Sections: []region.Section{{Kind: region.KindEvents, Size: 3 * 128, Align: 128}}})
	must(t, err)
	defer r.Close(func() bool { return true })
	head, err := os.ReadFile(path)
	must(t, err)
	l, err := region.Validate(head[:headerSize], uint64(len(head)))
	must(t, err)
	words := []WordStats{wordIn(t, path, l.Sections[1].Offset+2*128)}
	names := Resolver{Dirs: []string{filepath.Dir(path)}}
	names.Resolve(words)
	if got := words[0].String(); got != "region role 2" {
		t.Error(got)
	}
}
