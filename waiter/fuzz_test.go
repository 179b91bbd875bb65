package waiter

import (
	"context"
	"errors"
	"testing"
	"time"
)

// FuzzEvent works on both sides of an event whose words are what a peer has left
// there, or changes meanwhile: every call returns, a wake-up that was asked for is
// given, and nobody touches what is the other side's.
func FuzzEvent(f *testing.F) {
	for i := range 12 { // all operations, over the flags that there are
		f.Add(uint32(i), uint32(i), uint32(i*8), []byte{0, 1, 2, 3, 4, 5, 6, 7, 8})
	}
	f.Add(^uint32(0), ^uint32(0), ^uint32(0), []byte{7, 0, 3, 0, 5, 0, 8, 0})
	f.Add(uint32(1), uint32(fence|raised), uint32(fence), []byte{3, 0, 3, 0, 2})
	f.Fuzz(func(t *testing.T, seq, flag, ack uint32, work []byte) {
		if len(work) > 64 {
			return
		}
		hang := time.AfterFunc(patience, func() { panic("hangs") })
		defer hang.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		ev := new(Event)
		ev.seq.Store(seq)
		ev.flag.Store(flag)
		ev.ack.Store(ack)
		w := NewWaker(ev)
		s := NewSleeper(ev, policies[len(work)%len(policies)])
		if ev.flag.Load()&over != 0 {
			t.Fatal("a new sleeper is over")
		}
		no := func() bool { return false }
		for i, b := range work {
			before := ev.flag.Load()
			n := ev.seq.Load()
			switch b % 9 {
			case 0:
				quiet := w.Quiet()
				w.Notify()
				if w.Over() != (before&over != 0) {
					t.Fatalf("Over reports %v with the flag %#x", w.Over(), before)
				}
				if before&raised != 0 && (quiet || ev.seq.Load() == n) {
					t.Fatalf("raised, and no wake-up: flag %#x", before)
				}
				if after := ev.flag.Load(); after != before&^raised {
					t.Fatalf("Notify makes the flag %#x into %#x", before, after)
				}
				if now := before & wish; ev.ack.Load() != now && w.quiet != now {
					t.Fatalf("the wish %#x is not followed", now)
				}
			case 1:
				ev.Kick()
				if ev.seq.Load() == n || ev.flag.Load() != before { // more than one: that of a context which has ended
					t.Fatal("a kick does not count, or changes the flag")
				}
			case 2:
				if err := s.Wait(ctx, b > 127, func() bool { return true }); err != nil {
					t.Fatal(err)
				}
			case 3:
				if err := s.Wait(ctx, b > 127, no); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
			case 4:
				if err := s.Await(ctx, no); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
			case 5:
				s.Over()
				if !w.Over() || ev.flag.Load() != before|over {
					t.Fatalf("Over makes the flag %#x into %#x", before, ev.flag.Load())
				}
			case 6: // successors
				s.End()
				s, w = NewSleeper(ev, policies[i%len(policies)]), NewWaker(ev)
			case 7: // the peer writes
				ev.flag.Store(flag ^ uint32(b)*0x01010101 ^ uint32(i))
			case 8:
				ev.seq.Store(seq + uint32(b))
				ev.ack.Store(ack ^ uint32(b))
			}
		}
		s.End()
	})
}
