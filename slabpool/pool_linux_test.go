package slabpool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const childEnv = "SLABPOOL_TEST_CHILD"

func TestMain(m *testing.M) {
	switch what := os.Getenv(childEnv); what {
	case "":
		os.Exit(m.Run())
	default:
		if err := childMain(what); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// childMain churns blocks of a pool for ever, or attaches through descriptor 3.
func childMain(what string) error {
	if what == "file" {
		p, err := FromFile(os.NewFile(3, "pool"))
		if err != nil {
			return err
		}
		h, err := p.TryAlloc(1)
		if err != nil {
			return err
		}
		if err := p.Free(h); err != nil {
			return err
		}
		fmt.Println("seat", p.Owner())
		return p.Close()
	}
	p, err := Open(what)
	if err != nil {
		return err
	}
	fmt.Println("seat", p.Owner())
	rng := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	for {
		if held := p.Held(); len(held) > 0 && (len(held) == 4 || rng.IntN(2) == 0) {
			h := held[rng.IntN(len(held))]
			if rng.IntN(4) == 0 && p.Owner() != 0 {
				p.Share(h, 0) // with the survivor, which frees what it finds
			}
			if err := p.Free(h); err != nil {
				return err
			}
			continue
		}
		h, err := p.TryAlloc(1 + rng.IntN(100))
		if errors.Is(err, ErrExhausted) {
			continue
		}
		if err != nil {
			return err
		}
		b, err := p.Bytes(h)
		if err != nil {
			return err
		}
		for i := range b {
			b[i] = byte(os.Getpid())
		}
		for _, c := range b {
			if c != byte(os.Getpid()) {
				return fmt.Errorf("another wrote to %v", h)
			}
		}
	}
}

type churner struct {
	cmd *exec.Cmd
	out *bufio.Scanner
}

func startChild(t *testing.T, what string, files ...*os.File) *churner {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	c := &churner{cmd, bufio.NewScanner(out)}
	t.Cleanup(func() { c.kill() })
	if !c.out.Scan() || !strings.HasPrefix(c.out.Text(), "seat ") {
		t.Fatalf("the child says %q", c.out.Text())
	}
	return c
}

func (c *churner) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

func poolName(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "slabpool-test-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "pool")
}

// TestPoolKilled kills processes at random moments while others and the
// survivor go on, and counts all blocks at the end. (The Buf channels have the
// long version, in package shmchan.)
func TestPoolKilled(t *testing.T) {
	kills := 12
	if testing.Short() {
		kills = 3
	}
	name := poolName(t)
	p, err := Open(name, Class{64, 12}, Class{128, 4})
	must(t, err)
	rng := rand.New(rand.NewPCG(uint64(os.Getpid()), 2))
	children := []*churner{startChild(t, name), startChild(t, name)}
	for range kills {
		for end := time.Now().Add(time.Duration(rng.IntN(8000)) * time.Microsecond); time.Now().Before(end); {
			for _, h := range p.Held() {
				must(t, p.Free(h))
			}
			if h, err := p.TryAlloc(50); err == nil {
				must(t, p.Free(h))
			}
		}
		k := rng.IntN(2)
		children[k].kill()
		if said := children[k].out; said.Scan() {
			t.Fatalf("the child says %q", said.Text())
		}
		children[k] = startChild(t, name)
	}
	for _, c := range children {
		c.kill()
	}
	p.Recover()
	for _, h := range p.Held() {
		must(t, p.Free(h))
	}
	for _, s := range p.Stats() {
		if s.InUse != 0 || s.Free+s.Cached != s.Count {
			t.Errorf("%v", s)
		}
	}
	got := map[string]bool{}
	for range 16 {
		h, err := p.TryAlloc(1)
		must(t, err)
		got[fmt.Sprint(h.Class(), h.Index())] = true
	}
	if len(got) != 16 {
		t.Errorf("%d different blocks of 16", len(got))
	}
}

func TestPoolNames(t *testing.T) {
	name := poolName(t)
	p, err := Open(name, Class{64, 4})
	must(t, err)
	_, err = Open(name, Class{64, 5})
	is(t, err, ErrMismatch)
	q, err := Open(name)
	must(t, err)
	h, err := q.TryAlloc(5)
	must(t, err)
	must(t, p.Close())
	must(t, q.Free(h))
	must(t, q.Close())
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the last Close left the name: %v", err)
	}
	p, err = Open(name, Class{64, 5}) // another lifetime
	must(t, err)
	is(t, p.Free(h), ErrStaleHandle)
	must(t, Remove(name))
	is(t, Remove(name), fs.ErrNotExist)
	must(t, p.Close())
	_, err = Open(name, Class{1 << 30, 1 << 15}) // 32 TiB
	is(t, err, syscall.ENOSPC)
	_, err = Memfd(Class{1 << 30, 1 << 15})
	is(t, err, syscall.ENOMEM)
}

func TestPoolFile(t *testing.T) {
	p, err := Memfd(Class{64, 4})
	must(t, err)
	f, err := p.File()
	must(t, err)
	c := startChild(t, "file", f)
	must(t, f.Close())
	must(t, c.cmd.Wait())
	if c.out.Text() != "seat 1" {
		t.Errorf("the child says %q", c.out.Text())
	}
	f, err = p.File()
	must(t, err)
	q, err := FromFile(f)
	must(t, err)
	if q.Owner() != 1 {
		t.Errorf("seat %d", q.Owner())
	}
	_, err = FromFile(nil)
	is(t, err, fs.ErrInvalid)
	r, _, err := os.Pipe()
	must(t, err)
	_, err = FromFile(r)
	is(t, err, fs.ErrInvalid)
	must(t, q.Close())
	must(t, p.Close())
}

// deadSeat returns an endpoint of a pool that has no free block, since another
// one died with it.
func deadSeat(t *testing.T, p, q *Pool) {
	t.Helper()
	for _, x := range []*Pool{p, q} {
		_, err := x.TryAlloc(1)
		must(t, err)
	}
	q.reg.Abandon()
}

// allocTimesOut wants an Alloc that ends with its context.
func allocTimesOut(t *testing.T, p *Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, 250*time.Millisecond)
	defer cancel()
	var err error
	returns(t, "Alloc", func() { _, err = p.Alloc(ctx, 1) })
	is(t, err, context.DeadlineExceeded)
}

// TestAllocWithoutDescriptors: a seat that died cannot be attached to, which
// ends. TestMain's process has no other test beside this one.
func TestAllocWithoutDescriptors(t *testing.T) {
	p, err := Memfd(Class{64, 2})
	must(t, err)
	q, err := p.Attach()
	must(t, err)
	deadSeat(t, p, q)
	var old syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old))
	low := old
	low.Cur = 4
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low))
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)
	allocTimesOut(t, p)
	_, err = p.Attach()
	is(t, err, syscall.EMFILE)
	got := make(chan error, 1)
	go func() { _, err := p.Alloc(bg, 1); got <- err }()
	time.Sleep(10 * time.Millisecond)
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old))
	returns(t, "Alloc after there are descriptors again", func() { err = <-got })
	must(t, err)
}

// TestAllocBesideStoppedOpener: the name's lock is held by somebody who is
// stopped in the middle of Open.
func TestAllocBesideStoppedOpener(t *testing.T) {
	p, err := Open(poolName(t), Class{64, 2})
	must(t, err)
	q, err := Open(p.reg.Name())
	must(t, err)
	f, err := os.OpenFile(p.reg.Name()+".lock", os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	const setOwnLock = 37 // F_OFD_SETLK
	must(t, syscall.FcntlFlock(f.Fd(), setOwnLock, &syscall.Flock_t{Type: syscall.F_WRLCK, Len: 1}))
	deadSeat(t, p, q)
	attached := make(chan error)
	go func() { // waits for the name's lock
		r, err := p.Attach()
		if err == nil {
			err = r.Close()
		}
		attached <- err
	}()
	time.Sleep(5 * time.Millisecond)
	start := time.Now()
	allocTimesOut(t, p)
	if d := time.Since(start); d > 4*time.Second { // one turn of waiting for the lock is 5 s
		t.Errorf("it took %v", d)
	}
	must(t, f.Close())
	must(t, <-attached)
	returns(t, "Alloc after the lock is free", func() { _, err = p.Alloc(bg, 1) })
	must(t, err)
}
