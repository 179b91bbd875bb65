package region

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	// open NAME ROLE MODE: says ready, waits for a line, opens, says
	// "created ID", "found ID", both or none of them, then "ok" or "error
	// TEXT", and then does what it is told.
	children["open"] = func(args []string, in *bufio.Scanner) {
		role, _ := strconv.Atoi(args[1])
		mode, _ := strconv.ParseUint(args[2], 8, 32)
		fmt.Println("ready")
		in.Scan()
		c := config()
		c.Mode = os.FileMode(mode)
		c.Init = func(r *Region) error { fmt.Println("created", id(r)); return nil }
		c.Accept = func(r *Region) (Verdict, error) { fmt.Println("found", id(r)); return Keep, nil }
		r, err := Open(args[0], role, c)
		if err != nil {
			fmt.Println("error", err, "| busy", errors.Is(err, ErrBusy), "| permission", errors.Is(err, fs.ErrPermission))
			in.Scan()
			return
		}
		fmt.Println("ok")
		obey(r, in)
	}
}

func id(r *Region) string { id := r.ID(); return hex.EncodeToString(id[:]) }

// obey does what a child is told until its stdin ends.
func obey(r *Region, in *bufio.Scanner) {
	for in.Scan() {
		switch in.Text() {
		case "detach":
			fmt.Println("detach", r.Detach())
		case "close":
			err := r.Close(func() bool { return true })
			fmt.Println("close", err, "| permission", errors.Is(err, fs.ErrPermission))
		case "ping":
			fmt.Println("pong")
		}
	}
}

func tempName(t *testing.T) string { return filepath.Join(t.TempDir(), "name") }

// names returns what lies in the directory of name.
func names(t *testing.T, name string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, e := range entries {
		s = append(s, e.Name())
	}
	return s
}

func wantNames(t *testing.T, name string, want ...string) {
	t.Helper()
	if got := names(t, name); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("the directory has %q, want %q", got, want)
	}
}

func over() bool { return true }

func TestOpen(t *testing.T) {
	for _, noTmpfile = range []bool{false, true} {
		name := tempName(t)
		old := syscall.Umask(0o077)
		c := config()
		c.Mode = 0o664
		inits, accepts := 0, 0
		c.Init = func(r *Region) error {
			inits++
			if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
				t.Error("visible before it is complete")
			}
			return nil
		}
		c.Accept = func(r *Region) (Verdict, error) {
			accepts++
			if p := r.Probe(left).Phase; accepts == 1 && p != Attached {
				t.Error(p)
			}
			return Keep, nil
		}
		a := must(t)(Open(name, left, c))
		syscall.Umask(old)
		wantNames(t, name, "name", "name.lock")
		for file, want := range map[string]os.FileMode{name: 0o664, name + ".lock": 0o660} {
			if st, err := os.Stat(file); err != nil || st.Mode() != want {
				t.Fatal(file, st.Mode(), err)
			}
		}
		if st, _ := os.Stat(name); st.Size() != int64(a.Size()) || st.Sys().(*syscall.Stat_t).Blocks*512 < st.Size() {
			t.Fatal("not allocated", st.Size())
		}
		b := must(t)(Open(name, right, c))
		if inits != 1 || accepts != 1 || a.ID() != b.ID() || b.Name() != name || b.Role() != right || b.Backing() != BackingNamed {
			t.Fatal(inits, accepts, b.Name(), b.Role())
		}
		mem, _, _, _ := a.Section(KindLane)
		*(*byte)(mem) = 9
		mem, _, _, _ = b.Section(KindLane)
		if *(*byte)(mem) != 9 {
			t.Fatal("not shared")
		}
		_, err := Open(name, left, c)
		wantErr(t, err, ErrBusy, fmt.Sprint(os.Getpid()))
		_, err = a.Attach(right)
		wantErr(t, err, ErrBusy)

		if err := a.Close(func() bool { return false }); err != nil {
			t.Fatal(err)
		}
		wantNames(t, name, "name", "name.lock")
		_, err = Open(name, left, c)
		wantErr(t, err, ErrRoleClosed)
		if err := b.Close(func() bool { return b.State(left).Phase == Closed && b.Probe(right).Phase == Closed }); err != nil {
			t.Fatal(err)
		}
		wantNames(t, name)
	}
	noTmpfile = false
}

func TestOpenBadArguments(t *testing.T) {
	name := tempName(t)
	c := config()
	for _, role := range []int{-1, 2} {
		_, err := Open(name, role, c)
		wantErr(t, err, fs.ErrInvalid)
	}
	_, err := Open("", left, c)
	wantErr(t, err, fs.ErrInvalid)
	_, err = Open(name, left, Config{})
	wantErr(t, err, fs.ErrInvalid)
	_, err = Open(name+"/x/y", left, c)
	wantErr(t, err, fs.ErrNotExist, "does not exist", dirEnv)
	wantErr(t, Remove(name+"/x/y", nil), fs.ErrNotExist)
	wantErr(t, Remove(name, nil), fs.ErrNotExist)
	wantErr(t, Remove("", nil), fs.ErrInvalid)
	boom := errors.New("boom")
	c.Init = func(*Region) error { return boom }
	_, err = Open(name, left, c)
	wantErr(t, err, boom)
	wantNames(t, name)
	func() { // not even a panic leaves something
		defer func() { recover() }()
		c.Init = func(*Region) error { panic("boom") }
		Open(name, left, c)
	}()
	wantNames(t, name)

	// A role that the region does not have, and what Accept says.
	a := must(t)(Open(name, left, config()))
	c = config()
	c.Roles = 3
	_, err = Open(name, 2, c)
	wantErr(t, err, ErrMismatch)
	c = config()
	c.Accept = func(*Region) (Verdict, error) { return Keep, boom }
	_, err = Open(name, right, c)
	wantErr(t, err, boom)
	wantPhase(t, a, right, Free, 0)
	wantNames(t, name, "name", "name.lock")

	if err := a.Close(over); err != nil {
		t.Fatal(err)
	}
	t.Setenv(dirEnv, filepath.Dir(name))
	b := must(t)(Open("bare", left, config()))
	wantNames(t, name, "bare", "bare.lock")
	if b.Name() != filepath.Join(filepath.Dir(name), "bare") {
		t.Fatal(b.Name())
	}
}

// The name of another process stopped in the middle of opening.
func TestOpenStopped(t *testing.T) {
	defer func(d time.Duration) { nameTimeout = d }(nameTimeout)
	nameTimeout = 20 * time.Millisecond
	name := tempName(t)
	a := must(t)(Open(name, left, config()))
	fd, err := reopen(a.locks.(*ofdLocks).fd)
	if err != nil {
		t.Fatal(err)
	}
	other := &ofdLocks{fd}
	if ok, err := other.try(nameByte); !ok || err != nil {
		t.Fatal(ok, err)
	}
	_, err = Open(name, right, config())
	wantErr(t, err, ErrBusy, "stopped in the middle")
	wantErr(t, Remove(name, nil), ErrBusy)
	_, err = a.Attach(right)
	wantErr(t, err, ErrBusy)
	wantErr(t, a.Close(over), ErrBusy) // closed even so
	wantPhase(t, a, left, Closed, 1)
	wantNames(t, name, "name", "name.lock")
	other.close()
	_, err = Open(name, left, config())
	wantErr(t, err, ErrRoleClosed)
}

// editHeader changes the immutable part of a file's header, and makes the
// checksum right again.
func editHeader(t *testing.T, name string, change func(*header)) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var h header
	b := unsafe.Slice((*byte)(unsafe.Pointer(&h)), headerSize)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	change(&h)
	h.checksum = h.sum()
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
}

func TestOpenDamaged(t *testing.T) {
	truncate := func(n int64) func(*testing.T, string) {
		return func(t *testing.T, name string) {
			if err := os.Truncate(name, n); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(f func(name string) error) func(*testing.T, string) {
		return func(t *testing.T, name string) {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if err := f(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(at int64, s string) func(*testing.T, string) {
		return func(t *testing.T, name string) {
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			if err == nil {
				_, err = f.WriteAt([]byte(s), at)
				f.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, name string)
		want   error
		says   string
	}{
		{"empty", truncate(0), ErrCorrupt, "0 bytes"},
		{"short", truncate(4095), ErrCorrupt, "4095 bytes"},
		{"truncated", truncate(4096), ErrCorrupt, "the file has 4096"},
		{"grown", truncate(1 << 20), ErrCorrupt, "the file has 1048576"},
		{"overwritten magic", write(0, "garbage"), ErrCorrupt, "garbage"},
		{"overwritten id", write(40, "garbage"), ErrCorrupt, "checksum"},
		{"overwritten table", write(300, "garbage"), ErrCorrupt, "checksum"},
		{"newer", write(8, "\x07"), ErrMismatch, "layout version 7, this program has 1"},
		{"older", write(8, "\x00"), ErrMismatch, "layout version 0, this program has 1"},
		{"directory", replace(func(n string) error { return os.Mkdir(n, 0o700) }), fs.ErrInvalid, "directory"},
		{"fifo", replace(func(n string) error { return unix.Mkfifo(n, 0o600) }), fs.ErrInvalid, "no regular file"},
		{"socket", replace(func(n string) error { return unix.Mknod(n, unix.S_IFSOCK|0o600, 0) }), fs.ErrInvalid, "no regular file"},
		{"symbolic link", replace(func(n string) error { return os.Symlink("/etc/passwd", n) }), fs.ErrInvalid, "symbolic link"},
		{"hard link", func(t *testing.T, n string) {
			if err := os.Link(n, filepath.Join(t.TempDir(), "other")); err != nil {
				t.Skip(err) // another file system
			}
		}, fs.ErrPermission, "2 hard links"},
		{"group may write", func(t *testing.T, n string) { os.Chmod(n, 0o620) }, fs.ErrPermission, "mode 0620"},
		{"others may write", func(t *testing.T, n string) { os.Chmod(n, 0o602) }, fs.ErrPermission, "mode 0602"},
		{"readable locks", func(t *testing.T, n string) { os.Chmod(n+".lock", 0o644) }, fs.ErrPermission, "name.lock"},
		{"no lock file", func(t *testing.T, n string) { os.Remove(n + ".lock") }, ErrCorrupt, "lock file was taken away"},
		{"other lock file", func(t *testing.T, n string) {
			os.Rename(n+".lock", n+".lock2") // so that the inode number stays in use
			os.WriteFile(n+".lock", nil, 0o600)
		}, ErrCorrupt, "lock file was taken away"},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := tempName(t)
			a := must(t)(Open(name, left, config()))
			if err := a.Detach(); err != nil {
				t.Fatal(err)
			}
			if err := a.Unmap(); err != nil {
				t.Fatal(err)
			}
			c.damage(t, name)
			before := names(t, name)
			_, err := Open(name, right, config())
			wantErr(t, err, c.want, c.says)
			wantNames(t, name, before...)

			// Remove works all the same, but for a directory.
			if c.name == "directory" {
				wantErr(t, Remove(name, nil), fs.ErrInvalid)
				return
			}
			os.Remove(name + ".lock2")
			if err := Remove(name, nil); err != nil {
				t.Fatal(err)
			}
			wantNames(t, name)
		})
	}
}

// A symbolic link in place of the lock file is not followed.
func TestLockFileLink(t *testing.T) {
	name := tempName(t)
	if err := os.Symlink("/etc/passwd", name+".lock"); err != nil {
		t.Fatal(err)
	}
	_, err := Open(name, left, config())
	wantErr(t, err, fs.ErrInvalid, "symbolic link")
	wantNames(t, name, "name.lock")
}

func TestRemake(t *testing.T) {
	for what, spoil := range map[string]func(t *testing.T, name string, c *Config){
		"reboot":  func(t *testing.T, name string, _ *Config) { editHeader(t, name, func(h *header) { h.boot[0]++ }) },
		"retired": func(t *testing.T, name string, _ *Config) { editHeader(t, name, func(h *header) { h.state.Store(5) }) },
		"accept": func(t *testing.T, name string, c *Config) {
			c.Accept = func(r *Region) (Verdict, error) { return Remake, nil }
		},
	} {
		t.Run(what, func(t *testing.T) {
			name := tempName(t)
			a := must(t)(Open(name, left, config()))
			c := config()
			spoil(t, name, &c)
			b := must(t)(Open(name, left, c)) // although a holds the role of the old one
			if a.ID() == b.ID() || !a.Retired() || b.Retired() {
				t.Fatal("the same")
			}
			wantNames(t, name, "name", "name.lock")
			if err := a.Close(over); err != nil { // has no right to the name any more
				t.Fatal(err)
			}
			wantNames(t, name, "name", "name.lock")
			if err := b.Close(over); err != nil {
				t.Fatal(err)
			}
			wantNames(t, name)
		})
	}
}

func TestRemove(t *testing.T) {
	name := tempName(t)
	a := must(t)(Open(name, left, config()))
	woken := false
	if err := Remove(name, func(r *Region) {
		woken = r.ID() == a.ID() && r.Retired() && r.Probe(left).Phase == Attached
	}); err != nil {
		t.Fatal(err)
	}
	if !woken || !a.Retired() {
		t.Fatal(woken, a.Retired())
	}
	wantNames(t, name)
	b := must(t)(Open(name, left, config()))
	if err := a.Close(over); err != nil {
		t.Fatal(err)
	}
	wantNames(t, name, "name", "name.lock")
	b.Detach()

	// A lock file that a creator left when it died.
	os.Remove(name)
	wantErr(t, Remove(name, nil), fs.ErrNotExist)
	wantNames(t, name)
}

// A file that shrinks under Remove does not kill it.
func TestRemoveCutOff(t *testing.T) {
	name := tempName(t)
	must(t)(Open(name, left, config())).Detach()
	if err := Remove(name, func(r *Region) {
		if err := os.Truncate(name, 0); err != nil {
			t.Error(err)
		}
		r.State(left)
		t.Error("no fault")
	}); err != nil {
		t.Fatal(err)
	}
	wantNames(t, name)
	must(t)(Open(name, left, config())).Detach()
	defer func() {
		if p := recover(); p != "boom" {
			t.Fatal(p)
		}
	}()
	Remove(name, func(r *Region) { panic("boom") })
}

func TestFullFileSystem(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("cannot mount a small file system:", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	name := filepath.Join(dir, "name")
	c := config()
	c.Sections[1].Size = 4 << 20
	for _, c.HugePages = range []bool{false, true} {
		for _, noTmpfile = range []bool{false, true} {
			_, err := Open(name, left, c)
			wantErr(t, err, unix.ENOSPC, "bytes needed", "the file system has 1048576 free")
			wantNames(t, name)
		}
	}
	noTmpfile = false

	// A region with a hole, and no room to fill it.
	r := must(t)(Open(name, left, config()))
	size := int64(r.Size())
	data, err := r.memory()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(data)
	if err := unix.Fallocate(data, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, size-4096, 4096); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 2<<20), 0o600)
	_, err = Open(name, right, config())
	wantErr(t, err, unix.ENOSPC, "holes")
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	o := must(t)(Open(name, right, config()))
	*(*byte)(unsafe.Add(o.Base(), o.Size()-1)) = 1
}

// Where fallocate is not there, the pages are written.
func TestWriteZeros(t *testing.T) {
	f, err := os.Create(tempName(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 3<<20 + 4096
	if err := writeZeros(int(f.Fd()), 0, size); err != nil {
		t.Fatal(err)
	}
	if st, _ := f.Stat(); st.Size() != size {
		t.Fatal(st.Size())
	}
	_, err = reopen(1 << 20) // nothing there, as without /proc
	wantErr(t, err, errors.ErrUnsupported, "/proc")
}

func TestRemoteFileSystems(t *testing.T) {
	for typ, refused := range map[int64]bool{
		unix.NFS_SUPER_MAGIC: true, unix.FUSE_SUPER_MAGIC: true, unix.CIFS_SUPER_MAGIC: true,
		unix.TMPFS_MAGIC: false, unix.EXT4_SUPER_MAGIC: false, unix.BTRFS_SUPER_MAGIC: false,
	} {
		for _, typ := range []int64{typ, int64(int32(typ))} { // as 32-bit systems have it
			err := checkLocal("x", typ)
			if errors.Is(err, errors.ErrUnsupported) != refused {
				t.Errorf("%#x: %v", typ, err)
			}
		}
	}
}

func TestRaceToCreate(t *testing.T) {
	name := tempName(t)
	const n = 50
	var cs [n]*child
	for i := range cs {
		cs[i] = start(t, nil, "open", name, fmt.Sprint(i%2), "0")
	}
	for _, c := range cs {
		c.want("ready")
	}
	for _, c := range cs {
		c.say("go")
	}
	created, holders, ids := 0, [2]int{}, map[string]bool{}
	for i, c := range cs {
		line := c.line()
		if s, ok := strings.CutPrefix(line, "created "); ok {
			created++
			ids[s] = true
		} else if s, ok := strings.CutPrefix(line, "found "); ok {
			ids[s] = true
		} else {
			t.Fatalf("child %d says %q", i, line)
		}
		if line = c.line(); line == "ok" {
			holders[i%2]++
		} else if !strings.Contains(line, "| busy true") {
			t.Fatalf("child %d says %q", i, line)
		}
	}
	if created != 1 || holders != [2]int{1, 1} || len(ids) != 1 {
		t.Fatal(created, holders, ids)
	}
	wantNames(t, name, "name", "name.lock")
	for _, c := range cs {
		c.end()
	}
}

// asNobody makes a child run as another user. The binary may lie where that
// one cannot go, so it comes as a descriptor.
func asNobody(t *testing.T) func(*exec.Cmd) {
	if os.Getuid() != 0 {
		t.Skip("becoming another user needs root")
	}
	return func(cmd *exec.Cmd) {
		self, err := os.Open(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { self.Close() })
		cmd.ExtraFiles = append(cmd.ExtraFiles, self)
		cmd.Path = fmt.Sprintf("/proc/self/fd/%d", 2+len(cmd.ExtraFiles))
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
}

func TestOtherUser(t *testing.T) {
	nobody := asNobody(t)
	open := func(name, mode string) (*child, string) {
		c := start(t, nobody, "open", name, "1", mode)
		c.want("ready")
		c.say("go")
		for {
			line := c.line()
			if !strings.HasPrefix(line, "created") && !strings.HasPrefix(line, "found") {
				return c, line
			}
		}
	}
	dir, err := os.MkdirTemp("", "region") // not below the directory of the test, which is private
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o777|fs.ModeSticky)

	// Ours, with the default mode.
	name := filepath.Join(dir, "private")
	a := must(t)(Open(name, left, config()))
	if _, line := open(name, "0"); !strings.Contains(line, "| permission true") || !strings.Contains(line, "owner 0, mode 0600") {
		t.Fatal(line)
	}
	a.Close(over)

	// Ours, for all.
	name = filepath.Join(dir, "public")
	c := config()
	c.Mode = 0o666
	a = must(t)(Open(name, left, c))
	if _, line := open(name, "0"); !strings.Contains(line, "| permission true") || !strings.Contains(line, "mode 0666") {
		t.Fatal(line)
	}
	o, line := open(name, "666")
	if line != "ok" {
		t.Fatal(line)
	}
	wantPhase(t, a, right, Attached, 1)
	a.Close(nil)
	// The last one out may not remove the name from a sticky directory.
	o.say("close")
	if line := o.want("close"); !strings.Contains(line, "| permission true") {
		t.Fatal(line)
	}
	o.end()
	if !a.Retired() {
		t.Fatal("not retired")
	}
	a = must(t)(Open(name, left, c))
	wantPhase(t, a, left, Attached, 1)
	a.Close(over)

	// Theirs.
	name = filepath.Join(dir, "theirs")
	o, line = open(name, "0")
	if line != "ok" {
		t.Fatal(line)
	}
	_, err = Open(name, left, config())
	wantErr(t, err, fs.ErrPermission, "owner 65534", "want owner 0")
	r, err := Open(name, left, c) // asks to share with others
	must(t)(r, err)
	if err := Remove(name, nil); err != nil || !r.Retired() {
		t.Fatal(err)
	}
	o.end()
	wantNames(t, name)
}

// dies waits for the bell and checks what it says.
func dies(t *testing.T, b bell, r *Region, role int, epoch uint32, since time.Time) {
	t.Helper()
	b.wait(t)
	t.Logf("told after %v", time.Since(since))
	wantPhase(t, r, role, Dead, epoch)
	if p := r.Probe(role).Phase; p != Dead {
		t.Fatal(p)
	}
}

func TestKilledPeer(t *testing.T) {
	test := func(t *testing.T) {
		name := tempName(t)
		a := must(t)(Open(name, left, config()))
		b := newBell()
		if err := a.Watch(b.ring); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			c := start(t, nil, "open", name, "1", "0")
			c.want("ready")
			c.say("go")
			c.want("found")
			c.want("ok")
			s := a.Probe(right)
			if s.Phase != Attached || s.Epoch != uint32(i)+1 || s.PID != c.cmd.Process.Pid || s.Deaths != uint32(i) {
				t.Fatal(s)
			}
			b.silent(t)
			now := time.Now()
			c.cmd.Process.Kill()
			dies(t, b, a, right, uint32(i)+1, now)
			c.cmd.Wait()
		}
		// One that leaves in good order is not dead.
		c := start(t, nil, "open", name, "1", "0")
		c.want("ready")
		c.say("go")
		c.want("found")
		c.want("ok")
		c.say("detach")
		c.want("detach <nil>")
		c.end()
		wantPhase(t, a, right, Detached, 4)
		b.silent(t)
		wantNames(t, name, "name", "name.lock")
	}
	t.Run("inotify", test)
	t.Run("polling", func(t *testing.T) {
		until(t, "inotify is closed", noInotify)
		inotifyInit = func(int) (int, error) { return -1, unix.EMFILE }
		defer func() { inotifyInit = unix.InotifyInit1 }()
		test(t)
	})
}

func noInotify() bool {
	watcher.mu.Lock()
	defer watcher.mu.Unlock()
	return watcher.file == nil
}

func TestStoppedPeer(t *testing.T) {
	name := tempName(t)
	a := must(t)(Open(name, left, config()))
	b := newBell()
	if err := a.Watch(b.ring); err != nil {
		t.Fatal(err)
	}
	c := start(t, nil, "open", name, "1", "0")
	c.want("ready")
	c.say("go")
	c.want("found")
	c.want("ok")
	c.cmd.Process.Signal(syscall.SIGSTOP)
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(c.cmd.Process.Pid, &ws, syscall.WUNTRACED, nil); err != nil || !ws.Stopped() {
		t.Fatal(err, ws)
	}
	if p := a.Probe(right).Phase; p != Attached {
		t.Fatal(p)
	}
	_, err := Open(name, right, config()) // also an event
	wantErr(t, err, ErrBusy, fmt.Sprint(c.cmd.Process.Pid))
	c.cmd.Process.Signal(syscall.SIGCONT)
	c.say("ping")
	c.want("pong")
	b.silent(t)
	wantPhase(t, a, right, Attached, 1)
	c.end()
	b.wait(t) // ended without a Detach
	wantPhase(t, a, right, Dead, 1)
}

// A named region keeps no descriptor of its memory. Its file is opened again by
// name to be handed on, and only if it still is the same.
func TestFileNeedsTheName(t *testing.T) {
	name := filepath.Join(t.TempDir(), "name")
	r := must(t)(Open(name, left, config()))
	defer r.Unmap()
	if r.data >= 0 {
		t.Error("the descriptor is kept")
	}
	if err := os.Rename(name, name+"2"); err != nil {
		t.Fatal(err)
	}
	_, err := r.File()
	wantErr(t, err, fs.ErrNotExist)
	if err := os.WriteFile(name, make([]byte, r.Size()), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = r.File()
	wantErr(t, err, fs.ErrNotExist, "another file")
	wantPhase(t, r, left, Attached, 1)
	if err := os.Rename(name+"2", name); err != nil {
		t.Fatal(err)
	}
	f, err := r.File()
	if err != nil {
		t.Fatal(err)
	}
	o := must(t)(FromFile(f, left, nil))
	defer o.Unmap()
	if err := o.Close(func() bool { return true }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Close did not find its own name:", err)
	}
}
