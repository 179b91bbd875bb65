package chantrace

import "errors"

// Why a system cannot be traced. [Supported] and [Attach] wrap one of them.
var (
	ErrPrivilege = errors.New("chantrace: not permitted") // capabilities, a user namespace, a seccomp filter, lockdown
	ErrBTF       = errors.New("chantrace: no BTF")        // the kernel does not describe its types
	ErrKernel    = errors.New("chantrace: kernel cannot be traced")
)
