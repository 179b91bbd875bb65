package region

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// The watch finds a file that was cut off, and makes it as long as it was.
func TestWatchFindsTheCut(t *testing.T) {
	test := func(t *testing.T) {
		for _, size := range []int64{0, 100, 4096, 8192} {
			name := tempName(t)
			a := must(t)(Open(name, left, config()))
			o := must(t)(Open(name, right, config()))
			b := newBell()
			if err := a.Watch(b.ring); err != nil {
				t.Fatal(err)
			}
			b.silent(t)
			b2 := newBell()
			if err := o.Watch(b2.ring); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(name, size); err != nil {
				t.Fatal(err)
			}
			b.wait(t)
			b2.wait(t)
			for _, r := range []*Region{a, o} {
				if !r.Cut() || r.shrunk() || !r.Retired() {
					t.Fatal(r.Cut(), r.shrunk(), r.Retired())
				}
			}
			r, err := Open(name, left, config())
			if size >= headerSize { // retired, and so replaced
				must(t)(r, err)
			} else {
				wantErr(t, err, ErrCorrupt)
			}
			if err := a.Close(over); err != nil {
				t.Fatal(err)
			}
			if size < headerSize {
				wantNames(t, name)
			}
			if err := o.Detach(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("inotify", test)
	t.Run("polling", func(t *testing.T) {
		until(t, "inotify is closed", noInotify)
		inotifyInit = func(int) (int, error) { return -1, unix.EMFILE }
		defer func() { inotifyInit = unix.InotifyInit1 }()
		test(t)
	})
}

// A peer can write what it likes into the header of a memfd, which cannot be cut.
func TestMarkInAMemfdIsNotBelieved(t *testing.T) {
	r := must(t)(Memfd(config()))
	defer r.Unmap()
	r.header.state.Store(stateCut)
	if r.Cut() || !r.Retired() {
		t.Fatal(r.Cut(), r.Retired())
	}
}
