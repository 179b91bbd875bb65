// Package fault turns a fault of mapped memory into a value. Memory that is
// mapped from a file can go away under its users: the file is cut off, or a page
// of it was given back and the file system has none left. The next access is a
// SIGBUS, which ends a Go program, unless the goroutine has asked for a panic.
//
// It does nothing for a fault on another goroutine, in C code, or in the kernel,
// where a system call gives EFAULT.
package fault
