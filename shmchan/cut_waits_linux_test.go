package shmchan_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// Many goroutines wait at pollers, others come and go, and the file of a channel
// that only the library's goroutine works with is cut off all the time.
func TestPollersWhenCutOff(t *testing.T) {
	needsFiles(t)
	d := dir(t)
	ctx, cancel := context.WithCancel(bg)
	var others []<-chan error
	for i := range 80 {
		tx, rx, err := shmchan.Pair[int](shmchan.WithWait(waiter.Park))
		must(t, err)
		defer tx.Close()
		defer rx.Close()
		others = append(others, goes(func() error {
			if i < 40 {
				_, err := rx.Recv(ctx)
				return err
			}
			for ctx.Err() == nil {
				moment, stop := context.WithTimeout(ctx, time.Millisecond)
				shmchan.Select(moment, rx)
				stop()
			}
			return ctx.Err()
		}))
	}
	for i := range n(30) {
		name := filepath.Join(d, fmt.Sprint("name", i))
		rx, err := shmchan.OpenReceiver[int](name, shmchan.WithWait(waiter.Park))
		must(t, err)
		rx.Ready()
		doze()
		for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
			must(t, os.Truncate(name, 0))
		}
		token(t, rx.Ready())
		rx.Close()
		for _, f := range []string{name, name + ".lock"} { // if it was cut off between
			if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	cancel()
	for _, o := range others {
		wantErr(t, result(t, o), context.Canceled)
	}
}

// A fault of somebody else under Guard, in a Select or in the bytes of a Buf, does
// not end the call that the owner is in, so nothing is unmapped under that.
func TestGuardEndsTheOwnersCallOnly(t *testing.T) {
	needsFiles(t)
	d := dir(t)
	before := mappings(t)
	for name, open := range map[string]func(name string) (work func() error, touch func(), end func()){
		"select": func(name string) (work func() error, touch func(), end func()) {
			rx, err := shmchan.OpenReceiver[int](name, shmchan.WithWait(waiter.Park))
			must(t, err)
			work = func() error { _, err := rx.Recv(bg); return err }
			return work, func() { shmchan.Select(bg, rx) }, func() { rx.Close() }
		},
		"buf": func(name string) (work func() error, touch func(), end func()) {
			tx, err := shmchan.OpenBufSender(name)
			must(t, err)
			rx, err := shmchan.OpenBufReceiver(name, shmchan.WithWait(waiter.Park))
			must(t, err)
			b, err := tx.Loan(bg, 4000)
			must(t, err)
			must(t, tx.Send(bg, b))
			b, err = rx.Recv(bg)
			must(t, err)
			work = func() error { _, err := rx.Recv(bg); return err }
			return work, func() { clear(b.Bytes()) }, func() {
				rx.Close()
				shmchan.Guard(b.Release)
				tx.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range n(100) {
				file := filepath.Join(d, fmt.Sprint(name, i))
				work, touch, end := open(file)
				owner := goes(func() error { return shmchan.Guard(work) })
				time.Sleep(time.Millisecond)
				for range 100 {
					must(t, os.Truncate(file, 0))
					if shmchan.Guard(func() error { touch(); return nil }) != nil {
						break
					}
				}
				end()
				result(t, owner)
				for _, f := range []string{file, file + ".lock"} {
					if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Fatal(err)
					}
				}
			}
		})
	}
	if got := mappings(t); got != before {
		t.Fatalf("%d mappings, want %d", got, before)
	}
}

// A fault in the message that Chan is about to deliver leaves no mapping behind.
func TestChanWhenCutOff(t *testing.T) {
	needsFiles(t)
	type large [60000]byte
	before := mappings(t)
	name := filepath.Join(dir(t), "name")
	for range n(200) {
		tx, err := shmchan.OpenSender[large](name, shmchan.WithCapacity(4))
		must(t, err)
		rx, err := shmchan.OpenReceiver[large](name)
		must(t, err)
		for range 4 {
			must(t, tx.TrySend(large{}))
		}
		ch := rx.Chan(bg)
		cut := goes(func() error { return os.Truncate(name, 8192) })
		for range ch {
		}
		must(t, result(t, cut))
		tx.Close()
		rx.Close()
		for _, f := range []string{name, name + ".lock"} {
			if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	if got := mappings(t); got != before {
		t.Fatalf("%d mappings, want %d", got, before)
	}
}
