package shmchan_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/shmchan"
)

// What happens when the file of a named channel is cut off under its users.

func init() {
	// cut FILE: cuts it off, again and again, until stdin ends.
	children["cut"] = func(args []string) {
		over := goes(func() error { _, err := os.Stdin.Read(make([]byte, 1)); return err })
		fmt.Println("cutting")
		for {
			select {
			case <-over:
				return
			default:
				if err := os.Truncate(args[0], 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
					panic(err)
				}
			}
		}
	}
	// busy guarded|bare NAME: sends until an error, says its kind, and closes.
	children["busy"] = func(args []string) {
		run := func(f func() error) error { unix.Close(2); return f() } // its last words are of no interest
		if args[0] == "guarded" {
			run = shmchan.Guard
		}
		tx, err := shmchan.OpenSender[int](args[1], shmchan.WithCapacity(1<<16))
		if err != nil {
			panic(err)
		}
		fmt.Println("busy")
		err = run(func() error {
			for i := 0; ; i++ {
				if err := tx.TrySend(i); err != nil && !errors.Is(err, shmchan.ErrFull) {
					return err
				}
			}
		})
		fmt.Println(kind(err))
		tx.Close() // may say that the file is not what it was
		fmt.Println("closed")
		os.Stdin.Read(make([]byte, 1))
	}
}

// A peer in another process cuts the file off again and again while we work.
func TestFileCutOffUnderWork(t *testing.T) {
	needsFiles(t)
	d := dir(t)
	name := filepath.Join(d, "name")
	before := mappings(t)
	for _, p := range policies {
		for range n(10) {
			opts := options{shmchan.WithWait(p)}.cap(1 << 14)
			tx, err := shmchan.OpenSender[record](name, opts...)
			must(t, err)
			rx, err := shmchan.OpenReceiver[record](name, opts...)
			must(t, err)
			sent := goes(func() error {
				return shmchan.Guard(func() error {
					for i := uint64(0); ; i++ {
						if err := tx.Send(bg, recordOf(i)); err != nil {
							return err
						}
					}
				})
			})
			got := goes(func() error {
				return shmchan.Guard(func() error {
					for {
						if _, err := rx.Recv(bg); err != nil {
							return err
						}
					}
				})
			})
			doze()
			c := start(t, nil, "cut", name)
			c.want("cutting")
			wantErr(t, result(t, sent), shmchan.ErrCorrupt)
			wantErr(t, result(t, got), shmchan.ErrCorrupt)
			tx.Close()
			rx.Close()
			c.end()
			os.Remove(name) // if it was cut off between
			os.Remove(name + ".lock")
		}
	}
	if got := mappings(t); got != before {
		t.Fatalf("%d mappings, want %d", got, before)
	}
}

// Without Guard it is the end of a busy process, with Guard it is an error.
func TestGuardIsWhatSaves(t *testing.T) {
	needsFiles(t)
	for _, how := range []string{"bare", "guarded"} {
		name := filepath.Join(dir(t), "name")
		b := start(t, nil, "busy", how, name)
		b.want("busy")
		c := start(t, nil, "cut", name)
		c.want("cutting")
		if how == "guarded" {
			b.want("corrupt")
			b.want("closed")
			c.end()
			continue
		}
		if b.out.Scan() && b.out.Text() != "corrupt" { // parked for a moment at the wrong time
			t.Fatal(b.out.Text())
		}
		c.end()
	}
}

// A channel that is cut off is never taken for one that was removed, which is ErrClosed,
// at whatever moment that is noticed.
func TestCutIsNotRemoved(t *testing.T) {
	needsFiles(t)
	const state, cut = 128, 2 // where the header has it: docs/memory-layout.md
	for range n(300) {
		name := filepath.Join(dir(t), "name")
		tx := sender(t, name, shmchan.WithCapacity(1))
		must(t, tx.TrySend(1))
		done := goes(func() error {
			for {
				if err := tx.TrySend(2); !errors.Is(err, shmchan.ErrFull) {
					return err
				}
			}
		})
		mem := mapFile(t, name)
		doze()
		atomic.StoreUint32((*uint32)(unsafe.Pointer(&mem[state])), cut)
		wantErr(t, result(t, done), shmchan.ErrCorrupt)
		must(t, tx.Close())
	}
}

// Who is parked when the file is cut off is woken and told.
func TestParkedWhenCutOff(t *testing.T) {
	needsFiles(t)
	for name, call := range blocked {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir(t), "name")
			tx, rx := sender(t, file, shmchan.WithCapacity(1)), receiver(t, file)
			if isSend(name) {
				must(t, tx.TrySend(1))
			}
			done := goes(func() error { // a call that has not parked yet meets a fault
				return shmchan.Guard(func() error { return call(bg, tx, rx) })
			})
			time.Sleep(10 * time.Millisecond)
			must(t, os.Truncate(file, 100))
			wantErr(t, result(t, done), shmchan.ErrCorrupt)
			must(t, tx.Close())
			must(t, rx.Close())
			if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 0 {
				t.Fatal(left, err)
			}
		})
	}
}

// There is nothing left to park on: the file cannot be made as long again, since it has
// no name, or since its file system is full.
func TestParkedOnNothing(t *testing.T) {
	needsFiles(t)
	for name, call := range blocked {
		for _, how := range []string{"unlinked", "full"} {
			t.Run(name+", "+how, func(t *testing.T) {
				d := dir(t)
				if how == "full" {
					d = smallDir(t)
				}
				file := filepath.Join(d, "name")
				tx, rx := sender(t, file, shmchan.WithCapacity(1)), receiver(t, file)
				if isSend(name) {
					must(t, tx.TrySend(1))
				}
				done := goes(func() error {
					return shmchan.Guard(func() error { return call(bg, tx, rx) })
				})
				time.Sleep(10 * time.Millisecond)
				f, err := os.OpenFile(file, os.O_RDWR, 0)
				must(t, err)
				defer f.Close()
				if how == "full" {
					must(t, f.Truncate(100))
					fillUp(t, d)
				} else {
					must(t, os.Remove(file))
					must(t, f.Truncate(0))
				}
				wantErr(t, result(t, done), shmchan.ErrCorrupt)
				tx.Close()
				rx.Close()
			})
		}
	}
}

// What the library does on its own goroutines survives by itself.
func TestOwnGoroutinesWhenCutOff(t *testing.T) {
	needsFiles(t)
	for range n(20) {
		name := filepath.Join(dir(t), "name")
		tx, rx := sender(t, name), receiver(t, name)
		rx.Ready()
		<-tx.Ready()
		ch := rx.Chan(bg)
		ctx, cancel := context.WithCancel(bg)
		other := receiver(t, name+"2")
		waits := goes(func() error {
			defer other.Close()
			return other.WaitPeer(ctx)
		})
		doze()
		must(t, os.Truncate(name, 0))
		if err := os.Truncate(name+"2", 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		cancel()
		if err := result(t, waits); !errors.Is(err, context.Canceled) && !errors.Is(err, shmchan.ErrCorrupt) {
			t.Fatal(err)
		}
		select {
		case <-ch:
			wantErr(t, rx.Err(), shmchan.ErrCorrupt)
		case <-time.After(patience):
			t.Fatal("Chan goes on")
		}
		token(t, rx.Ready())
		tx.Len()
		must(t, tx.Close())
		must(t, rx.Close())
	}
}

// Guard and a deferred Close inside it, and a message in place.
func TestGuardInsideOut(t *testing.T) {
	needsFiles(t)
	before := mappings(t)
	name := filepath.Join(dir(t), "name")
	// Only here: the watch must not repair the file before we touch it.
	cut := func() error { return os.Truncate(name, 0) }
	for range n(10) {
		faults := 0
		for faults == 0 {
			err := shmchan.Guard(func() error {
				tx, err := shmchan.OpenSender[int](name)
				must(t, err)
				defer tx.Close()
				must(t, cut())
				return tx.TrySend(1)
			})
			os.Remove(name)
			os.Remove(name + ".lock")
			if err != nil {
				wantErr(t, err, shmchan.ErrCorrupt)
				faults++
			}
		}
	}
	if got := mappings(t); got != before {
		t.Fatalf("%d mappings, want %d", got, before)
	}

	tx, rx := sender(t, name), receiver(t, name)
	must(t, tx.TrySend(7))
	p, err := rx.Peek(bg)
	must(t, err)
	sum := 0
	err = shmchan.Guard(func() error {
		for {
			must(t, cut())
			sum += *p
		}
	})
	wantErr(t, err, shmchan.ErrCorrupt, name)
	must(t, rx.Close())
	wantErr(t, rx.Release(), shmchan.ErrClosed)
	must(t, tx.Close())
	if got := mappings(t); got != before {
		t.Fatalf("%d mappings, want %d", got, before)
	}
}

func TestGuardLetsOthersThrough(t *testing.T) {
	boom := errors.New("boom")
	wantErr(t, shmchan.Guard(func() error { return boom }), boom)
	must(t, shmchan.Guard(func() error { return nil }))
	defer func() {
		if p := recover(); p != "boom" {
			t.Fatal(p)
		}
	}()
	shmchan.Guard(func() error { panic("boom") })
}

// smallDir returns a folder on a file system of its own, of 1 MiB.
func smallDir(t *testing.T) string {
	t.Helper()
	d := t.TempDir()
	if err := unix.Mount("tmpfs", d, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("cannot mount a tmpfs of 1 MiB:", err)
	}
	t.Cleanup(func() { unix.Unmount(d, unix.MNT_DETACH) })
	return d
}

// punch gives the pages of a file back from an offset on, and fills its file system,
// so that there are no others.
func punch(t *testing.T, name string, from int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	st, err := f.Stat()
	must(t, err)
	must(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, st.Size()-from))
	fillUp(t, filepath.Dir(name))
}

// fillUp fills the file system of a folder.
func fillUp(t *testing.T, d string) {
	t.Helper()
	ballast, err := os.Create(filepath.Join(d, "ballast"))
	must(t, err)
	defer ballast.Close()
	for err == nil {
		_, err = ballast.Write(make([]byte, 4096))
	}
	wantErr(t, err, unix.ENOSPC)
}

// A page that somebody has given back, on a file system without another.
func TestHoleOnAFullFileSystem(t *testing.T) {
	needsFiles(t)
	name := filepath.Join(smallDir(t), "name")
	const size = 1 << 15 // half of it
	tx, rx := sender(t, name, shmchan.WithCapacity(size)), receiver(t, name)
	punch(t, name, 0)
	err := shmchan.Guard(func() error {
		for i := range size { // the pages that the watch has touched are there again
			if err := tx.TrySend(i); err != nil {
				return err
			}
		}
		return nil
	})
	wantErr(t, err, shmchan.ErrCorrupt)
	err = shmchan.Guard(func() error {
		for range size {
			if _, err := rx.Recv(within(t)); err != nil {
				return err
			}
		}
		return nil
	})
	wantErr(t, err, shmchan.ErrCorrupt)
	tx.Close()
	rx.Close()
}

// Whoever opens, closes or removes while the file is cut off gets an error.
func TestOpenBesideOneWhoCuts(t *testing.T) {
	needsFiles(t)
	name := filepath.Join(dir(t), "name")
	stop := make(chan struct{})
	cutting := goes(func() error {
		for {
			select {
			case <-stop:
				return nil
			default:
				os.Truncate(name, 0)
			}
		}
	})
	hits := 0
	for range n(300) {
		tx, err := shmchan.OpenSender[int](name)
		if err != nil {
			wantErr(t, err, shmchan.ErrCorrupt)
			hits++
		}
		rx, err := shmchan.OpenReceiver[int](name)
		if err != nil {
			wantErr(t, err, shmchan.ErrCorrupt)
			hits++
		}
		if tx != nil {
			if f, err := tx.File(); err != nil {
				wantErr(t, err, fs.ErrNotExist) // the receiver's open saw the mark of the cut, and replaced the file
				hits++
			} else if tx, err = shmchan.SenderFromFile[int](f); err != nil {
				if !errors.Is(err, shmchan.ErrCorrupt) && !errors.Is(err, shmchan.ErrClosed) {
					t.Fatal(err)
				}
				f.Close()
				hits++
			} else {
				tx.Close()
			}
		}
		if rx != nil {
			rx.Detach()
		}
		if err := shmchan.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	close(stop)
	must(t, result(t, cutting))
	t.Log(hits, "times")
}
