//go:build modelcheck

package waiter

import (
	"time"

	"github.com/shmkit/shm/internal/word"
)

// What the poller has of Go's runtime, made of words, which the explorer knows:
// it knows nothing of mutexes and channels.

// newWord makes a word; an exploration puts its own function here.
var newWord = func() *word.U32 { return new(word.U32) }

type latch struct{ w *word.U32 }

func (l *latch) Lock() {
	if l.w == nil {
		l.w = newWord()
	}
	for !l.w.CompareAndSwap(0, 1) {
		word.Pause(1)
	}
}

func (l *latch) Unlock() { l.w.Store(0) }

type baton struct{ w *word.U32 }

func newBaton() baton { return baton{newWord()} }

func (b baton) give() {
	b.w.Store(1)
	b.w.Wake(1)
}

func (b baton) take() {
	for !b.w.CompareAndSwap(1, 0) {
		b.w.Wait(0, -1)
	}
}

func newControl() *word.U32 { return newWord() }

// after calls f when it is time; when that is, an exploration says.
var after = func(_ time.Duration, f func()) { panic("nobody says when it is time") }

func takeSeat() *seat { return newSeat() }

func leaveSeat(*seat) {}
