//go:build !race

package waiter

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/internal/fault"
	"github.com/shmkit/shm/internal/word"
)

// shortFile is a file with an Event, mapped, and a function that cuts it off.
func shortFile(t *testing.T) (e *Event, cut func()) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mem, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return (*Event)(unsafe.Pointer(&mem[0])), func() {
		if err := os.Truncate(name, 0); err != nil {
			t.Error(err)
		}
	}
}

// A word at a poller goes away: its owner is told, by a fault of its own, and the
// others at the same poller wait on.
func TestPollerAndACutFile(t *testing.T) {
	for _, polls := range []bool{false, true} {
		name := "in the kernel"
		if polls {
			name = "polling"
		}
		t.Run(name, func(t *testing.T) {
			bad, cut := shortFile(t)
			l := newLot(0)
			l.start = func(p *poller) {
				if polls { // as waiters.Wait does where there is no futex_waitv
					p.wait = func() {
						time.Sleep(100 * time.Microsecond)
						for i, x := range p.list {
							if x.word.Load() != x.value {
								p.woken = i + 1
							}
						}
					}
				}
				go p.run()
			}
			wait := func(e *Event, ready func() bool) (gone bool) {
				s := NewSleeper(e, Park)
				s.lot = l
				_, gone = fault.Catch(func() { s.Await(context.Background(), ready) }, nil)
				return gone
			}
			var told, others sync.WaitGroup
			told.Go(func() {
				if !wait(bad, func() bool { return bad.seq.Load() > 1000 }) {
					t.Error("the owner of the word was told nothing")
				}
			})
			var good [20]Event
			var done [20]word.U32
			for i := range good {
				others.Go(func() {
					if wait(&good[i], func() bool { return done[i].Load() != 0 }) {
						t.Error("a fault on the heap")
					}
				})
			}
			for loaded(l) < len(good)+1 {
				time.Sleep(time.Millisecond)
			}
			cut()
			for i := range good { // each makes the pollers look
				done[i].Store(1)
				good[i].Kick()
			}
			others.Wait()
			told.Wait()
		})
	}
}

// loaded is how many words pollers wait for.
func loaded(l *lot) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pollers {
		n += p.load
	}
	return n
}

// Who needs a poller's thread wakes somebody who parks directly; that one's file
// was cut off.
func TestEvictOnACutFile(t *testing.T) {
	bad, cut := shortFile(t)
	l := newLot(maxHeld)
	for range fewDirect + 1 {
		if l.enter(place{ev: bad}) < 0 {
			t.Fatal("no place")
		}
	}
	var good Event
	if l.enter(place{ev: &good}) < 0 {
		t.Fatal("no place")
	}
	cut()
	l.evict()
	if good.seq.Load() == 0 {
		t.Fatal("nobody was woken")
	}
}
