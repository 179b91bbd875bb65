package slabpool

import (
	"errors"

	"github.com/shmkit/shm/region"
)

// The errors to tell apart with errors.Is. They come wrapped, with what was
// expected, what was found and what to do. Beside them: fs.ErrInvalid for a bad
// argument, the context's error from a cancelled call, syscall.ENOSPC with the
// sizes for a pool that does not fit into the file system, and those of package
// region.
var (
	// ErrExhausted is what TryAlloc gives when every block that is large
	// enough is in use.
	ErrExhausted = errors.New("pool is exhausted")
	// ErrStaleHandle says that a handle is not, or not any more, one of a block
	// that this endpoint holds: it was freed or given away, it is from another
	// pool or from before the pool was made anew, or it is made up. Nothing was
	// changed.
	ErrStaleHandle = errors.New("stale handle")
	// ErrTooLarge says that the largest class is smaller than what was asked.
	ErrTooLarge = errors.New("larger than the largest class")
	// ErrType says that As was asked for a type that may not lie in shared
	// memory.
	ErrType = errors.New("type cannot lie in shared memory")
	// ErrBusy says that a living process has what was asked for, or that
	// blocks are still held.
	ErrBusy = region.ErrBusy
	// ErrMismatch says that the pool is there with other classes, or made by
	// another version of the library.
	ErrMismatch = region.ErrMismatch
	// ErrCorrupt says that the shared memory holds what no sound peer writes.
	ErrCorrupt = region.ErrCorrupt
)
