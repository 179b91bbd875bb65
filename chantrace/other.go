//go:build !linux || !(amd64 || arm64)

package chantrace

import (
	"context"
	"fmt"
	"runtime"
)

// A Tracer watches futex waits; there is none on this system.
type Tracer struct{}

// Supported returns an error that wraps [ErrKernel].
func Supported() error {
	return fmt.Errorf("%s/%s, needs Linux on amd64 or arm64: %w", runtime.GOOS, runtime.GOARCH, ErrKernel)
}

// Attach fails as Supported does.
func Attach(context.Context, Options) (*Tracer, error) { return nil, Supported() }

// Snapshot fails as Supported does.
func (*Tracer) Snapshot() ([]WordStats, error) { return nil, Supported() }

// Lost fails as Supported does.
func (*Tracer) Lost() (Lost, error) { return Lost{}, Supported() }

// Close does nothing.
func (*Tracer) Close() error { return nil }
