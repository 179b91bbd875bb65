//go:build !linux

package region

import "unsafe"

// ofdLocks are locks of Linux.
type ofdLocks struct{}

// Observe gives errors.ErrUnsupported on this system.
func Observe(name string) (*Observer, error) {
	if _, err := resolve(name); err != nil {
		return nil, err
	}
	return nil, unsupported("observing")
}

// List gives errors.ErrUnsupported on this system.
func List(dir string) (regions, strays []string, err error) {
	return nil, nil, unsupported("named regions")
}

// LockError gives errors.ErrUnsupported on this system.
func (o *Observer) LockError() error { return unsupported("observing") }

// Close does nothing on this system.
func (o *Observer) Close() error { return nil }

// Nobody has an Observer here.

func (o *Observer) read(func(base unsafe.Pointer)) error   { return unsupported("observing") }
func (o *Observer) unlinked() bool                         { return false }
func (o *Observer) life(int, Endpoint) (l Life, sure bool) { return LifeUnknown, false }
