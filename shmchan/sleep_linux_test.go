package shmchan_test

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sleepRaw sleeps without the runtime, on the stack that is there.
//
//go:nosplit
func sleepRaw(ts *unix.Timespec) {
	syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(ts)), 0, 0)
}
