//go:build linux && !modelcheck

package waiter

import "golang.org/x/sys/unix"

// osyield lets another process have the CPU.
func osyield() { unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
