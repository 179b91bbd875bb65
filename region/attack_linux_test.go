package region

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Another user has put something where our name is going to be, in a directory
// where everybody may make files. It is refused and left as it is, and what a
// link leads to is not touched.
func TestSquattersInAStickyDirectory(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("giving files away needs root")
	}
	const nobody = 65534
	sound := func(t *testing.T, name string) { // a region that is all right but for its owner
		c := config()
		c.Mode = 0o666
		must(t)(Open(name, right, c)).Detach()
		os.Chown(name, nobody, nobody)
		os.Chown(name+".lock", nobody, nobody)
	}
	for what, c := range map[string]struct {
		squat func(t *testing.T, name, victim string)
		want  error
	}{
		"a file": {func(t *testing.T, name, _ string) {
			os.WriteFile(name, []byte("mine"), 0o666)
			os.Chown(name, nobody, nobody)
		}, fs.ErrPermission},
		"a region": {func(t *testing.T, name, _ string) { sound(t, name) }, fs.ErrPermission},
		"the locks": {func(t *testing.T, name, _ string) {
			os.WriteFile(name+".lock", nil, 0o666)
			os.Chown(name+".lock", nobody, nobody)
		}, fs.ErrPermission},
		"a link to the victim":    {func(t *testing.T, name, victim string) { os.Symlink(victim, name) }, fs.ErrInvalid},
		"locks that are a link":   {func(t *testing.T, name, victim string) { os.Symlink(victim, name+".lock") }, fs.ErrInvalid},
		"a dangling link":         {func(t *testing.T, name, victim string) { os.Symlink(victim+"-new", name+".lock") }, fs.ErrInvalid},
		"a hard link":             {func(t *testing.T, name, victim string) { os.Link(victim, name) }, fs.ErrPermission},
		"locks that are another":  {func(t *testing.T, name, victim string) { os.Link(victim, name+".lock") }, fs.ErrPermission},
		"a pipe without a reader": {func(t *testing.T, name, _ string) { unix.Mkfifo(name+".lock", 0o666) }, fs.ErrInvalid},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			os.Chmod(dir, 0o777|fs.ModeSticky)
			victim := filepath.Join(dir, "victim")
			os.WriteFile(victim, []byte("precious"), 0o600)
			name := filepath.Join(dir, "name")
			c.squat(t, name, victim)
			before := names(t, name)
			_, err := Open(name, left, config())
			wantErr(t, err, c.want)
			kept := names(t, name)
			if fmt.Sprint(kept) != fmt.Sprint(before) {
				t.Fatal("was", before, "is", kept)
			}
			if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
				t.Fatal(string(b), err)
			}
			if _, err := os.Lstat(victim + "-new"); !errors.Is(err, fs.ErrNotExist) {
				t.Fatal("made a file for somebody else")
			}
		})
	}
}

func init() {
	// reopen: tries to write through descriptor 3, which is open for reading, by
	// way of /proc, and says how that went.
	children["reopen"] = func(args []string, in *bufio.Scanner) {
		fd, err := unix.Open("/proc/self/fd/3", unix.O_RDWR, 0)
		fmt.Println(fd >= 0, err)
	}
}

// A descriptor for reading is opened again for writing by way of /proc exactly if
// the mode of the file allows that. So a channel that others may read is 0644,
// and its locks are not for them.
func TestReopenThroughProc(t *testing.T) {
	nobody := asNobody(t)
	c := config()
	c.Mode = 0o644
	r := must(t)(Open(tempName(t), left, c))
	f, err := os.Open(r.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	y := start(t, func(cmd *exec.Cmd) { inherit(f)(cmd); nobody(cmd) }, "reopen")
	if line := y.line(); !strings.HasPrefix(line, "false permission") {
		t.Fatal(line)
	}
	if st, err := os.Stat(r.Name() + ".lock"); err != nil || st.Mode() != 0o600 {
		t.Fatal(st.Mode(), err)
	}
}
