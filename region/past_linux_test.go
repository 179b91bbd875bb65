package region

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"
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
}

// What has been unmapped and was not cut off is the program's own mistake.
func TestUseAfterUnmapGoesOn(t *testing.T) {
	for what, end := range map[string]func(t *testing.T, a *Region){
		"plain": func(t *testing.T, a *Region) { a.Unmap() },
		"under another panic": func(t *testing.T, a *Region) {
			var none *[100]int
			_, p, _ := guard(func() {
				defer a.Unmap()
				none[3]++
			})
			if p == nil {
				t.Fatal("a nil pointer was swallowed")
			}
		},
		"under a fault of another region": func(t *testing.T, a *Region) {
			name := tempName(t)
			o := must(t)(Open(name, left, config()))
			r, p, err := guard(func() {
				defer a.Unmap()
				touch(o, func() { os.Truncate(name, 0) })
			})
			if r != o || !errors.Is(err, ErrCorrupt) || p != nil {
				t.Fatal(r, err, p)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			for range 100 {
				a := must(t)(Open(tempName(t), left, config()))
				mem := a.mem
				end(t, a)
				r, p, err := guard(func() { mem[0]++ })
				if r != nil || err != nil {
					t.Fatal("swallowed:", err)
				}
				if p != nil {
					return
				} // else something else is mapped there by now
			}
			t.Fatal("never a fault")
		})
	}
}

// Guard looks at a region that is just being unmapped. The race detector sees
// what both have in common.
func TestGuardBesideUnmap(t *testing.T) {
	for range 100 {
		name := tempName(t)
		a := must(t)(Open(name, left, config()))
		var wg sync.WaitGroup
		r, p, err := guard(func() {
			defer wg.Go(func() { a.Unmap() })
			touch(a, func() { os.Truncate(name, 0) })
		})
		wg.Wait()
		if r != a || p != nil {
			t.Fatal(r, err, p)
		}
		os.Remove(name + lockSuffix)
	}
}

// One after the other in the same place: the fault is that of the last, and if
// that was not cut off, it is nobody's.
func TestGuardWhereOneWasBefore(t *testing.T) {
	again := 0
	seen := make(map[*byte]bool)
	for range 50 {
		name := tempName(t)
		a := must(t)(Open(name, left, config()))
		if seen[&a.mem[0]] {
			again++
		}
		seen[&a.mem[0]] = true
		r, p, err := guard(func() { touch(a, func() { os.Truncate(name, 0) }) })
		if r != a || p != nil || !a.Cut() {
			t.Fatal(r, err, p)
		}
		a.Unmap()
		b := must(t)(Open(tempName(t), left, config())) // perhaps there too
		mem := b.mem
		b.Unmap()
		if r, _, err := guard(func() { mem[0]++ }); r != nil {
			t.Fatal("swallowed:", err)
		}
	}
	t.Log(again, "in the place of another")
}

func TestPast(t *testing.T) {
	var p past
	now := time.Now()
	add := func(base uintptr, e ending, when time.Time) *Region {
		r := new(Region)
		p.add(former{span{base, 100}, r, e, when})
		return r
	}
	want := func(addr uintptr, self string, r *Region, own bool) {
		t.Helper()
		if got, o := p.at(addr, self); got != r || o != own {
			t.Fatalf("%#x of %s: %p %v, want %p %v", addr, self, got, o, r, own)
		}
	}
	want(0, "", nil, false)
	a := add(1000, ending{gone: true}, now)
	want(1000, "g", a, false)
	want(1099, "g", a, false)
	want(999, "g", nil, false)
	want(1100, "g", nil, false)
	b := add(1050, ending{under: "g"}, now) // in the place of a
	want(1050, "g", b, true)
	want(1050, "h", nil, false)
	want(1000, "g", nil, false)
	p.settle("h")
	want(1050, "g", b, true)
	c := add(1050, ending{gone: true}, now)
	want(1050, "g", b, true) // that Guard has not looked yet
	want(1050, "h", c, false)
	p.settle("g")
	want(1050, "g", c, false)
	add(950, ending{}, now) // beside it
	add(1150, ending{}, now)
	want(1050, "g", c, false)
	add(1149, ending{}, now)
	want(1050, "g", nil, false)
	c = add(1000, ending{gone: true}, now)
	add(5000, ending{gone: true, under: "g"}, now.Add(-pastTime-time.Second))
	want(5000, "g", nil, false)
	for range pastSize {
		want(1000, "g", c, false)
		add(7000, ending{gone: true}, now)
		if p.n == pastSize+4 { // c is the fourth
			break
		}
	}
	want(1000, "g", nil, false)
}

func TestGoroutine(t *testing.T) {
	own, other := goroutine(), ""
	done := make(chan struct{})
	go func() {
		defer close(done)
		other = goroutine()
	}()
	<-done
	if own == "" || own != goroutine() || own == other || len(own) > 30 {
		t.Fatal(own, other)
	}
}
