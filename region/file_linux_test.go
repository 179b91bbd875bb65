package region

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	// fromfile ROLE: says ready, waits for a line, attaches through
	// descriptor 3 and says "ok ID ROLE NAME" or "error TEXT".
	children["fromfile"] = func(args []string, in *bufio.Scanner) {
		role, _ := strconv.Atoi(args[0])
		f := os.NewFile(3, "role")
		f.Fd() // as some do: makes it blocking
		fmt.Println("ready")
		in.Scan()
		r, err := FromFile(f, role, nil)
		if err != nil {
			fmt.Println("error", err, "| busy", errors.Is(err, ErrBusy))
			in.Scan()
			return
		}
		if f.Close() == nil {
			fmt.Println("error: left open")
			return
		}
		fmt.Println("ok", id(r), r.Role(), r.Name())
		obey(r, in)
	}
}

func inherit(fs ...*os.File) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) { cmd.ExtraFiles = fs }
}

// pair returns two attachments of one region.
func pair(t *testing.T) (l, r *Region) {
	t.Helper()
	l = must(t)(Memfd(config()))
	if err := l.Claim(left); err != nil {
		t.Fatal(err)
	}
	return l, must(t)(l.Attach(right))
}

func TestMemfdSeals(t *testing.T) {
	l, _ := pair(t)
	seals, err := unix.FcntlInt(uintptr(l.data), unix.F_GET_SEALS, 0)
	if err != nil || seals&allSeals != allSeals {
		t.Fatalf("%#x %v", seals, err)
	}
	for _, n := range []int64{0, 4096, 1 << 30} {
		if err := unix.Ftruncate(l.data, n); err != unix.EPERM {
			t.Fatal(n, err)
		}
	}
	if _, err := unix.FcntlInt(uintptr(l.data), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); err != unix.EPERM {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(l.data, &st); err != nil || st.Blocks*512 < st.Size {
		t.Fatal("not allocated", st.Blocks, st.Size)
	}
}

func TestFileToChild(t *testing.T) {
	name := tempName(t)
	named := func(t *testing.T) (*Region, *Region) {
		return must(t)(Open(name, left, config())), must(t)(Open(name, right, config()))
	}
	for what, make := range map[string]func(*testing.T) (*Region, *Region){"memfd": pair, "named": named} {
		t.Run(what, func(t *testing.T) {
			l, r := make(t)
			b := newBell()
			if err := l.Watch(b.ring); err != nil {
				t.Fatal(err)
			}
			f, err := r.File()
			if err != nil {
				t.Fatal(err)
			}
			if s := l.Probe(right); s.Phase != Transit || r.Role() != -1 {
				t.Fatal(s)
			}
			_, err = r.File()
			wantErr(t, err, fs.ErrClosed)
			_, err = l.Attach(right) // nobody else may have it
			wantErr(t, err, ErrBusy, "on its way")

			c := start(t, inherit(f), "fromfile", "1")
			c.want("ready")
			f.Close()
			if s := l.Probe(right); s.Phase != Transit {
				t.Fatal(s)
			}
			c.say("go")
			c.want(fmt.Sprintf("ok %s 1 %s", id(l), l.Name()))
			if s := l.Probe(right); s.Phase != Attached || s.Epoch != 2 || s.PID != c.cmd.Process.Pid {
				t.Fatal(s)
			}
			b.silent(t)
			now := time.Now()
			c.cmd.Process.Kill()
			dies(t, b, l, right, 2, now)
			r = must(t)(l.Attach(right))
			wantPhase(t, l, right, Attached, 3)

			// Again, and the last one out, who knows the name only from the
			// descriptor, removes it.
			if f, err = r.File(); err != nil {
				t.Fatal(err)
			}
			c = start(t, inherit(f), "fromfile", "1")
			c.want("ready")
			f.Close()
			c.say("go")
			c.want("ok")
			if err := l.Close(nil); err != nil {
				t.Fatal(err)
			}
			c.say("close")
			c.want("close <nil>")
			c.end()
			wantPhase(t, l, right, Closed, 4)
			wantNames(t, name)
		})
	}
}

func TestFileNeverAttached(t *testing.T) {
	l, r := pair(t)
	b := newBell()
	if err := l.Watch(b.ring); err != nil {
		t.Fatal(err)
	}
	f, err := r.File()
	if err != nil {
		t.Fatal(err)
	}
	b.silent(t)
	wantPhase(t, l, right, Transit, 1)
	now := time.Now()
	f.Close()
	dies(t, b, l, right, 1, now)

	// The same in a child that is killed before it attaches.
	if f, err = must(t)(l.Attach(right)).File(); err != nil {
		t.Fatal(err)
	}
	c := start(t, inherit(f), "fromfile", "1")
	f.Close()
	c.want("ready")
	b.silent(t)
	c.kill()
	dies(t, b, l, right, 2, now)
	if s := l.State(right); s.Deaths != 2 {
		t.Fatal(s)
	}
}

// Two processes have copies of one descriptor: one gets the role.
func TestFileRace(t *testing.T) {
	l, r := pair(t)
	f, err := r.File()
	if err != nil {
		t.Fatal(err)
	}
	const n = 6
	var cs [n]*child
	for i := range cs {
		cs[i] = start(t, inherit(f), "fromfile", "1")
	}
	for _, c := range cs {
		c.want("ready")
		c.say("go")
	}
	ok := 0
	for _, c := range cs {
		line := c.line()
		if line == fmt.Sprintf("ok %s 1 ", id(l)) {
			ok++
		} else if line[len(line)-len("busy true"):] != "busy true" {
			t.Fatal(line)
		}
	}
	if ok != 1 {
		t.Fatal(ok)
	}
	wantPhase(t, l, right, Attached, 2)
	_, err = FromFile(f, right, nil)
	wantErr(t, err, ErrBusy, "attached")
	f.Close()
	for _, c := range cs {
		c.end()
	}
}

// A descriptor may be sent, and come back to this process.
func TestFileSent(t *testing.T) {
	l, r := pair(t)
	f, err := r.File()
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		end := os.NewFile(uintptr(fd), "socket")
		conn, err := net.FileConn(end)
		if err != nil {
			t.Fatal(err)
		}
		end.Close()
		defer conn.Close()
		ends[i] = conn.(*net.UnixConn)
	}
	if _, _, err := ends[0].WriteMsgUnix([]byte("x"), unix.UnixRights(int(f.Fd())), nil); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if p := l.Probe(right).Phase; p != Transit {
		t.Fatal(p)
	}
	oob := make([]byte, 64)
	_, n, _, _, err := ends[1].ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		t.Fatal(err)
	}
	msgs, _ := unix.ParseSocketControlMessage(oob[:n])
	got, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	must(t)(FromFile(os.NewFile(uintptr(got[0]), "received"), right, nil))
	wantPhase(t, l, right, Attached, 2)
}

func TestFromFileRefused(t *testing.T) {
	l, r := pair(t)
	f, err := r.File()
	if err != nil {
		t.Fatal(err)
	}
	_, err = FromFile(f, left, nil)
	wantErr(t, err, fs.ErrInvalid, "role 1, not 0")
	boom := errors.New("boom")
	_, err = FromFile(f, right, func(x *Region) error {
		if x.ID() != l.ID() || x.Role() != -1 {
			t.Error("another region")
		}
		return boom
	})
	wantErr(t, err, boom)
	if p := l.Probe(right).Phase; p != Transit {
		t.Fatal(p)
	}
	must(t)(FromFile(f, right, nil)) // nothing is lost
	wantPhase(t, l, right, Attached, 2)
	if err := f.Close(); err == nil {
		t.Fatal("left open")
	}

	_, err = FromFile(nil, left, nil)
	wantErr(t, err, fs.ErrInvalid)
	_, err = FromFile(f, left, nil) // closed
	wantErr(t, err, fs.ErrClosed)
	null, _ := os.Open(os.DevNull)
	defer null.Close()
	_, err = FromFile(null, left, nil)
	wantErr(t, err, fs.ErrInvalid, "no Unix socket")
	base := must(t)(Memfd(config()))
	_, err = base.File()
	wantErr(t, err, fs.ErrInvalid, "no role")
}

// A datagram with anything in it, from somebody who means harm.
func TestFromFileForged(t *testing.T) {
	l, _ := pair(t)
	lock := l.locks.(*ofdLocks).fd
	sound := (&parcel{right, l.layout.ID, ""}).encode()
	headerOf := make([]byte, l.Size())
	if _, err := unix.Pread(l.data, headerOf, 0); err != nil {
		t.Fatal(err)
	}
	memfd := func(seals int, change func([]byte) []byte) int {
		fd, err := memfdCreate("forged")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		b := change(append([]byte(nil), headerOf...))
		if _, err := unix.Write(fd, b); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
		return fd
	}
	same := func(b []byte) []byte { return b }
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer closeAll(p[:])
	disk, err := os.Create(tempName(t))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	disk.Write(headerOf)

	for _, c := range []struct {
		name string
		b    []byte
		fds  []int
		want error
		says string
	}{
		{"not sealed", sound, []int{memfd(0, same), lock}, ErrCorrupt, "seals"},
		{"not against shrinking", sound, []int{memfd(unix.F_SEAL_GROW, same), lock}, ErrCorrupt, "seals"},
		{"not against growing", sound, []int{memfd(unix.F_SEAL_SHRINK, same), lock}, ErrCorrupt, "seals"},
		{"truncated", sound, []int{memfd(allSeals, func(b []byte) []byte { return b[:5000] }), lock}, ErrCorrupt, "the file has 5000"},
		{"empty", sound, []int{memfd(allSeals, func(b []byte) []byte { return nil }), lock}, ErrCorrupt, "0 bytes"},
		{"garbage", sound, []int{memfd(allSeals, func(b []byte) []byte { b[99]++; return b }), lock}, ErrCorrupt, "checksum"},
		{"read-only", sound, []int{memfd(allSeals|unix.F_SEAL_WRITE, same), lock}, unix.EPERM, "map"},
		{"file on disk", sound, []int{int(disk.Fd()), lock}, ErrCorrupt, "memfd"},
		{"pipe for memory", sound, []int{p[0], lock}, ErrCorrupt, "no regular file"},
		{"pipe for locks", sound, []int{l.data, p[0]}, ErrCorrupt, "no regular file"},
		{"other locks", sound, []int{l.data, memfd(0, same)}, ErrCorrupt, "different regions"},
		{"other id", (&parcel{right, [16]byte{1}, ""}).encode(), []int{l.data, lock}, ErrCorrupt, "different regions"},
		{"one descriptor", sound, []int{l.data}, fs.ErrInvalid, "1 descriptors"},
		{"three descriptors", sound, []int{l.data, lock, lock}, fs.ErrInvalid, "3 descriptors"},
		{"no descriptors", sound, nil, fs.ErrInvalid, "0 descriptors"},
		{"short", sound[:31], []int{l.data, lock}, fs.ErrInvalid, "no role"},
		{"nothing", nil, []int{l.data, lock}, fs.ErrInvalid, "no role"},
		{"too long", append(append([]byte(nil), sound...), make([]byte, 10000)...), []int{l.data, lock}, fs.ErrInvalid, "want 2 and a role"},
		{"relative name", append(append([]byte(nil), sound...), "abc"...), []int{l.data, lock}, ErrCorrupt, "absolute"},
		{"held role", (&parcel{right, l.layout.ID, ""}).encode(), []int{l.data, lock}, ErrBusy, "role 1"},
		{"role 77", (&parcel{77, l.layout.ID, ""}).encode(), []int{l.data, lock}, ErrMismatch, "role 77"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := countFDs(t)
			sock, err := post(c.b, c.fds...)
			if err != nil {
				t.Fatal(err)
			}
			f := os.NewFile(uintptr(sock), "forged")
			role := right
			if c.name == "role 77" {
				role = 77
			}
			r, err := FromFile(f, role, nil)
			if r != nil {
				t.Fatal("attached")
			}
			wantErr(t, err, c.want, c.says)
			f.Close()
			if after := countFDs(t); after != before {
				t.Fatalf("%d descriptors, were %d", after, before)
			}
		})
	}
}

func countFDs(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// A file that another user owns, passed as a named region: whoever owns it
// can cut it off.
func TestFromFileNamedOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("giving a file away needs root")
	}
	name := tempName(t)
	r := must(t)(Open(name, left, config()))
	f, err := r.File()
	if err != nil {
		t.Fatal(err)
	}
	os.Chown(name, 65534, 65534)
	_, err = FromFile(f, left, nil)
	wantErr(t, err, fs.ErrPermission, "owner 65534")
	os.Chown(name, 0, 0)
	x := must(t)(FromFile(f, left, nil))
	if err := x.Close(over); err != nil {
		t.Fatal(err)
	}
	wantNames(t, name)
}
