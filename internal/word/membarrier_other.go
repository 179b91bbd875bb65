//go:build !modelcheck && !linux

package word

// RegisterMembarrier reports that there is no such call on this system.
func RegisterMembarrier() bool { return false }

// Membarrier reports that there is no such call on this system.
func Membarrier() bool { return false }
