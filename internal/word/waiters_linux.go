//go:build !modelcheck && linux

package word

import (
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	futex32        = 2 // FUTEX2_SIZE_U32, without FUTEX2_PRIVATE: the words are shared between processes
	clockMonotonic = 1
)

// CanWaitAny reports whether the kernel has futex_waitv (Linux 5.16) and lets
// this process call it. If not, [Waiters.Wait] polls.
func CanWaitAny() bool { return canWaitAny() }

var canWaitAny = sync.OnceValue(func() bool {
	_, _, e := syscall.RawSyscall6(unix.SYS_FUTEX_WAITV, 0, 0, 0, 0, 0, 0)
	return e == syscall.EINVAL // no list: it is there, and means what we think
})

func (w *Waiters) wait(d time.Duration) int {
	// The limit is a moment, unlike futex's: a signal restarts the call with it.
	var limit *[2]int64
	if d >= 0 {
		var now unix.Timespec
		if err := unix.ClockGettime(clockMonotonic, &now); err != nil {
			return w.poll(d)
		}
		at := now.Nano() + int64(d)
		if at < 0 { // d is centuries
			at = 1<<63 - 1
		}
		limit = &[2]int64{at / 1e9, at % 1e9}
	}
	i, _, e := syscall.Syscall6(unix.SYS_FUTEX_WAITV, uintptr(unsafe.Pointer(&w.waitv)), uintptr(w.n), 0,
		uintptr(unsafe.Pointer(limit)), clockMonotonic, 0)
	switch e {
	case 0:
		return int(i)
	case syscall.EAGAIN, syscall.EINTR, syscall.ETIMEDOUT:
		return -1
	case syscall.EFAULT: // a word's file was cut off: the caller's look finds out which
		return -1
	default: // not there, or refused, by a seccomp profile say: wait politely without it
		return w.poll(d)
	}
}
