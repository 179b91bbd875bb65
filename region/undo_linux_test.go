package region

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A region that could not be made leaves no trace. If its mapping were still known,
// a fault at the same place later would be taken for one of its own, and the file
// that has its descriptor's number by then would be lengthened.
func TestFailedCreateIsForgotten(t *testing.T) {
	enrolled := func() int {
		mapped.mu.Lock()
		defer mapped.mu.Unlock()
		return len(mapped.regions)
	}
	before := enrolled()
	boom := errors.New("boom")
	for what, init := range map[string]func(*Region) error{
		"error": func(*Region) error { return boom },
		"panic": func(*Region) error { panic(boom) },
	} {
		c := config()
		c.Init = init
		name := tempName(t)
		for how, create := range map[string]func() (*Region, error){
			"named": func() (*Region, error) { return Open(name, left, c) },
			"memfd": func() (*Region, error) { return Memfd(c) },
		} {
			func() {
				defer func() { recover() }()
				if _, err := create(); !errors.Is(err, boom) {
					t.Error(what, how, err)
				}
			}()
			if n := enrolled(); n != before {
				t.Fatalf("%s, %s: %d mappings are known, want %d", what, how, n, before)
			}
		}
	}

	var files []*os.File // one may have the descriptor of a region that failed
	for range 8 {
		f, err := os.CreateTemp(t.TempDir(), "other")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	name := tempName(t)
	r := must(t)(Open(name, left, config()))
	defer r.Unmap()
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := Guard(func() { r.header.state.Load() }); got != r || !errors.Is(err, ErrCorrupt) {
		t.Fatal(got, err)
	}
	for _, f := range files {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Size != 0 {
			t.Fatal(f.Name(), "has", st.Size, "bytes", err)
		}
	}
}
