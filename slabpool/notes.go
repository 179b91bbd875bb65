package slabpool

import "github.com/shmkit/shm/internal/word"

// Notes tell an endpoint which blocks it has cached: a stack in its private
// memory. They are hints, and the state words decide: two goroutines that use
// them at the same time may lose a note, and the block is found by looking, or
// read one twice, and one of them finds the block taken. So no operation here
// is more than a load and a store.
//
// A dead process's notes are gone with it. What it had cached says so in its
// state word, and the sweep gives it back.
type notes struct {
	n  word.U32
	at [MaxCache]word.U32
}

// MaxCache is how many blocks of a class an endpoint can cache.
const MaxCache = 32

func (s *notes) pop() (i uint32, ok bool) {
	n := s.n.Load()
	if n == 0 || n > MaxCache {
		return 0, false
	}
	i = s.at[n-1].Load()
	s.n.StoreRelease(n - 1)
	return i, true
}

// push reports whether there was room. Room is asked for before.
func (s *notes) push(i uint32) {
	n := s.n.Load()
	if n < MaxCache {
		s.at[n].StoreRelease(i)
		s.n.StoreRelease(n + 1)
	}
}
