package region

import (
	"bytes"
	"encoding/hex"
	"os"
	"strconv"
	"sync"
)

// bootID identifies this run of the kernel; zero if it cannot be read.
var bootID = sync.OnceValue(func() (id [16]byte) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return id
	}
	text = bytes.ReplaceAll(bytes.TrimSpace(text), []byte("-"), nil)
	if b, err := hex.DecodeString(string(text)); err == nil && len(b) == len(id) {
		copy(id[:], b)
	}
	return id
})

// startTime is when this process started, in clock ticks since boot; 0 if
// that cannot be read.
var startTime = sync.OnceValue(func() uint64 {
	n, _ := startOf("self")
	return n
})

// startOf is when a process started, in clock ticks since boot. who is its
// entry in /proc.
func startOf(who string) (uint64, error) {
	text, err := os.ReadFile("/proc/" + who + "/stat")
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses; field 22, the
	// start time, is the 20th behind it.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return 0, nil
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}
