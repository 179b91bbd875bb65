//go:build !modelcheck

package word

import "time"

// poll waits without the kernel's help: it looks at growing intervals, from
// 20 µs to 1 ms, which bounds both the delay and the CPU time.
func (u *U32) poll(val uint32, d time.Duration) {
	step := 20 * time.Microsecond
	for start := time.Now(); u.Load() == val; step = min(2*step, time.Millisecond) {
		if d >= 0 {
			left := d - time.Since(start)
			if left <= 0 {
				return
			}
			step = min(step, left)
		}
		time.Sleep(step)
	}
}
