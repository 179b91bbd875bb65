//go:build !modelcheck

package waiter

import (
	"sync"
	"time"

	"github.com/shmkit/shm/internal/word"
)

// A latch guards a few lines.
type latch struct{ sync.Mutex }

// A baton wakes one goroutine. Giving one that was not taken yet does nothing.
type baton struct{ c chan struct{} }

func newBaton() baton { return baton{make(chan struct{}, 1)} }

func (b baton) give() {
	select {
	case b.c <- struct{}{}:
	default:
	}
}

// take blocks the goroutine, and no thread, until there is one.
func (b baton) take() { <-b.c }

func newControl() *word.U32 { return new(word.U32) }

// after calls f on a goroutine of its own once d has passed.
func after(d time.Duration, f func()) { time.AfterFunc(d, f) }

var seats = sync.Pool{New: func() any { return newSeat() }}

// takeSeat returns an empty seat.
func takeSeat() *seat { return seats.Get().(*seat) }

// leaveSeat lets others have it.
func leaveSeat(s *seat) { seats.Put(s) }
