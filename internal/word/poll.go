//go:build !modelcheck

package word

import "time"

// poll waits without the kernel's help until the word is not val, for at most
// d.
func (u *U32) poll(val uint32, d time.Duration) {
	poll(d, func() bool { return u.Load() != val })
}

// poll is what Wait does where there is no futex_waitv.
func (w *Waiters) poll(d time.Duration) (i int) {
	poll(d, func() bool { i = w.changed(); return i >= 0 })
	return i
}

// poll looks at growing intervals, from 20 µs to 1 ms, which bounds both the
// delay and the CPU time, until over says so or d has passed.
func poll(d time.Duration, over func() bool) {
	step := 20 * time.Microsecond
	for start := time.Now(); !over(); step = min(2*step, time.Millisecond) {
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
