//go:build linux && !modelcheck

package waiter

import "golang.org/x/sys/unix"

// cpus is how many CPUs this thread may run on.
func cpus() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return 2
	}
	return set.Count()
}

// osyield lets another process have the CPU.
func osyield() { unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
