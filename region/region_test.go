package region

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime"
	"sync"
	"testing"
	"unsafe"
)

// makers are the ways to get a region without a name. What holds for one
// holds for all.
var makers = map[string]func(Config) (*Region, error){"heap": Heap, "memfd": Memfd}

func each(t *testing.T, f func(t *testing.T, make func(Config) (*Region, error))) {
	for name, m := range makers {
		t.Run(name, func(t *testing.T) { f(t, m) })
	}
}

func TestSections(t *testing.T) {
	each(t, func(t *testing.T, make func(Config) (*Region, error)) {
		c := config()
		inits := 0
		c.Init = func(r *Region) error {
			inits++
			mem, _, _, _ := r.Section(KindLane)
			*(*byte)(mem) = 7
			return nil
		}
		r := must(t)(make(c))
		if inits != 1 || r.Role() != -1 || r.Name() != "" || r.Roles() != 2 || r.Retired() {
			t.Fatalf("inits %d role %d name %q roles %d retired %v", inits, r.Role(), r.Name(), r.Roles(), r.Retired())
		}
		if uintptr(r.Base())%4096 != 0 || r.Size()%4096 != 0 {
			t.Fatalf("base %p size %d", r.Base(), r.Size())
		}
		for _, want := range c.Sections {
			mem, size, version, ok := r.Section(want.Kind)
			if !ok || size != want.Size || version != want.Version || uintptr(mem)%uintptr(max(64, want.Align)) != 0 {
				t.Fatalf("%v: %p %d %d %v", want, mem, size, version, ok)
			}
			if off := uintptr(mem) - uintptr(r.Base()); off < headerSize || off+uintptr(size) > r.Size() {
				t.Fatalf("%v: offset %d of %d", want, off, r.Size())
			}
		}
		if _, _, _, ok := r.Section(99); ok {
			t.Fatal("section 99")
		}
		o := must(t)(r.Attach(right))
		mem, _, _, _ := o.Section(KindLane)
		if *(*byte)(mem) != 7 || o.ID() != r.ID() || o.ID() == [16]byte{} {
			t.Fatal("the second attachment sees another region")
		}
		image := append([]byte(nil), unsafe.Slice((*byte)(r.Base()), headerSize)...)
		l, err := Validate(image, uint64(r.Size()))
		if err != nil || len(l.Sections) != 4 || l.Roles != 2 || l.Creator != os.Getpid() {
			t.Fatal(l, err)
		}
	})
}

func TestBadConfig(t *testing.T) {
	boom := errors.New("boom")
	each(t, func(t *testing.T, make func(Config) (*Region, error)) {
		for name, c := range map[string]Config{
			"no roles":       {},
			"65 roles":       {Roles: 65},
			"-1 roles":       {Roles: -1},
			"empty section":  {Roles: 1, Sections: []Section{{Kind: KindLane}}},
			"absurd section": {Roles: 1, Sections: []Section{{Kind: KindLane, Size: math.MaxUint64}}},
			"absurd sum":     {Roles: 1, Sections: []Section{{Kind: KindLane, Size: 1 << 45}, {Kind: KindEvents, Size: 1 << 45}}},
			"alignment 3":    {Roles: 1, Sections: []Section{{Kind: KindLane, Size: 1, Align: 3}}},
			"alignment 96":   {Roles: 1, Sections: []Section{{Kind: KindLane, Size: 1, Align: 96}}},
			"alignment 8192": {Roles: 1, Sections: []Section{{Kind: KindLane, Size: 1, Align: 8192}}},
			"kind 0":         {Roles: 1, Sections: []Section{{Size: 1}}},
			"endpoints":      {Roles: 1, Sections: []Section{{Kind: KindEndpoints, Size: 128}}},
			"twice":          {Roles: 1, Sections: []Section{{Kind: KindLane, Size: 1}, {Kind: KindLane, Size: 1}}},
			"unknown":        {Roles: 1, Sections: []Section{{Kind: 77, Size: 1, Required: true}}},
			"many sections":  {Roles: 1, Sections: manySections(64)},
			"setuid":         {Roles: 1, Mode: fs.ModeSetuid | 0o600},
			"mode 0400":      {Roles: 1, Mode: 0o400},
		} {
			_, err := make(c)
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := make(Config{Roles: 1, Init: func(*Region) error { return boom }})
		wantErr(t, err, boom)
		r := must(t)(make(Config{Roles: 64, Sections: manySections(63)}))
		if r.Roles() != 64 {
			t.Fatal(r.Roles())
		}
		must(t)(make(Config{Roles: 1, HugePages: true}))
	})
}

func manySections(n int) []Section {
	s := make([]Section, n)
	for i := range s {
		s[i] = Section{Kind: Kind(100 + i), Size: 1}
	}
	return s
}

func TestClaim(t *testing.T) {
	each(t, func(t *testing.T, make func(Config) (*Region, error)) {
		r := must(t)(make(config()))
		wantPhase(t, r, left, Free, 0)
		if err := r.Claim(left); err != nil {
			t.Fatal(err)
		}
		wantPhase(t, r, left, Attached, 1)
		if s := r.State(left); r.Role() != left || s.PID != os.Getpid() {
			t.Fatal(r.Role(), s)
		}
		wantErr(t, r.Claim(right), fs.ErrInvalid)
		_, err := r.Attach(left)
		wantErr(t, err, ErrBusy, fmt.Sprint(os.Getpid()))
		_, err = r.Attach(2)
		wantErr(t, err, ErrMismatch)
		_, err = r.Attach(-1)
		wantErr(t, err, ErrMismatch)

		o := must(t)(r.Attach(right))
		if p := o.Probe(left).Phase; p != Attached {
			t.Fatal(p)
		}
		if p := o.Probe(right).Phase; p != Attached { // its own
			t.Fatal(p)
		}
		if s := r.Probe(77); s != (State{}) {
			t.Fatal(s)
		}

		// A successor after a Detach.
		if err := o.Detach(); err != nil {
			t.Fatal(err)
		}
		wantPhase(t, r, right, Detached, 1)
		if o.Role() != -1 {
			t.Fatal(o.Role())
		}
		wantErr(t, o.Claim(right), fs.ErrClosed)
		_, err = o.Attach(right)
		wantErr(t, err, fs.ErrClosed)
		o2 := must(t)(r.Attach(right))
		wantPhase(t, r, right, Attached, 2)

		// And after a death.
		o2.Abandon()
		if s := r.Probe(right); s.Phase != Dead || s.Deaths != 1 || s.Epoch != 2 {
			t.Fatal(s)
		}
		o3 := must(t)(r.Attach(right))
		if s := r.Probe(right); s.Phase != Attached || s.Deaths != 1 || s.Epoch != 3 {
			t.Fatal(s)
		}

		// Closed is for good.
		for range 2 {
			if err := o3.Close(func() bool { t.Error("asked without a name"); return true }); err != nil {
				t.Fatal(err)
			}
		}
		if err := o3.Detach(); err != nil {
			t.Fatal(err)
		}
		wantPhase(t, r, right, Closed, 3)
		_, err = r.Attach(right)
		wantErr(t, err, ErrRoleClosed)
		for range 2 {
			if err := o3.Unmap(); err != nil {
				t.Fatal(err)
			}
		}
		if o3.Base() != nil {
			t.Fatal("mapped")
		}
	})
}

// A death that nobody has noticed is counted by the successor.
func TestUnnoticedDeath(t *testing.T) {
	each(t, func(t *testing.T, make func(Config) (*Region, error)) {
		r := must(t)(make(config()))
		o := must(t)(r.Attach(right))
		word := r.roles[right].word.Load()
		o.Abandon()
		r.roles[right].word.Store(word)
		must(t)(r.Attach(right))
		if s := r.State(right); s.Phase != Attached || s.Epoch != 2 || s.Deaths != 1 {
			t.Fatal(s)
		}
	})
}

func TestRacingClaims(t *testing.T) {
	each(t, func(t *testing.T, make func(Config) (*Region, error)) {
		r := must(t)(make(config()))
		var mu sync.Mutex
		got, busy := []*Region{}, 0
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				o, err := r.Attach(i % 2)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					got = append(got, o)
				case errors.Is(err, ErrBusy):
					busy++
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(got) != 2 || busy != 38 {
			t.Fatal(len(got), busy)
		}
		for _, o := range got {
			o.Unmap()
		}
	})
}

func TestHostileWord(t *testing.T) {
	each(t, func(t *testing.T, make func(Config) (*Region, error)) {
		for _, w := range []uint64{6, 0xff, math.MaxUint64, 0xffffffff00 | uint64(Attached), uint64(Transit), 1<<63 | uint64(Attached)} {
			r := must(t)(make(config()))
			r.roles[right].word.Store(w)
			r.State(right)
			if p := r.Probe(right).Phase; p != Dead {
				t.Fatalf("%#x: %v", w, p)
			}
			if _, err := r.Attach(right); err != nil {
				t.Fatalf("%#x: %v", w, err)
			}
			wantPhase(t, r, right, Attached, uint32(w>>8)+1)
		}
	})
}

func TestWatch(t *testing.T) {
	each(t, func(t *testing.T, make func(Config) (*Region, error)) {
		base := must(t)(make(config()))
		r := must(t)(base.Attach(left))
		o := must(t)(base.Attach(right))
		wantErr(t, r.Watch(nil), fs.ErrInvalid)
		b := newBell()
		if err := r.Watch(func() {
			if r.State(right).Phase != Dead {
				t.Error("told before the state says so")
			}
			b.ring()
		}); err != nil {
			t.Fatal(err)
		}
		wantErr(t, r.Watch(b.ring), fs.ErrInvalid)
		b.silent(t)
		o.Abandon()
		b.wait(t)

		// Dead already: told before Watch returns.
		r.Detach()
		wantErr(t, r.Watch(b.ring), fs.ErrClosed)
		b.silent(t)
		x := must(t)(base.Attach(left))
		b2 := newBell()
		if err := x.Watch(b2.ring); err != nil {
			t.Fatal(err)
		}
		select {
		case <-b2:
		default:
			t.Fatal("not told at once")
		}

		// Leaving in good order is no death.
		y := must(t)(base.Attach(right))
		if err := y.Detach(); err != nil {
			t.Fatal(err)
		}
		y = must(t)(base.Attach(right))
		y.Abandon()
		b2.wait(t)
		if s := x.State(right); s.Deaths != 2 || s.Epoch != 3 {
			t.Fatal(s)
		}
	})
}

// Once a watch has ended its function does not run any more, so that the
// memory can be unmapped.
func TestWatchEnds(t *testing.T) {
	each(t, func(t *testing.T, make func(Config) (*Region, error)) {
		for i := range 50 {
			r := must(t)(make(config()))
			o := must(t)(r.Attach(right))
			if err := r.Watch(func() { r.State(right) }); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() { o.Unmap() })
			switch i % 3 {
			case 0:
				r.Detach()
			case 1:
				r.Close(nil)
			}
			if err := r.Unmap(); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
		}
	})
}

// What watches must not keep alive whoever owns the Region, so that a
// cleanup of the owner can abandon it.
func TestAbandonByCleanup(t *testing.T) {
	each(t, func(t *testing.T, make func(Config) (*Region, error)) {
		type owner struct{ r *Region }
		base := must(t)(make(config()))
		r := must(t)(base.Attach(left))
		b := newBell()
		if err := r.Watch(b.ring); err != nil {
			t.Fatal(err)
		}
		func() {
			o := &owner{}
			var err error
			if o.r, err = base.Attach(right); err != nil {
				t.Fatal(err)
			}
			if err := o.r.Watch(func() {}); err != nil {
				t.Fatal(err)
			}
			runtime.AddCleanup(o, func(r *Region) { r.Unmap() }, o.r)
		}()
		until(t, "the owner is collected", func() bool {
			runtime.GC()
			return r.State(right).Phase == Dead
		})
		b.wait(t)
	})
}

func TestHeapStays(t *testing.T) {
	r := must(t)(Heap(config()))
	if err := r.Claim(left); err != nil {
		t.Fatal(err)
	}
	_, err := r.File()
	wantErr(t, err, errors.ErrUnsupported)
	wantPhase(t, r, left, Attached, 1)
}

func TestNames(t *testing.T) {
	t.Setenv(dirEnv, "/tmp/x/")
	long := string(append(make([]byte, 0, 300), fmt.Sprintf("%0250d", 0)...))
	for name, want := range map[string]string{
		"a": "/tmp/x/a", "/a/b": "/a/b", "/a": "/a", "...": "/tmp/x/...", long: "/tmp/x/" + long,
		"": "", ".": "", "..": "", "a/b": "", "./a": "", "a\x00": "", "/a/": "", "/a/..": "", "/": "",
		"a.lock": "", "/a/b.lock": "", ".lock": "", long + "0": "", "/" + fmt.Sprintf("%05000d/a", 0): "",
	} {
		got, err := resolve(name)
		if got != want || (want == "") != errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%.30q: %q, %v", name, got, err)
		}
	}
	t.Setenv(dirEnv, "relative")
	if _, err := resolve("a"); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
	t.Setenv(dirEnv, "")
	if got, _ := resolve("a"); got != "/dev/shm/a" {
		t.Error(got)
	}
}
