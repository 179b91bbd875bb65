package region

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	// observe NAME: says what it sees of role 0 at each line, tries to write
	// at "write" and to lock at "lock", and holds the Observer all the time.
	children["observe"] = func(args []string, in *bufio.Scanner) {
		o, err := Observe(args[0])
		if err != nil {
			fmt.Println("error", err, "| permission", errors.Is(err, fs.ErrPermission))
			in.Scan()
			return
		}
		fmt.Println("ok", errors.Is(o.LockError(), fs.ErrPermission))
		for in.Scan() {
			switch in.Text() {
			case "look":
				e, err := o.Endpoint(left)
				retired, _ := o.Retired()
				fmt.Println(e.Phase, e.Epoch, e.Life, e.Sure, retired, err)
			case "write":
				err := o.Read(func(at func(Kind) (unsafe.Pointer, uint64, uint16, bool)) {
					mem, _, _, _ := at(KindLane)
					*(*byte)(mem) = 1
				})
				_, openErr := openFile(args[0])
				fmt.Println(errors.Is(err, ErrCorrupt), errors.Is(openErr, fs.ErrPermission))
			case "lock":
				_, err := openToRead(args[0] + lockSuffix)
				fmt.Println(errors.Is(err, fs.ErrPermission))
			}
		}
	}
}

// observe is Observe that the test closes.
func observe(t *testing.T, name string) *Observer {
	t.Helper()
	o, err := Observe(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

func wantSeen(t *testing.T, o *Observer, role int, p Phase, l Life, sure bool) Endpoint {
	t.Helper()
	e, err := o.Endpoint(role)
	if err != nil || e.Phase != p || e.Life != l || e.Sure != sure {
		t.Fatalf("role %d is %+v, %v; want %v, %v, sure %v", role, e, err, p, l, sure)
	}
	return e
}

func TestObserve(t *testing.T) {
	name := tempName(t)
	if _, err := Observe(name); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	r := must(t)(Open(name, left, config()))
	o := observe(t, name)
	if o.Name() != name || o.Layout().ID != r.ID() || o.Age() < 0 || o.Age() > patience || o.Stale() || o.LockError() != nil {
		t.Fatalf("%s, %x, %v, %v, %v", o.Name(), o.Layout().ID, o.Age(), o.Stale(), o.LockError())
	}
	if e := wantSeen(t, o, left, Attached, Alive, true); e.PID != os.Getpid() || e.Start != startTime() || e.Epoch != 1 {
		t.Fatalf("%+v", e)
	}
	wantSeen(t, o, right, Free, LifeUnknown, false)
	wantSeen(t, o, 99, Free, LifeUnknown, false)

	lane, _, _, _ := r.Section(KindLane)
	*(*uint64)(lane) = 42
	err := o.Read(func(at func(Kind) (unsafe.Pointer, uint64, uint16, bool)) {
		mem, size, version, ok := at(KindLane)
		if !ok || size != 10000 || version != 4 || *(*uint64)(mem) != 42 {
			t.Errorf("lane of %d bytes, version %d: %v", size, version, ok)
		}
		if _, _, _, ok := at(999); ok {
			t.Error("a section that there is not")
		}
	})
	if err != nil {
		t.Fatal(err)
	}

	if retired, err := o.Retired(); retired || err != nil {
		t.Fatal(retired, err)
	}
	r.Detach()
	wantSeen(t, o, left, Detached, LifeUnknown, false)
	if err := Remove(name, nil); err != nil {
		t.Fatal(err)
	}
	if retired, err := o.Retired(); !retired || err != nil {
		t.Fatal(retired, err)
	}
	o.Close()
	if _, err := o.Endpoint(left); !errors.Is(err, fs.ErrClosed) {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// What an observer does changes no byte, holds no lock, and a write is caught.
func TestObserverCannotDisturb(t *testing.T) {
	name := tempName(t)
	r := must(t)(Open(name, left, config()))
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	o := observe(t, name)
	for range 100 {
		wantSeen(t, o, left, Attached, Alive, true)
		o.Retired()
	}
	err = o.Read(func(at func(Kind) (unsafe.Pointer, uint64, uint16, bool)) {
		mem, _, _, _ := at(KindLane)
		*(*byte)(mem) = 1
	})
	wantErr(t, err, ErrCorrupt)
	if after, _ := os.ReadFile(name); !bytes.Equal(before, after) {
		t.Fatal("the memory has changed")
	}
	l := &ofdLocks{}
	if l.fd, err = openFile(name + lockSuffix); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l.fd)
	for b := range int64(8) {
		held, err := l.held(b)
		if want := b == roleByte(left); held != want || err != nil {
			t.Fatalf("byte %d is locked: %v, %v", b, held, err)
		}
	}
	r.Close(over)
	wantNames(t, name)
}

func TestObserverSeesDeathThatNobodyNoticed(t *testing.T) {
	name := tempName(t)
	c := start(t, nil, "open", name, "0", "0")
	c.want("ready")
	c.say("go")
	c.want("created")
	c.want("ok")
	o := observe(t, name)
	wantSeen(t, o, left, Attached, Alive, true)
	c.kill()
	until(t, "gone", func() bool { e, _ := o.Endpoint(left); return e.Life == Gone })
	if e := wantSeen(t, o, left, Attached, Gone, true); !e.Vacant() { // and it is still not told: that is the peer's to do
		t.Fatal("not vacant")
	}
	r := must(t)(Open(name, left, config()))
	if e := wantSeen(t, o, left, Attached, Alive, true); e.Epoch != 2 || e.Deaths != 1 || e.Vacant() {
		t.Fatalf("%+v", e)
	}
	f, err := r.File()
	if err != nil {
		t.Fatal(err)
	}
	wantSeen(t, o, left, Transit, Alive, true)
	f.Close()
	until(t, "lost on its way", func() bool { e, _ := o.Endpoint(left); return e.Life == Gone })
}

// A user who may only read sees everything, cannot pretend to live, and stands
// in nobody's way.
func TestObserverOfAnotherUser(t *testing.T) {
	nobody := asNobody(t)
	dir, err := os.MkdirTemp("", "region")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	name := filepath.Join(dir, "watched")
	holder := start(t, nil, "open", name, "0", "644")
	holder.want("ready")
	holder.say("go")
	holder.want("created")
	holder.want("ok")

	o := start(t, nobody, "observe", name)
	if line := o.line(); line != "ok true" {
		t.Fatal(line)
	}
	ask := func(q, want string) {
		t.Helper()
		o.say(q)
		if got := o.line(); got != want {
			t.Fatalf("the observer says %q to %s, want %q", got, q, want)
		}
	}
	ask("look", "attached 1 alive false false <nil>") // by the process id
	ask("write", "true true")
	ask("lock", "true")
	holder.kill()
	c := config()
	c.Mode = 0o644
	ask("look", "attached 1 gone false false <nil>")
	r := must(t)(Open(name, left, c)) // the takeover
	wantPhase(t, r, left, Attached, 2)
	ask("look", "attached 2 alive false false <nil>")
	if err := Remove(name, nil); err != nil {
		t.Fatal(err)
	}
	ask("look", "attached 2 alive false true <nil>")
	o.end()

	private := filepath.Join(dir, "private")
	must(t)(Open(private, left, config()))
	o = start(t, nobody, "observe", private)
	if line := o.line(); !strings.Contains(line, "| permission true") || !strings.Contains(line, "mode 0600") {
		t.Fatal(line)
	}
}

// The owner of a file can cut it off under an observer, which survives.
func TestObserveCutOff(t *testing.T) {
	name := tempName(t)
	must(t)(Open(name, left, config()))
	o := observe(t, name)
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	_, err := o.Endpoint(left)
	wantErr(t, err, ErrCorrupt, "cut off")
	_, err = o.Retired()
	wantErr(t, err, ErrCorrupt)
	err = o.Read(func(at func(Kind) (unsafe.Pointer, uint64, uint16, bool)) {
		mem, size, _, _ := at(KindLane)
		bytes.Clone(unsafe.Slice((*byte)(mem), size)) // by an assembly routine
	})
	wantErr(t, err, ErrCorrupt)
	if _, err := Observe(name); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}

func TestObserveRefused(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	os.WriteFile(at("text"), bytes.Repeat([]byte("text"), 2000), 0o600)
	os.Mkdir(at("dir"), 0o700)
	os.Symlink(at("text"), at("link"))
	if err := unix.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		at("text"): ErrCorrupt, at("dir"): fs.ErrInvalid, at("link"): fs.ErrInvalid, at("fifo"): fs.ErrInvalid,
		"a/b": fs.ErrInvalid, at("none"): fs.ErrNotExist, at("none/none"): fs.ErrNotExist,
	} {
		if _, err := Observe(name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}

	// A lock file of another region tells nothing.
	must(t)(Open(at("a"), left, config()))
	os.Rename(at("a"+lockSuffix), at("b"+lockSuffix))
	o := observe(t, at("a"))
	wantErr(t, o.LockError(), fs.ErrNotExist)
	os.WriteFile(at("a"+lockSuffix), nil, 0o600)
	o = observe(t, at("a"))
	wantErr(t, o.LockError(), ErrCorrupt, "nobody can tell who uses it")
	wantSeen(t, o, left, Attached, Alive, false)
	editHeader(t, at("a"), func(h *header) { h.boot[0]++ })
	editHeader(t, at("a"), func(h *header) { h.table[3].flags = flagRequired }) // of kind 1000
	if _, err := Open(at("a"), left, config()); !errors.Is(err, ErrMismatch) {
		t.Error(err)
	}
	if s := observe(t, at("a")).Layout().Sections[3]; s.Kind != 1000 || !s.Required {
		t.Errorf("%+v", s)
	}
	if !observe(t, at("a")).Stale() {
		t.Error("not stale")
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(dirEnv, dir)
	must(t)(Open("b", left, config()))
	must(t)(Open("a", left, config()))
	old := time.Now().Add(-time.Hour)
	for n, size := range map[string]int{"corrupt": 10, "corrupt.lock": 16, "text": 5000, "lost.lock": 16, "foreign.lock": 100, "new.lock": 0, ".shm-X": 9, "link": -1} {
		path := filepath.Join(dir, n)
		if size < 0 {
			os.Symlink("a", path)
			continue
		}
		os.WriteFile(path, make([]byte, size), 0o600)
		if n != "new.lock" {
			os.Chtimes(path, old, old)
		}
	}
	os.Mkdir(filepath.Join(dir, "dir.lock"), 0o700)
	for _, d := range []string{"", dir} {
		regions, strays, err := List(d)
		if err != nil {
			t.Fatal(err)
		}
		at := func(names ...string) (paths []string) {
			for _, n := range names {
				paths = append(paths, filepath.Join(dir, n))
			}
			return paths
		}
		if want := at("a", "b", "corrupt"); !slices.Equal(regions, want) {
			t.Errorf("regions %q, want %q", regions, want)
		}
		if want := at(".shm-X", "lost.lock"); !slices.Equal(strays, want) {
			t.Errorf("strays %q, want %q", strays, want)
		}
	}
	if _, _, err := List(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}
