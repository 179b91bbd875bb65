package waiter

import (
	"runtime"
	"sync"
	"time"

	"github.com/shmkit/shm/internal/word"
)

// A Policy says how a blocked call waits.
type Policy int

const (
	// Adaptive spins for as long as that has paid lately, at most some 50 µs,
	// then parks in the kernel. It does not spin on one CPU.
	Adaptive Policy = iota
	// Spin never parks: lowest latency, one CPU busy for as long as a call is
	// blocked. It gives the CPU away now and then.
	Spin
	// Park looks for about 2 µs and then parks. So an answer that is under way
	// already is taken without a park. It does not look on one CPU.
	Park
)

func (p Policy) String() string {
	switch p {
	case Adaptive:
		return "adaptive"
	case Spin:
		return "spin"
	case Park:
		return "park"
	}
	return "unknown policy"
}

// Valid tells whether p is one of the policies above.
func (p Policy) Valid() bool { return p >= Adaptive && p <= Park }

// slipTime is how long a waiter holds back when much went through lately.
const slipTime = 1500 * time.Nanosecond

// pauses is about how many Pauses take d on this CPU. A pause takes from 1 to
// 140 cycles, depending on the CPU.
func pauses(d time.Duration) uint32 {
	return max(1, uint32(uint64(d)*uint64(perMilli())/uint64(time.Millisecond)))
}

var perMilli = sync.OnceValue(func() uint32 {
	const n = 256
	best := time.Millisecond
	for range 5 { // the least disturbed of five
		start := time.Now()
		word.Pause(n)
		best = min(best, max(time.Since(start), 1))
	}
	return uint32(uint64(n) * uint64(time.Millisecond) / uint64(best))
})

// alone tells whether a spinning goroutine would only keep others from running.
func alone() bool { return runtime.GOMAXPROCS(0) == 1 || runtime.NumCPU() == 1 }
