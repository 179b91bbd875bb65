package region

import (
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// guard is Guard that returns a panic too.
func guard(f func()) (r *Region, p any, err error) {
	defer func() { p = recover() }()
	r, err = Guard(f)
	return r, nil, err
}

// touch writes to the last page of r's memory until that is a fault. cut is asked to
// cut the file off before, each time: the watch makes it as long again.
func touch(r *Region, cut func()) {
	mem := r.mem
	for {
		cut()
		mem[len(mem)-1]++
	}
}

// The region is unmapped between the fault and the look at it.
func TestGuardAfterUnmap(t *testing.T) {
	for what, end := range map[string]func(a *Region, undo func()){
		"deferred": func(a *Region, undo func()) { a.Unmap() },
		"close": func(a *Region, undo func()) {
			a.Close(over)
			a.Unmap()
		},
		"other goroutine": func(a *Region, undo func()) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				a.Unmap()
			}()
			<-done
		},
		"no trace left": func(a *Region, undo func()) {
			undo()
			a.Unmap()
		},
		"under a Guard": func(a *Region, undo func()) { Guard(func() { a.Unmap() }) },
		"with many others": func(a *Region, undo func()) {
			a.Unmap()
			for range pastSize - 1 {
				o, err := Open(a.name+"2", left, config())
				if err != nil {
					panic(err)
				}
				o.Close(over)
				o.Unmap()
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			for _, watched := range []bool{false, true} {
				name := tempName(t)
				a := must(t)(Open(name, left, config()))
				if watched {
					if err := a.Watch(func() {}); err != nil {
						t.Fatal(err)
					}
				}
				size := int64(a.Size())
				truncate := func(n int64) {
					if err := os.Truncate(name, n); err != nil {
						t.Error(err)
					}
				}
				r, p, err := guard(func() {
					defer end(a, func() { truncate(size) })
					touch(a, func() { truncate(headerSize) })
				})
				if r != a || p != nil {
					t.Fatal(r, err, p)
				}
				wantErr(t, err, ErrCorrupt, name)
			}
		})
	}
	nothingKept(t)
}

func nothingKept(t *testing.T) {
	t.Helper()
	p := &mapped.past
	if p.guards.Load() != 0 || p.kept.Load() != 0 {
		t.Fatal(p.guards.Load(), "guards,", p.kept.Load(), "places")
	}
	for _, f := range p.last {
		if f.r != nil {
			t.Fatal("a place is kept")
		}
	}
}

// While there is a Guard the place of what is unmapped stays taken, the last pastSize
// of them, and no longer.
func TestPlacesAreTaken(t *testing.T) {
	var mems [][]byte
	Guard(func() {
		for range pastSize + 10 {
			a := must(t)(Open(tempName(t), left, config()))
			mems = append(mems, a.mem)
			a.Unmap()
		}
		for i, mem := range mems[10:] { // others have come to lie where the first ones were
			if !kept(mem) {
				t.Error(i, "is not")
			}
		}
	})
	nothingKept(t)
	still := 0
	for _, mem := range mems {
		if kept(mem) {
			still++
		}
	}
	if still > pastSize/2 { // the program may have mapped something there
		t.Fatal(still, "places are still taken")
	}
}

// kept tells whether there is a mapping where mem was. What is not mapped cannot be
// asked.
func kept(mem []byte) bool { return unix.Msync(mem, unix.MS_ASYNC) == nil }

// What was unmapped before the Guard is the program's own mistake, and so is a nil
// pointer.
func TestUseAfterUnmapGoesOn(t *testing.T) {
	for range 100 {
		a := must(t)(Open(tempName(t), left, config()))
		mem := a.mem
		a.Unmap()
		var read byte
		r, p, err := guard(func() { read = mem[0] })
		if r != nil || err != nil {
			t.Fatal("swallowed:", err, read)
		}
		if p != nil {
			var none *[100]int
			if _, p, _ := guard(func() { defer a.Unmap(); none[3]++ }); p == nil {
				t.Fatal("a nil pointer was swallowed")
			}
			return
		} // else something else is mapped there by now
	}
	t.Fatal("never a fault")
}

// Guards begin and end while regions are unmapped, by several goroutines. The race
// detector sees what they have in common.
func TestGuardBesideUnmap(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		names := [50]string{}
		for i := range names {
			names[i] = tempName(t)
		}
		wg.Go(func() {
			for _, name := range names {
				a, err := Open(name, left, config())
				if err != nil {
					t.Error(err)
					return
				}
				done := make(chan struct{})
				r, p, _ := guard(func() {
					defer func() {
						go func() {
							defer close(done)
							a.Unmap()
						}()
					}()
					touch(a, func() { os.Truncate(name, 0) })
				})
				<-done
				if r != a || p != nil {
					t.Error(r, p)
				}
				os.Remove(name + lockSuffix)
			}
		})
	}
	wg.Wait()
	nothingKept(t)
}
