//go:build !modelcheck && linux

package word

import (
	"syscall"
	"time"
	"unsafe"
)

// Without FUTEX_PRIVATE_FLAG: the word is shared between processes.
const (
	futexWait = 0
	futexWake = 1
)

// longest is how long a Wait stays in the kernel: with a limit a signal ends it; the
// kernel would begin one without a limit anew (see Interrupt).
const longest = time.Hour

// Wait parks the calling thread while the word is val, for at most d (for ever
// if d is negative). It returns at a Wake, after d, and now and then for no
// reason, so the caller looks again. It gives the scheduler's P away.
func (u *U32) Wait(val uint32, d time.Duration) {
	limit := syscall.NsecToTimespec(int64(longest))
	if d >= 0 {
		limit = syscall.NsecToTimespec(int64(min(d, longest)))
	}
	_, _, e := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(u)), futexWait, uintptr(val),
		uintptr(unsafe.Pointer(&limit)), 0, 0)
	switch e {
	case 0, syscall.EAGAIN, syscall.EINTR, syscall.ETIMEDOUT:
	case syscall.EFAULT: // its file was cut off
		u.Load() // a fault, unless the file is as long as it was by now
	default: // refused, by a seccomp profile say: wait politely without it
		u.poll(val, d)
	}
}

// Wake wakes up to n threads that wait on the word, in any process, and
// returns how many. It never blocks and keeps the P.
func (u *U32) Wake(n int) int {
	r, _, e := syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(u)), futexWake, uintptr(n), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(r)
}
