//go:build !linux || modelcheck

package waiter

import "runtime"

func osyield() { runtime.Gosched() }
