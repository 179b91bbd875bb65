package region

import "errors"

// The errors that a caller may want to tell apart. Each comes wrapped, with
// what was expected, what was found and what to do. A bad argument is
// [io/fs.ErrInvalid], an owner or mode that is refused [io/fs.ErrPermission],
// something missing [io/fs.ErrNotExist], use after the end
// [io/fs.ErrClosed], a full file system syscall.ENOSPC, and what the system
// cannot do [errors.ErrUnsupported].
var (
	// ErrBusy says that a living process holds what was asked for: the role,
	// or, for seconds, the name. Nothing was changed; try later.
	ErrBusy = errors.New("busy")

	// ErrMismatch says that the region is sound but not for this program:
	// another layout version or byte order, a required section that is
	// unknown here, a role that it does not have.
	ErrMismatch = errors.New("layout mismatch")

	// ErrCorrupt says that the bytes are no region, or a damaged one. Nothing
	// was changed. Remove takes a corrupt file away.
	ErrCorrupt = errors.New("corrupt region")

	// ErrRoleClosed says that the role was closed for good in this region.
	ErrRoleClosed = errors.New("role is closed")
)
