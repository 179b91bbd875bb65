package shmchan_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/shmchan"
)

// kept is where cut leaves the file of a channel, behind its header.
const kept = 8192

// large is a message of more than a page, so that it is cut off wherever it lies.
type large [20000]byte

// A guarded is a channel whose file is cut off under Guard.
type guarded struct {
	t    *testing.T
	name string
	size int64
}

// cut is to be called before each touch: the watch makes the file as long again.
func (g *guarded) cut() { must(g.t, os.Truncate(g.name, kept)) }

// undo leaves no trace of the cut, but for the zeros, and for what was found of it
// before.
func (g *guarded) undo() {
	if g.size > 0 {
		os.Truncate(g.name, g.size)
	}
}

// spoil writes to b, which is in shared memory, until that is a fault.
func (g *guarded) spoil(b []byte) error {
	for {
		g.cut()
		b[len(b)-1]++
	}
}

// repeat calls f until it fails, with the file cut off before each call.
func (g *guarded) repeat(f func() error) error {
	for {
		g.cut()
		if err := f(); err != nil && !errors.Is(err, shmchan.ErrFull) && !errors.Is(err, shmchan.ErrEmpty) {
			return err
		}
	}
}

func (g *guarded) typed() (*shmchan.Sender[large], *shmchan.Receiver[large]) {
	tx, err := shmchan.OpenSender[large](g.name, shmchan.WithCapacity(8))
	must(g.t, err)
	rx, err := shmchan.OpenReceiver[large](g.name)
	must(g.t, err)
	must(g.t, tx.TrySend(large{1}))
	return tx, rx
}

func (g *guarded) bufs() (*shmchan.BufSender, *shmchan.BufReceiver, *shmchan.Buf) {
	tx, err := shmchan.OpenBufSender(g.name)
	must(g.t, err)
	rx, err := shmchan.OpenBufReceiver(g.name)
	must(g.t, err)
	b, err := tx.Loan(bg, 20000)
	must(g.t, err)
	must(g.t, tx.Send(bg, b))
	b, err = rx.Recv(bg)
	must(g.t, err)
	return tx, rx, b
}

// All that keeps the mapping is given up by deferred functions.
var endings = map[string]func(g *guarded) error{
	"peek": func(g *guarded) error {
		tx, rx := g.typed()
		defer tx.Close()
		p, err := rx.Peek(bg)
		must(g.t, err)
		defer rx.Close()
		defer rx.Release()
		defer g.undo()
		return g.spoil(p[:])
	},
	"peek, closed before it is released": func(g *guarded) error {
		tx, rx := g.typed()
		defer tx.Close()
		p, err := rx.Peek(bg)
		must(g.t, err)
		defer rx.Release()
		defer rx.Close()
		defer g.undo()
		return g.spoil(p[:])
	},
	"reserve": func(g *guarded) error {
		tx, rx := g.typed()
		defer rx.Close()
		p, err := tx.Reserve(bg)
		must(g.t, err)
		defer tx.Close()
		defer tx.Commit()
		defer g.undo()
		return g.spoil(p[:])
	},
	"reserve, closed before it is committed": func(g *guarded) error {
		tx, rx := g.typed()
		defer rx.Close()
		p, err := tx.Reserve(bg)
		must(g.t, err)
		defer tx.Commit()
		defer tx.Close()
		defer g.undo()
		return g.spoil(p[:])
	},
	"received buf": func(g *guarded) error {
		tx, rx, b := g.bufs()
		defer tx.Close()
		defer rx.Close()
		defer b.Release()
		defer g.undo()
		return g.spoil(b.Bytes())
	},
	"loan": func(g *guarded) error {
		tx, rx, b := g.bufs()
		defer rx.Close()
		must(g.t, b.Release())
		b, err := tx.Loan(bg, 20000)
		must(g.t, err)
		defer b.Release()
		defer tx.Close()
		defer g.undo()
		return g.spoil(b.Bytes())
	},
	"buf, closed by another goroutine": func(g *guarded) error {
		tx, rx, b := g.bufs()
		defer tx.Close()
		defer func() { <-goes(rx.Close) }()
		defer b.Release()
		return g.spoil(b.Bytes())
	},
	"select": func(g *guarded) error {
		tx, rx := g.typed()
		defer tx.Close()
		i, err := shmchan.Select(bg, rx)
		if i != 0 || err != nil {
			g.t.Error(i, err)
		}
		p, err := rx.Peek(bg)
		must(g.t, err)
		defer rx.Close()
		defer rx.Release()
		defer func() { shmchan.Select(cancelled(), tx) }()
		defer g.undo()
		return g.spoil(p[:])
	},
	"owner's call": func(g *guarded) error {
		tx, rx := g.typed()
		defer tx.Close()
		defer rx.Close()
		return g.repeat(func() error { _, err := rx.TryRecv(); return err })
	},
	"owner's call beside a buf": func(g *guarded) error {
		tx, rx, b := g.bufs()
		defer tx.Close()
		defer rx.Close()
		defer b.Release()
		return g.repeat(func() error { _, err := rx.TryRecv(); return err })
	},
	"owner's call, and a release that faults": func(g *guarded) error {
		tx, rx, b := g.bufs()
		defer tx.Close()
		defer rx.Close()
		defer func() {
			g.cut()
			b.Release()
		}()
		return g.repeat(func() error { _, err := rx.TryRecv(); return err })
	},
	"a release that nobody looks at": func(g *guarded) error {
		tx, rx, b := g.bufs()
		defer rx.Close()
		defer tx.Close()
		g.cut()
		b.Release()
		return g.repeat(func() error { _, err := tx.TryLoan(20000); return err })
	},
	"two channels": func(g *guarded) error {
		tx, rx := g.typed()
		other := &guarded{t: g.t, name: g.name + "2"}
		tx2, rx2 := other.typed()
		defer rx2.Close()
		defer tx2.Close()
		defer other.cut()
		defer tx.Close()
		p, err := rx.Peek(bg)
		must(g.t, err)
		defer rx.Close()
		defer rx.Release()
		defer g.undo()
		return g.spoil(p[:])
	},
	"another in its place": func(g *guarded) error {
		tx, rx := g.typed()
		defer tx.Close()
		p, err := rx.Peek(bg)
		must(g.t, err)
		other := &guarded{t: g.t, name: g.name + "2"}
		defer func() {
			tx2, rx2 := other.typed()
			defer rx2.Close()
			defer tx2.Close()
			if _, err := rx2.TryRecv(); err != nil {
				g.t.Error(err)
			}
		}()
		defer rx.Close()
		defer rx.Release()
		defer g.undo()
		return g.spoil(p[:])
	},
	"release that faults": func(g *guarded) error {
		tx, rx, b := g.bufs()
		defer tx.Close()
		rx.Close()
		g.cut()
		if err := b.Release(); err != nil {
			return err
		} // else the watch was faster
		return g.repeat(func() error { _, err := tx.TryLoan(20000); return err })
	},
}

func TestGuardOutlivesTheMapping(t *testing.T) {
	needsFiles(t)
	before := mappings(t)
	for name, f := range endings {
		for _, undone := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", undone ", undone), func(t *testing.T) {
				for range n(10) {
					g := &guarded{t: t, name: filepath.Join(dir(t), "name")}
					if undone {
						g.size = 1 << 20
					}
					var err error
					func() {
						defer func() {
							if p := recover(); p != nil {
								t.Fatal("the panic went on:", p)
							}
						}()
						err = shmchan.Guard(func() error { return f(g) })
					}()
					wantErr(t, err, shmchan.ErrCorrupt)
				}
			})
		}
	}
	if got := mappings(t); got != before {
		t.Fatalf("%d mappings, want %d", got, before)
	}
}

// The same in a process of its own, which lives on; and one that uses a message
// after the end, of a channel whose file was not cut off, and so ends.
func TestGuardInAProcess(t *testing.T) {
	needsFiles(t)
	for _, how := range []string{"cut", "misuse"} {
		c := start(t, nil, "ends", how, filepath.Join(dir(t), "name"))
		c.want("begins")
		if how == "cut" {
			c.want("corrupt")
			c.end()
			continue
		}
		if c.out.Scan() {
			t.Fatal("it lives on:", c.out.Text())
		}
		if err := c.cmd.Wait(); err == nil {
			t.Fatal("it ended in good order")
		}
	}
}

func init() {
	// ends cut|misuse NAME: releases and closes in deferred functions under Guard
	// when the file is cut off, or writes to a message after that.
	children["ends"] = func(args []string) {
		tx, err := shmchan.OpenSender[large](args[1])
		if err != nil {
			panic(err)
		}
		p, err := tx.Reserve(bg)
		if err != nil {
			panic(err)
		}
		fmt.Println("begins")
		cut := args[0] == "cut"
		if !cut {
			unix.Close(2) // its last words are of no interest
			tx.Commit()
			tx.Close()
		}
		fmt.Println(kind(shmchan.Guard(func() error {
			defer tx.Close()
			defer tx.Commit()
			for cut {
				if err := os.Truncate(args[1], kept); err != nil {
					return err
				}
				p[len(p)-1]++
			}
			sink += p[len(p)-1]
			return nil
		})))
	}
}

var sink byte

// A use after the end, of a channel whose file was not cut off, is as it was.
func TestGuardLetsUseAfterTheEndThrough(t *testing.T) {
	needsFiles(t)
	for range 100 {
		g := &guarded{t: t, name: filepath.Join(dir(t), "name")}
		tx, rx := g.typed()
		p, err := rx.Peek(bg)
		must(t, err)
		must(t, rx.Release())
		must(t, rx.Close())
		must(t, tx.Close())
		panicked := func() (panicked bool) {
			defer func() { panicked = recover() != nil }()
			if err := shmchan.Guard(func() error { sink += p[0]; return nil }); err != nil {
				t.Fatal("swallowed:", err)
			}
			return false
		}()
		if panicked {
			return
		} // else something else is mapped there by now
	}
	t.Fatal("never a fault")
}

// A page was given back, there is no other, and Close is deferred: nothing in the
// header tells of it.
func TestCloseUnderAHole(t *testing.T) {
	needsFiles(t)
	if testing.Short() {
		t.Skip("takes 5 s")
	}
	g := &guarded{t: t, name: filepath.Join(smallDir(t), "name")}
	tx, rx := g.typed()
	defer rx.Close()
	punch(t, g.name, 1<<16)
	done := goes(func() error {
		return shmchan.Guard(func() error {
			defer tx.Close()
			for {
				if err := tx.TrySend(large{}); err != nil {
					return err
				}
			}
		})
	})
	wantErr(t, result(t, done), shmchan.ErrCorrupt, "file system is full")
}
