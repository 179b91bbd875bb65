//go:build !linux || modelcheck

package waiter

import "runtime"

func cpus() int { return runtime.NumCPU() }

func osyield() { runtime.Gosched() }
