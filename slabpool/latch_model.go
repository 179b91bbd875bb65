//go:build modelcheck

package slabpool

import "github.com/shmkit/shm/internal/word"

// A latch is made of a word here, readers<<1 | writer: the explorer knows nothing
// of Go's locks.
type latch struct{ w word.U32 }

func (l *latch) RLock() {
	for {
		if v := l.w.Load(); v&1 == 0 && l.w.CompareAndSwap(v, v+2) {
			return
		}
		word.Pause(1)
	}
}

func (l *latch) RUnlock() { l.w.Add(^uint32(1)) }

func (l *latch) Lock() {
	for !l.w.CompareAndSwap(0, 1) {
		word.Pause(1)
	}
}

func (l *latch) Unlock() { l.w.Store(0) }
