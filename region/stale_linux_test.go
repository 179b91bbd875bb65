package region

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	// dies NAME WHERE: dies in the middle of making a region.
	children["dies"] = func(args []string, in *bufio.Scanner) {
		noTmpfile = args[1] == "temporary"
		c := config()
		c.Init = func(*Region) error {
			fmt.Println("making")
			in.Scan()
			select {}
		}
		_, err := Open(args[0], left, c)
		fmt.Println(err)
	}
}

// What creators leave when they die is used or taken away by whoever opens the
// name next, with and without files that have no name yet.
func TestCreatorsThatDie(t *testing.T) {
	for _, how := range []string{"nameless", "temporary"} {
		t.Run(how, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "name")
			for range 3 {
				c := start(t, nil, "dies", name, how)
				c.want("making")
				c.kill()
			}
			want := []string{"name.lock"}
			if how == "temporary" { // one, however many died
				want = append([]string{filepath.Base(tempPath(name))}, want...)
			}
			wantNames(t, name, want...)
			noTmpfile = how == "temporary"
			defer func() { noTmpfile = false }()
			r := must(t)(Open(name, left, config()))
			wantNames(t, name, "name", "name.lock")
			if err := r.Close(over); err != nil {
				t.Fatal(err)
			}
			wantNames(t, name)

			// Of the lock file too, and Remove takes everything away.
			os.WriteFile(tempPath(name+lockSuffix), nil, 0o600)
			must(t)(Open(name, left, config()))
			os.WriteFile(tempPath(name+lockSuffix), nil, 0o600)
			os.WriteFile(tempPath(name), nil, 0o600)
			if err := Remove(name, nil); err != nil {
				t.Fatal(err)
			}
			wantNames(t, name)
		})
	}
}

// Somebody takes the file away by hand: who has it keeps it, who comes next makes
// another one, and the two have no lock in common.
func TestUnlinkedByHand(t *testing.T) {
	name := tempName(t)
	a := must(t)(Open(name, left, config()))
	b := must(t)(Open(name, right, config()))
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	x := must(t)(Open(name, left, config()))
	if x.ID() == a.ID() {
		t.Fatal("the same")
	}
	wantPhase(t, x, right, Free, 0)
	if a.Probe(right).Phase != Attached || b.Probe(left).Phase != Attached || x.Probe(right).Phase != Free {
		t.Fatal(a.Probe(right), b.Probe(left), x.Probe(right))
	}
	for _, r := range []*Region{a, b} {
		if err := r.Close(over); err != nil {
			t.Fatal(err)
		}
	}
	wantNames(t, name, "name", "name.lock") // not theirs
	if err := x.Close(over); err != nil {
		t.Fatal(err)
	}
	wantNames(t, name)
}

func init() {
	// starved NAME: opens and closes with fewer and fewer descriptors to be had,
	// then with less and less memory to map, says each error that is new, and in
	// the end what is open and mapped.
	children["starved"] = func(args []string, in *bufio.Scanner) {
		seen, worked := map[string]bool{}, 0
		try := func() {
			failed := func(err error) bool {
				if err != nil && !seen[err.Error()] {
					seen[err.Error()] = true
				}
				return err != nil
			}
			r, err := Open(args[0], left, config())
			if !failed(err) {
				o, err := r.Attach(right)
				if !failed(err) {
					f, err := o.File()
					if !failed(err) {
						x, err := FromFile(f, right, nil)
						if !failed(err) {
							worked++
							x.Unmap()
						}
						f.Close()
					}
					o.Unmap()
				}
				r.Close(over)
				r.Unmap()
			}
			m, err := Memfd(config())
			if !failed(err) {
				m.Unmap()
			}
		}
		state := func() string {
			maps, _ := os.ReadFile("/proc/self/maps")
			shared := 0
			for i := range len(maps) - 4 {
				if string(maps[i:i+4]) == "rw-s" {
					shared++
				}
			}
			entries, _ := os.ReadDir("/proc/self/fd")
			return fmt.Sprintf("%d descriptors, %d mappings", len(entries), shared)
		}
		try()
		before := state()
		var old unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_NOFILE, &old)
		for n := uint64(4); n < 30; n++ {
			unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: old.Max})
			try()
		}
		unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
		few := len(seen)
		unix.Getrlimit(unix.RLIMIT_AS, &old)
		unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: 1 << 20, Max: old.Max})
		for range 5 {
			try()
		}
		unix.Setrlimit(unix.RLIMIT_AS, &old)
		for end := time.Now().Add(patience); state() != before && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		fmt.Println(few >= 5, len(seen) > few, worked > 0)
		fmt.Println(before)
		fmt.Println(state())
	}
}

// Whatever runs out half-way, nothing is left behind.
func TestOpenWithoutDescriptorsOrMemory(t *testing.T) {
	name := tempName(t)
	c := start(t, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "GOMAXPROCS=1", "GOGC=off") }, "starved", name)
	c.want("true true true")
	before := c.line()
	c.want(before)
	wantNames(t, name)
}
