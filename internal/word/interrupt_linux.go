//go:build !modelcheck && linux

package word

import (
	"os"
	"strconv"
	"syscall"
)

// Interrupt makes whoever waits on a word in this process look at it again, wherever
// he is in the kernel. Whoever can map a word can move those who sleep on it to
// another one (FUTEX_REQUEUE), and then no Wake finds them. A signal does, and the
// kernel begins their call anew. It goes to all threads, and is the one that the
// runtime sends to them itself, which every Go program has to expect.
//
// It takes some microseconds for each thread, and is for when a Wake has not helped.
func Interrupt() {
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
