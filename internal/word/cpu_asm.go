//go:build !modelcheck && (amd64 || arm64)

package word

// Pause tells the CPU n times, n > 0, that this is a spin loop.
//
//go:noescape
func Pause(n uint32)

// Fence orders every earlier store of the caller before every later load.
//
//go:noescape
func Fence()
