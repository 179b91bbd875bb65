package shmchan_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// watchedBufs is watched for a Buf channel.
func watchedBufs(t *testing.T, opts ...shmchan.Option) (*shmchan.BufSender, *shmchan.BufReceiver, *shmchan.Observer) {
	t.Helper()
	needsFiles(t)
	name := filepath.Join(t.TempDir(), "watched")
	tx, err := shmchan.OpenBufSender(name, opts...)
	must(t, err)
	t.Cleanup(func() { tx.Close() })
	rx, err := shmchan.OpenBufReceiver(name)
	must(t, err)
	t.Cleanup(func() { rx.Close() })
	o, err := shmchan.Observe(name)
	must(t, err)
	t.Cleanup(func() { o.Close() })
	return tx, rx, o
}

func sendBuf(t *testing.T, tx *shmchan.BufSender, contents string) {
	t.Helper()
	b, err := tx.Loan(bg, len(contents))
	must(t, err)
	copy(b.Bytes(), contents)
	must(t, tx.Send(bg, b))
}

func TestObserverSeesABufChannel(t *testing.T) {
	tx, rx, o := watchedBufs(t, shmchan.WithPool(slabpool.Class{Size: 64, Count: 2}, slabpool.Class{Size: 4096, Count: 4}))
	if i := o.Info(); i.Type != "Buf" || len(i.Classes) != 2 || i.Classes[1] != (slabpool.Class{Size: 4096, Count: 4}) {
		t.Errorf("%+v", i)
	}
	tail, err := o.Tail(false)
	must(t, err)
	long := strings.Repeat("x", 1000)
	for _, contents := range []string{"short", long} {
		sendBuf(t, tx, contents)
	}
	pool, err := o.Pool()
	must(t, err)
	if len(pool) != 2 || pool[0].InUse != 0 || pool[1].InUse != 1 || pool[1].Free != 3 || pool[1].HighWater != 1 {
		t.Errorf("%v", pool)
	}

	buf := make([]byte, 100)
	next := func() (shmchan.Sample, shmchan.BufSample) {
		t.Helper()
		m, ok, err := tail.Next()
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		s, err := o.Buf(m.Bytes, buf)
		must(t, err)
		return m, s
	}
	if _, s := next(); !s.Inline || s.Len != 5 || string(s.Bytes) != "short" {
		t.Errorf("%+v", s)
	}
	m, s := next()
	if s.Inline || s.Len != 1000 || s.Handle.Class() != 1 || string(s.Bytes) != long[:100] {
		t.Errorf("%+v", s)
	}
	message := bytes.Clone(m.Bytes)
	for range 2 {
		b, err := rx.Recv(bg)
		must(t, err)
		if s, err := o.Buf(message, buf); err != nil || s.Bytes == nil {
			t.Errorf("held by the receiver: %+v, %v", s, err)
		}
		must(t, b.Release())
	}
	if s, err := o.Buf(message, buf); err != nil || s.Bytes != nil || s.Len != 1000 {
		t.Errorf("released: %+v, %v", s, err)
	}

	typed, _, plain := watched[tick](t)
	must(t, typed.Send(bg, tick{}))
	if pool, err := plain.Pool(); pool != nil || err != nil {
		t.Error(pool, err)
	}
	_, err = plain.Buf(message, buf)
	wantErr(t, err, shmchan.ErrMismatch)
}

// A Loan that finds no block waits, and is counted, as a Send that finds no room.
func TestBufEndsCount(t *testing.T) {
	tx, rx, o := watchedBufs(t, shmchan.WithPool(slabpool.Class{Size: 4096, Count: 1}), shmchan.WithCapacity(2))
	done := goes(func() error {
		b, err := rx.Recv(within(t))
		if err != nil {
			return err
		}
		return b.Release()
	})
	until(t, "parked", func() bool { return stats(t, o).Receiver.Sleeping })
	sendBuf(t, tx, strings.Repeat("y", 100))
	must(t, result(t, done))
	if s := stats(t, o); s.Receiver.Waits != 1 || s.Receiver.Slept != 1 || s.Sender.Wakes != 1 {
		t.Errorf("%+v", s)
	}

	b, err := tx.Loan(bg, 4096)
	must(t, err)
	_, err = tx.TryLoan(4096)
	wantErr(t, err, shmchan.ErrFull)
	done = goes(func() error {
		b, err := tx.Loan(within(t), 4096)
		if err != nil {
			return err
		}
		return b.Release()
	})
	until(t, "parked", func() bool { return stats(t, o).Sender.Sleeping })
	must(t, b.Release())
	must(t, result(t, done))
	if s := stats(t, o).Sender; s.Refused != 1 || s.Waits != 1 || s.Slept != 1 || s.Parks < 1 {
		t.Errorf("%+v", s)
	}
	pool, err := o.Pool()
	must(t, err)
	if pool[0].Failed == 0 {
		t.Errorf("%v", pool)
	}
}

// Whatever a hostile sender writes: an observer says what it is, or ErrCorrupt.
func TestBufOfHostileMessage(t *testing.T) {
	tx, _, o := watchedBufs(t, shmchan.WithPool(slabpool.Class{Size: 64, Count: 2}, slabpool.Class{Size: 4096, Count: 4}))
	sendBuf(t, tx, strings.Repeat("z", 4000))
	tail, err := o.Tail(true)
	must(t, err)
	m, ok, err := tail.Next()
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	good := bytes.Clone(m.Bytes)
	buf := make([]byte, 8192)
	for _, head := range []uint64{0, 3, 1 | 49<<8, 1<<63 | 1, 2 | 1<<8, 1 << 63} {
		bad := bytes.Clone(good)
		binary.NativeEndian.PutUint64(bad, head)
		_, err := o.Buf(bad, buf)
		wantErr(t, err, shmchan.ErrCorrupt)
	}
	for _, n := range []int{0, 8, len(good) - 1, len(good) + 1} {
		_, err := o.Buf(make([]byte, n), buf)
		wantErr(t, err, shmchan.ErrCorrupt)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	read := 0
	for range 20_000 {
		bad := bytes.Clone(good)
		for range 1 + rng.IntN(3) {
			bad[rng.IntN(24)] ^= 1 << rng.IntN(8)
		}
		s, err := o.Buf(bad, buf)
		switch {
		case err != nil && !errors.Is(err, shmchan.ErrCorrupt):
			t.Fatal(err)
		case err == nil && s.Len > 4096, len(s.Bytes) > s.Len:
			t.Fatalf("%+v", s)
		case s.Bytes != nil:
			read++
		}
	}
	if read == 0 {
		t.Error("nothing could be read: the test looks at nothing")
	}
}

// A pool section that is damaged after the attach is told, and harms nobody.
func TestObserverOfHostilePool(t *testing.T) {
	tx, _, o := watchedBufs(t, shmchan.WithPool(slabpool.Class{Size: 64, Count: 2}))
	var at uint64
	for _, s := range o.Region().Layout().Sections {
		if s.Kind == region.KindPool {
			at = s.Offset
		}
	}
	sendBuf(t, tx, strings.Repeat("z", 60))
	tail, err := o.Tail(true)
	must(t, err)
	m, _, err := tail.Next()
	must(t, err)
	overwrite(t, o.Info().Name, int64(at), bytes.Repeat([]byte{0xff}, 8))
	_, err = o.Pool()
	wantErr(t, err, shmchan.ErrCorrupt)
	_, err = o.Buf(m.Bytes, make([]byte, 10))
	wantErr(t, err, shmchan.ErrCorrupt)
	_, err = shmchan.Observe(o.Info().Name)
	wantErr(t, err, shmchan.ErrCorrupt)
}

func overwrite(t *testing.T, name string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt(b, at)
	must(t, err)
}
