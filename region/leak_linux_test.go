package region

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

var cycles = flag.Int("cycles", 500, "how often TestNothingLeft opens and closes")

// Many ways in and out leave no descriptor, goroutine, mapping or file.
func TestNothingLeft(t *testing.T) {
	until(t, "inotify is closed", noInotify)
	// Warm up what the runtime keeps.
	cycle := func(i int, dir string) {
		check := func(err error) {
			if err != nil {
				t.Fatal(i, err)
			}
		}
		name := filepath.Join(dir, "name")
		a, err := Open(name, left, config())
		check(err)
		check(a.Watch(func() {}))
		if _, err := Open(name, left, config()); !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
		bad := config()
		bad.Accept = func(*Region) (Verdict, error) { return Keep, os.ErrExist }
		if _, err := Open(name, right, bad); !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		if _, err := Open(name, 7, config()); err == nil {
			t.Fatal("role 7")
		}
		b, err := a.Attach(right)
		check(err)
		switch i % 4 {
		case 0:
			check(b.Detach())
		case 1:
			b.Abandon()
		case 2:
			check(b.Close(nil))
		case 3:
			f, err := b.File()
			check(err)
			if _, err := FromFile(f, left, nil); err == nil {
				t.Fatal("the other role")
			}
			if i%8 == 3 {
				x, err := FromFile(f, right, nil)
				check(err)
				check(x.Watch(func() {}))
				check(x.Unmap())
			} else {
				check(f.Close())
			}
		}
		check(b.Unmap())
		check(a.Close(over))
		check(a.Unmap())

		m, err := Memfd(config())
		check(err)
		check(m.Claim(left))
		o, err := m.Attach(right)
		check(err)
		check(o.Watch(func() {}))
		check(m.Unmap())
		check(o.Close(nil))
		check(o.Unmap())

		bad = config()
		bad.Init = func(*Region) error { return os.ErrExist }
		if _, err := Open(name, left, bad); !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		if _, err := Memfd(bad); !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	cycle(0, dir)
	settle := func() (string, int) {
		until(t, "inotify is closed", noInotify)
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		shared := 0
		for i := range len(maps) - 4 {
			if string(maps[i:i+4]) == "rw-s" {
				shared++
			}
		}
		return fmt.Sprintf("%d descriptors, %d shared mappings", countFDs(t), shared), runtime.NumGoroutine()
	}
	before, goroutines := settle()
	for i := range *cycles {
		cycle(i, dir)
	}
	until(t, "all is as before", func() bool {
		after, n := settle()
		return after == before && n <= goroutines
	})
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Fatal(left)
	}
}
