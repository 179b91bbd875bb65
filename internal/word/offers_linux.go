//go:build !modelcheck && linux

package word

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offers asks the kernel which of the calls that waiting rests on it answers.
// It is for tools: the library finds out when it calls. It takes less than a
// millisecond.
func Offers() (o Offer) {
	var w U32
	ts := syscall.NsecToTimespec(int64(time.Microsecond))
	_, _, e := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&w)), futexWait, 0, uintptr(unsafe.Pointer(&ts)), 0, 0)
	o.Futex = e == syscall.ETIMEDOUT
	_, _, e = syscall.Syscall6(unix.SYS_FUTEX_WAITV, 0, 0, 0, 0, 0, 0)
	o.FutexWaitv = e == syscall.EINVAL // no waiters were given; refused is ENOSYS or EPERM
	mask, _, e := syscall.Syscall(unix.SYS_MEMBARRIER, 0, 0, 0)
	o.Membarrier = e == 0 && mask&globalExpedited != 0 && mask&registerGlobalExpedited != 0
	return o
}
