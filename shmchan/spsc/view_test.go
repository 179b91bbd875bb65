package spsc

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/region"
)

func viewOf(t *testing.T, mem unsafe.Pointer, g Geometry) *View {
	t.Helper()
	v, err := ViewOf(mem, g.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return &v
}

// In every state that a small ring can have, a View finds what the ends know,
// and gives exactly the messages that are there.
func TestViewFindsEveryState(t *testing.T) {
	for _, capacity := range []int{1, 2, 8} {
		for _, at := range []uint64{0, 5, 1<<63 - 3} {
			mem, g := newRing(t, capacity, 8, at)
			p, c := ends(t, mem, g)
			v := viewOf(t, mem, g)
			rnd := rand.New(rand.NewPCG(1, uint64(capacity)))
			for range 200 * capacity {
				if rnd.IntN(2) == 0 {
					if s := p.Slot(); s != nil {
						*(*uint64)(s) = p.Position()
						p.Publish()
					}
				} else if c.Slot() != nil {
					c.Release()
				}
				tail, head := p.Position(), c.Position()
				if v.Tail() != tail || v.Head() != head || v.Check() != nil {
					t.Fatalf("capacity %d: tail %d, head %d, %v; want %d, %d", capacity, v.Tail(), v.Head(), v.Check(), tail, head)
				}
				for back := range uint64(3 * capacity) {
					pos := (tail - 2*uint64(capacity) + back) & (1<<63 - 1)
					if (pos-at)&(1<<63-1) >= 1<<62 {
						continue // before the first: no message, but a slot as if there had been one
					}
					age := (tail - pos) << 1 >> 1 // 1 for the last one
					waits := age >= 1 && age <= uint64(p.Len())
					// The producer may be at work in the slot behind the last.
					there := age >= 1 && age <= uint64(capacity)-1 && word.NeedsFence
					var b [8]byte
					if got := v.Message(pos, b[:]); got != (waits || there) {
						t.Fatalf("capacity %d, from %d to %d: message %d is given: %v, want %v", capacity, head, tail, pos, got, waits || there)
					} else if got && binary.NativeEndian.Uint64(b[:]) != pos {
						t.Fatalf("message %d is %d", pos, binary.NativeEndian.Uint64(b[:]))
					}
				}
			}
		}
	}
}

// Beside both ends at work, one at a time and in batches, no message is wrong.
func TestViewBesideTraffic(t *testing.T) {
	if raceEnabled {
		t.Skip("what a View reads may be written at the same time, and is then not used")
	}
	type message [7]uint64
	mem, g := newRing(t, 64, unsafe.Sizeof(message{}), 0)
	p, c := ends(t, mem, g)
	v := viewOf(t, mem, g)
	const n = 300_000
	done := make(chan int)
	go func() {
		given := 0
		for pos := uint64(0); pos < n; {
			tail := v.Tail()
			if head := v.Head(); head+64 < tail {
				t.Errorf("tail %d, and head %d after it", tail, head)
			}
			pos = max(pos, tail-min(tail, 64))
			if pos == tail {
				runtime.Gosched()
				continue
			}
			b := make([]byte, unsafe.Sizeof(message{}))
			if v.Message(pos, b) {
				given++
				for i := range len(message{}) {
					if got := binary.NativeEndian.Uint64(b[8*i:]); got != pos*uint64(i+1) {
						t.Errorf("word %d of message %d is %d", i, pos, got)
					}
				}
			}
			pos++
		}
		done <- given
	}()
	go func() {
		for left := n; left > 0; {
			k := c.Ready(rand.IntN(20) + 1)
			takeAll(c, k, func(unsafe.Pointer) {})
			left -= k
			if k == 0 {
				runtime.Gosched()
			}
		}
	}()
	pos := uint64(0)
	for pos < n {
		k := min(p.Room(rand.IntN(20)+1), int(n-pos))
		putAll(p, k, func(at unsafe.Pointer) {
			for i := range len(message{}) {
				(*message)(at)[i] = pos * uint64(i+1)
			}
			pos++
		})
		if k == 0 {
			runtime.Gosched()
		}
	}
	if given := <-done; given == 0 && word.NeedsFence { // elsewhere a slow viewer may find everything taken
		t.Error("the viewer saw nothing")
	} else {
		t.Logf("%d of %d messages seen", given, n)
	}
}

// Whatever the bytes are, a View ends, and Check tells.
func TestViewOfGarbage(t *testing.T) {
	mem, g := newRing(t, 16, 24, 0)
	v := viewOf(t, mem, g)
	rnd := rand.New(rand.NewPCG(3, 4))
	b := unsafe.Slice((*byte)(unsafe.Add(mem, controlSize)), g.Bytes()-controlSize)
	for range 2000 {
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		v.Tail()
		v.Head()
		v.Message(rnd.Uint64(), make([]byte, 30))
		if err := v.Check(); !errors.Is(err, region.ErrCorrupt) {
			t.Fatal(err)
		}
	}
	if _, err := ViewOf(mem, 10); !errors.Is(err, region.ErrCorrupt) {
		t.Fatal(err)
	}
}
