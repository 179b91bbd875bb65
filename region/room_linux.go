package region

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Memory that a file system of memory promises may not be there: a tmpfs, and a
// memfd even more, lets anybody ask for all of it, and then the kernel kills
// somebody. So what a region needs is compared with what is free, before the first
// page is taken. It is a look and not a reservation.

// askRoom is the size from which on it is worth the look, which takes some 100 µs.
const askRoom = 1 << 20

// The places to look at; others in tests.
var (
	procRoot   = "/proc"
	cgroupRoot = "/sys/fs/cgroup"
)

// checkRoom gives ENOMEM if a region of memory would not fit. What cannot be read
// is no limit.
func checkRoom(size uint64) error {
	if size < askRoom {
		return nil
	}
	if free, ok := memAvailable(); ok && size > free {
		return fmt.Errorf("region: %d bytes needed, the system has %d free (MemAvailable and swap); ask for less: %w", size, free, unix.ENOMEM)
	}
	if free, where, ok := cgroupRoom(); ok && size > free {
		return fmt.Errorf("region: %d bytes needed, the memory limit of the control group %s leaves %d; ask for less or raise it: %w",
			size, where, free, unix.ENOMEM)
	}
	return nil
}

// memAvailable is what the system can give without killing anybody.
func memAvailable() (free uint64, ok bool) {
	text, err := os.ReadFile(procRoot + "/meminfo")
	if err != nil {
		return 0, false
	}
	available, ok := field(text, "MemAvailable:")
	swap, _ := field(text, "SwapFree:")
	return (available + swap) << 10, ok
}

// cgroupRoom is the least that a limit on the way from this process's control
// group to the root leaves, and of which group. Page cache counts as free.
func cgroupRoom() (free uint64, where string, ok bool) {
	text, err := os.ReadFile(procRoot + "/self/cgroup")
	if err != nil {
		return 0, "", false
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		parts := strings.SplitN(lines.Text(), ":", 3)
		if len(parts) != 3 {
			continue
		}
		base, limit, usage, cache := "", "memory.max", "memory.current", []string{"inactive_file", "active_file"}
		switch {
		case parts[1] == "": // version 2
		case strings.Contains(","+parts[1]+",", ",memory,"):
			base, limit, usage = "/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
			cache = []string{"total_inactive_file", "total_active_file"}
		default:
			continue
		}
		// In a container the path may be that of the host, which is not there: its
		// own group is the root then.
		for dir := filepath.Clean("/" + parts[2]); ; dir = filepath.Dir(dir) {
			at := cgroupRoot + base + dir
			if max, known := number(at + "/" + limit); known {
				used, _ := number(at + "/" + usage)
				stat, _ := os.ReadFile(at + "/memory.stat")
				for _, c := range cache {
					n, _ := field(stat, c)
					used -= min(n, used)
				}
				if left := max - min(used, max); !ok || left < free {
					free, where, ok = left, dir, true
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return free, where, ok
}

// number reads a file that holds one; "max" and what is absurd are none.
func number(file string) (n uint64, ok bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil && n < 1<<62
}

// field finds the number behind a word at the start of a line.
func field(text []byte, name string) (n uint64, ok bool) {
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) >= 2 && string(f[0]) == name {
			n, err := strconv.ParseUint(string(f[1]), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
