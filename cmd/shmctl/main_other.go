//go:build !linux

// Shmctl shows from outside what channels in shared memory do. Channels between
// processes are of Linux, and so is the tool.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(os.Stderr, "shmctl: there are no channels between processes on %s; use Linux\n", runtime.GOOS)
	os.Exit(1)
}
