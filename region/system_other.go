//go:build !linux

package region

func bootID() (id [16]byte) { return id }

func startTime() uint64 { return 0 }
