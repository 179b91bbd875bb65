//go:build !modelcheck && !amd64 && !arm64

package word

import "sync/atomic"

var fenced atomic.Uint32

// Pause tells the CPU n times, n > 0, that this is a spin loop.
func Pause(n uint32) {
	for ; n > 0; n-- {
		fenced.Load()
	}
}

// Fence orders every earlier store of the caller before every later load.
func Fence() { fenced.Add(0) }
