//go:build !modelcheck && !linux

package word

import "time"

const futex32 = 0 // nobody looks

// CanWaitAny reports that there is no such call on this system: [Waiters.Wait]
// polls.
func CanWaitAny() bool { return false }

func (w *Waiters) wait(d time.Duration) int { return w.poll(d) }
