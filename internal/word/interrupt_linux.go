//go:build !modelcheck && linux

package word

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

// Interrupt makes whoever waits on a word in this process look at it again, wherever
// he is in the kernel. Whoever can map a word can move those who sleep on it to
// another one (FUTEX_REQUEUE), and then no Wake finds them. A signal does. It goes to
// all threads, and is the one that the runtime sends to its own (SIGURG). A thread of
// a C library may see EINTR for it.
//
// It takes some microseconds for each thread, and is for when a Wake has not helped.
// Within 10 ms of the last one it does nothing, so what is to be seen must be there
// already, or the caller comes again. It does nothing without /proc.
func Interrupt() {
	const least = uint64(10 * time.Millisecond)
	now, last := uint64(time.Since(born)), interrupted.Load()
	if last != 0 && now-last < least || !interrupted.CompareAndSwap(last, now) {
		return
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range threads {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			syscall.Tgkill(os.Getpid(), tid, syscall.SIGURG)
		}
	}
}

var (
	born        = time.Now()
	interrupted U64 // when, since born
)
