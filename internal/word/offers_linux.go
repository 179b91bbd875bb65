package word

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	tryWait        = 0           // FUTEX_WAIT
	tryMembarriers = 1<<1 | 1<<2 // GLOBAL_EXPEDITED and its registration
	tryLimit       = time.Microsecond
)

// Offers asks the kernel which of the calls that waiting rests on it answers.
// It is for tools, and no step of the explorer: the library finds out when it
// calls. It takes less than a millisecond.
func Offers() (o Offer) {
	var w uint32
	ts := syscall.NsecToTimespec(int64(tryLimit))
	_, _, e := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&w)), tryWait, 0, uintptr(unsafe.Pointer(&ts)), 0, 0)
	o.Futex = e == syscall.ETIMEDOUT || e == syscall.EINTR
	_, _, e = syscall.Syscall6(unix.SYS_FUTEX_WAITV, 0, 0, 0, 0, 0, 0)
	o.FutexWaitv = e == syscall.EINVAL // no waiters were given; refused is ENOSYS or EPERM
	mask, _, e := syscall.Syscall(unix.SYS_MEMBARRIER, 0, 0, 0)
	o.Membarrier = e == 0 && mask&tryMembarriers == tryMembarriers
	return o
}
