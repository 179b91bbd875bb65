package shmchan

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/shmkit/shm/internal/schema"
	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/slabpool"
)

// The errors to tell apart with errors.Is. They come wrapped, with what was
// expected, what was found and what to do. Beside them: io.EOF from a receiver
// whose sender has closed, the context's error from a cancelled call,
// fs.ErrInvalid for a bad argument, fs.ErrPermission for a file whose owner or
// mode is refused, fs.ErrNotExist for a directory or name that is missing,
// syscall.ENOSPC for a full file system, syscall.ENOMEM for a region that the
// memory cannot hold, and errors.ErrUnsupported for what
// this system cannot do.
var (
	// ErrFull is what TrySend gives when there is no room.
	ErrFull = errors.New("channel is full")
	// ErrEmpty is what TryRecv gives when there is no message.
	ErrEmpty = errors.New("channel is empty")
	// ErrClosed says that this endpoint, or the channel, is closed or removed.
	ErrClosed = errors.New("channel is closed")
	// ErrPeerDied says that the other side's process ended without Close. Each
	// death is told once; after that the endpoint waits for a successor.
	ErrPeerDied = errors.New("peer died")
	// ErrBusy says that a living process has the role that was asked for, or
	// that the endpoint is in use by another goroutine or has a message leased.
	ErrBusy = region.ErrBusy
	// ErrMismatch says that the channel is there with another layout of T,
	// another capacity, mode or version of the library, or without huge pages.
	ErrMismatch = region.ErrMismatch
	// ErrCorrupt says that the shared memory holds what no sound peer writes, or
	// that its file was cut off.
	ErrCorrupt = region.ErrCorrupt
	// ErrType says that T has something in it that cannot travel.
	ErrType = schema.ErrType
	// ErrStaleHandle says that a Buf was sent or released before.
	ErrStaleHandle = slabpool.ErrStaleHandle
	// ErrTooLarge says that no class of the pool has blocks that large.
	ErrTooLarge = slabpool.ErrTooLarge
)

var (
	errContext = fmt.Errorf("shmchan: the context is nil; pass context.Background(): %w", fs.ErrInvalid)
	errLeased  = fmt.Errorf("shmchan: a message is in place; call Commit or Release first: %w", ErrBusy)
	errShared  = fmt.Errorf("shmchan: two goroutines use one endpoint at once; give each its own or a lock: %w", ErrBusy)
	errNoLease = fmt.Errorf("shmchan: no message is in place; Commit goes with Reserve and Release with Peek: %w", fs.ErrInvalid)
	errCut     = fmt.Errorf("shmchan: the channel's file was cut off; Close, and Remove the name: %w", ErrCorrupt)
	errRemoved = fmt.Errorf("shmchan: the channel was removed or replaced: %w", ErrClosed)
)
