//go:build !modelcheck && !linux

package word

import "time"

// Wait sleeps while the word is val, for at most d (for ever if d is
// negative). It looks at the word every so often instead of being woken.
func (u *U32) Wait(val uint32, d time.Duration) { u.poll(val, d) }

// Wake has nobody to wake: Wait polls.
func (u *U32) Wake(n int) int { return 0 }
