//go:build !linux

package region

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// Everything that crosses a process boundary needs Linux.

func unsupported(what string) error {
	return fmt.Errorf("region: %s: not on %s: %w", what, runtime.GOOS, errors.ErrUnsupported)
}

// Memfd makes a region for use within this process: there are no anonymous
// files to share here, so it lies on the Go heap. See Heap.
func Memfd(c Config) (*Region, error) { return Heap(c) }

// Open gives errors.ErrUnsupported on this system, after checking its
// arguments.
func Open(name string, role int, c Config) (*Region, error) {
	if _, err := resolve(name); err != nil {
		return nil, err
	}
	if _, err := c.plan(); err != nil {
		return nil, err
	}
	return nil, unsupported("named regions")
}

// Remove gives errors.ErrUnsupported on this system.
func Remove(name string, wake func(*Region)) error {
	if _, err := resolve(name); err != nil {
		return err
	}
	return unsupported("named regions")
}

// File gives errors.ErrUnsupported on this system.
func (r *Region) File() (*os.File, error) { return nil, unsupported("handing on a role") }

// FromFile gives errors.ErrUnsupported on this system.
func FromFile(f *os.File, role int, check func(*Region) error) (*Region, error) {
	return nil, unsupported("taking on a role")
}

// No region has a descriptor, a mapping or a name here.

func (r *Region) again() (*Region, error) { return nil, unsupported("attach") }
func (r *Region) unlinkOwn() error        { return nil }
func watchLocks(*Region)                  {}
func unwatchLocks(*Region)                {}
func (r *Region) shrunk() bool            { return false }
func (r *Region) lengthen()               {}
func unmap([]byte) error                  { return nil }
func vacate([]byte) error                 { return nil }
func closeFD(int) error                   { return nil }
