package shmchan_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

type tick struct {
	Symbol [4]byte
	Price  float64
}

// watched is a named channel, both its ends, and an observer of it.
func watched[T any](t *testing.T, opts ...shmchan.Option) (*shmchan.Sender[T], *shmchan.Receiver[T], *shmchan.Observer) {
	t.Helper()
	needsFiles(t)
	name := filepath.Join(t.TempDir(), "watched")
	tx, err := shmchan.OpenSender[T](name, opts...)
	must(t, err)
	t.Cleanup(func() { tx.Close() })
	rx, err := shmchan.OpenReceiver[T](name)
	must(t, err)
	t.Cleanup(func() { rx.Close() })
	o, err := shmchan.Observe(name)
	must(t, err)
	t.Cleanup(func() { o.Close() })
	return tx, rx, o
}

func stats(t *testing.T, o *shmchan.Observer) shmchan.Stats {
	t.Helper()
	s, err := o.Stats()
	must(t, err)
	return s
}

func TestObserverSeesAChannel(t *testing.T) {
	tx, rx, o := watched[tick](t, shmchan.WithCapacity(4))
	info := o.Info()
	if info.Cap != 4 || info.Size != 16 || info.Type != "tick{Symbol [4]uint8 @0; Price float64 @8} size 16 align 8" || info.Creator != os.Getpid() || info.Bytes != 8192 || o.Region().Name() != info.Name {
		t.Errorf("%+v", info)
	}
	for i := range 10 {
		must(t, tx.Send(bg, tick{Price: float64(i)}))
		if i%2 == 0 {
			_, err := rx.Recv(bg)
			must(t, err)
		}
		if i == 7 {
			break
		}
	}
	s := stats(t, o)
	if s.Sent != 8 || s.Received != 4 || s.Len != 4 || s.High != 4 || s.Lost != 0 || s.Retired || s.Time.IsZero() {
		t.Errorf("%+v", s)
	}
	if e := s.Sender; e.Phase != region.Attached || e.Life != region.Alive || !e.Sure || e.PID != os.Getpid() || !e.Counted || e.Sleeping || e.Tally != (waiter.Tally{}) || e.Epoch != 1 {
		t.Errorf("%+v", e)
	}
	wantErr(t, tx.TrySend(tick{}), shmchan.ErrFull)
	if s := stats(t, o); s.Sender.Refused != 1 || s.Receiver.Refused != 0 {
		t.Errorf("%+v", s)
	}
	must(t, o.Check())
	must(t, rx.Close())
	if s := stats(t, o); s.Lost != 4 || s.Receiver.Phase != region.Closed {
		t.Errorf("%+v", s)
	}
	must(t, shmchan.Remove(info.Name))
	if s := stats(t, o); !s.Retired {
		t.Errorf("%+v", s)
	}
	must(t, o.Close())
	_, err := o.Stats()
	wantErr(t, err, fs.ErrClosed)
}

func TestObserverSeesParking(t *testing.T) {
	tx, rx, o := watched[int](t)
	done := goes(func() error { _, err := rx.Recv(within(t)); return err })
	until(t, "parked", func() bool { return stats(t, o).Receiver.Sleeping })
	must(t, tx.Send(bg, 1))
	must(t, result(t, done))
	s := stats(t, o)
	if s.Receiver.Waits != 1 || s.Receiver.Slept != 1 || s.Receiver.Spun() != 0 || s.Receiver.Parks < 1 || s.Sender.Wakes != 1 || s.High != 1 {
		t.Errorf("%+v", s)
	}
}

func TestObserveWhatIsNoChannel(t *testing.T) {
	needsFiles(t)
	name := filepath.Join(t.TempDir(), "other")
	r, err := region.Open(name, 0, region.Config{Roles: 2, Sections: []region.Section{{Kind: region.KindLane, Size: 4096, Version: 9}}})
	must(t, err)
	defer r.Unmap()
	_, err = shmchan.Observe(name)
	wantErr(t, err, shmchan.ErrMismatch, "no lane of version 1")
	_, err = shmchan.Observe(name + "-none")
	wantErr(t, err, fs.ErrNotExist)
}

func TestTail(t *testing.T) {
	tx, rx, o := watched[tick](t, shmchan.WithCapacity(8))
	now, err := o.Tail(false)
	must(t, err)
	for i := range 5 {
		must(t, tx.Send(bg, tick{Symbol: [4]byte{'a'}, Price: float64(i)}))
	}
	old, err := o.Tail(true)
	must(t, err)
	for _, tail := range []*shmchan.Tail{now, old} {
		for i := range 5 {
			s, ok, err := tail.Next()
			if !ok || err != nil || s.Position != uint64(i) || s.Skipped != 0 {
				t.Fatalf("%d: %+v, %v, %v", i, s, ok, err)
			}
			if text := string(o.AppendText(nil, s.Bytes)); text != fmt.Sprintf("{Symbol:[97 0 0 0] Price:%d}", i) {
				t.Error(text)
			}
			if text := string(o.AppendJSON(nil, s.Bytes)); text != fmt.Sprintf(`{"Symbol":[97,0,0,0],"Price":%d}`, i) {
				t.Error(text)
			}
		}
		if _, ok, err := tail.Next(); ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if s := stats(t, o); s.Len != 5 {
		t.Fatal("something was taken")
	}

	// 20 more pass: those that were overwritten are skipped, and counted.
	for i := range 20 {
		_, err := rx.Recv(bg)
		must(t, err)
		must(t, tx.Send(bg, tick{Price: float64(5 + i)}))
	}
	s, ok, err := now.Next()
	if !ok || err != nil || s.Skipped < 12 || s.Position != 5+s.Skipped {
		t.Fatalf("%+v, %v, %v", s, ok, err)
	}
	for last := s.Position; last != 24; {
		s, ok, err := now.Next()
		if !ok || err != nil || s.Position != last+1 || s.Skipped != 0 {
			t.Fatalf("%+v, %v, %v", s, ok, err)
		}
		last = s.Position
	}
	if now.Skipped() != 0 {
		t.Error(now.Skipped())
	}
}

// Messages of a sender and a receiver at work, by every way of sending: none
// is torn, and seen and skipped are all.
func TestTailBesideTraffic(t *testing.T) {
	type message [9]uint64
	tx, rx, o := watched[message](t, shmchan.WithCapacity(64))
	tail, err := o.Tail(true)
	must(t, err)
	fill := func(m *message, i int) {
		for k := range m {
			m[k] = uint64(i) * uint64(k+1)
		}
	}
	count := n(200_000)
	sent := goes(func() error {
		for i := 0; i < count; {
			switch k := min(rand.IntN(40), count-i); {
			case k < 10:
				var m message
				fill(&m, i)
				if err := tx.Send(bg, m); err != nil {
					return err
				}
				i++
			case k < 20:
				p, err := tx.Reserve(bg)
				if err != nil {
					return err
				}
				fill(p, i)
				if err := tx.Commit(); err != nil {
					return err
				}
				i++
			default:
				batch := make([]message, k)
				for j := range batch {
					fill(&batch[j], i+j)
				}
				if _, err := tx.SendBatch(bg, batch); err != nil {
					return err
				}
				i += k
			}
		}
		return nil
	})
	taken := goes(func() error {
		buf := make([]message, 32)
		for i := 0; i < count; {
			k, err := rx.RecvBatch(bg, buf[:rand.IntN(len(buf))+1])
			if err != nil {
				return err
			}
			i += k
		}
		return nil
	})
	seen, skipped, done := 0, 0, false
	for {
		s, ok, err := tail.Next()
		must(t, err)
		if !ok {
			if done {
				break
			}
			select {
			case err := <-taken: // one more look at what came last
				must(t, err)
				done = true
			default:
			}
			continue
		}
		seen++
		skipped += int(s.Skipped)
		var m message
		fill(&m, int(s.Position))
		var want bytes.Buffer
		for _, v := range m {
			fmt.Fprintf(&want, "%d ", v)
		}
		if got := string(o.AppendText(nil, s.Bytes)); got != "["+strings.TrimSpace(want.String())+"]" {
			t.Fatalf("message %d is %s", s.Position, got)
		}
	}
	must(t, result(t, sent))
	skipped += int(tail.Skipped())
	if seen+skipped != count || seen == 0 && runtime.GOARCH == "amd64" { // elsewhere all may be taken before it is seen
		t.Errorf("%d seen and %d skipped of %d", seen, skipped, count)
	}
	t.Logf("%d of %d seen", seen, count)
}

// Whatever a peer writes, an observer ends with an error or a number.
func TestObserverOfGarbage(t *testing.T) {
	tx, rx, o := watched[tick](t, shmchan.WithCapacity(64))
	must(t, tx.Send(bg, tick{})) // so that it stays when they leave
	must(t, tx.Detach())
	must(t, rx.Detach())
	f, err := os.OpenFile(o.Info().Name, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	tail, err := o.Tail(true)
	must(t, err)
	rnd := rand.New(rand.NewPCG(1, 2))
	lane := int64(0)
	for _, s := range o.Region().Layout().Sections {
		if s.Kind == region.KindLane {
			lane = int64(s.Offset)
		}
	}
	for range 3000 {
		b := make([]byte, rnd.IntN(64)+1)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		at := lane + 384 + rnd.Int64N(2000)
		if rnd.IntN(50) == 0 {
			at = 4096 + rnd.Int64N(int64(o.Info().Bytes)-4096-64)
		}
		_, err := f.WriteAt(b, at)
		must(t, err)
		s, err := o.Stats()
		if err != nil {
			wantErr(t, err, shmchan.ErrCorrupt)
			continue
		}
		if s.Len < 0 || s.Len > 64 || s.High > 64 {
			t.Fatalf("%+v", s)
		}
		o.Check()
		if m, ok, err := tail.Next(); err == nil && ok {
			o.AppendText(nil, m.Bytes)
			o.AppendJSON(nil, m.Bytes)
		}
	}
	must(t, os.Truncate(o.Info().Name, 0))
	_, err = o.Stats()
	wantErr(t, err, shmchan.ErrCorrupt)
	_, _, err = tail.Next()
	wantErr(t, err, shmchan.ErrCorrupt)
}
