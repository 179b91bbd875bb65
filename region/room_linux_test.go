package region

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A capacity that would bring the machine down is an error that says what is
// needed and what is there, and not one page is taken. The machine of the test is
// a made-up one of 5 MiB.
func TestMoreThanTheMemory(t *testing.T) {
	defer func(p string) { procRoot = p }(procRoot)
	procRoot = t.TempDir()
	if err := os.WriteFile(procRoot+"/meminfo", []byte("MemAvailable: 5120 kB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config()
	c.Sections[1].Size = 16 << 20
	before := countFDs(t)
	for _, c.HugePages = range []bool{false, true} {
		_, err := Memfd(c)
		wantErr(t, err, unix.ENOMEM, "bytes needed", "5242880 free")
	}
	dir, err := os.MkdirTemp("/dev/shm", "region")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "name")
	_, err = Open(name, left, c)
	wantErr(t, err, unix.ENOMEM, "bytes needed")
	wantNames(t, name)
	if after := countFDs(t); after != before {
		t.Fatalf("%d descriptors, were %d", after, before)
	}
}

func TestRoom(t *testing.T) {
	defer func(p, c string) { procRoot, cgroupRoot = p, c }(procRoot, cgroupRoot)
	const mem = "MemTotal: 9000 kB\nMemAvailable:    4096 kB\nSwapFree: 1024 kB\n" // 5 MiB
	for what, c := range map[string]struct {
		files map[string]string
		fits  uint64 // the most that does; 0: no limit
		says  string
	}{
		"nothing is known": {nil, 0, ""},
		"meminfo":          {map[string]string{"proc/meminfo": mem}, 5 << 20, "MemAvailable"},
		"old kernel":       {map[string]string{"proc/meminfo": "MemTotal: 1 kB\n"}, 0, ""},
		"garbage":          {map[string]string{"proc/meminfo": "MemAvailable: x\n\n", "proc/self/cgroup": "x\n0:\n", "cg/memory.max": "y"}, 0, ""},
		"no limit":         {map[string]string{"proc/self/cgroup": "0::/a/b\n", "cg/a/b/memory.max": "max\n"}, 0, ""},
		"version 2": {map[string]string{"proc/meminfo": mem, "proc/self/cgroup": "0::/a/b\n", "cg/a/b/memory.max": "4194304\n",
			"cg/a/b/memory.current": "3145728\n", "cg/a/b/memory.stat": "anon 5\ninactive_file 1048576\nactive_file 1\n"}, 2<<20 + 1, "/a/b"},
		"the limit of a parent": {map[string]string{"proc/self/cgroup": "0::/a/b\n", "cg/a/b/memory.max": "9999999\n",
			"cg/a/memory.max": "3145728\n", "cg/a/memory.current": "1048576\n"}, 2 << 20, "/a"},
		"in a container": {map[string]string{"proc/self/cgroup": "0::/not/here\n", "cg/memory.max": "2097152\n"}, 2 << 20, "group /"},
		"version 1": {map[string]string{"proc/self/cgroup": "7:cpu:/x\n4:memory:/a\n0::/\n", "cg/memory/a/memory.limit_in_bytes": "3145728\n",
			"cg/memory/a/memory.usage_in_bytes": "2097152\n", "cg/memory/a/memory.stat": "total_inactive_file 1048576\n",
			"cg/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 2 << 20, "/a"},
		"all used": {map[string]string{"proc/self/cgroup": "0::/\n", "cg/memory.max": "5\n", "cg/memory.current": "7\n"}, 1, "leaves 0"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			procRoot, cgroupRoot = dir+"/proc", dir+"/cg"
			for file, text := range c.files {
				os.MkdirAll(filepath.Dir(dir+"/"+file), 0o700)
				if err := os.WriteFile(dir+"/"+file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.fits == 0 {
				if err := checkRoom(1 << 60); err != nil {
					t.Fatal(err)
				}
				return
			}
			if c.fits >= askRoom {
				if err := checkRoom(c.fits); err != nil {
					t.Fatal(err)
				}
			}
			wantErr(t, checkRoom(max(c.fits, askRoom-1)+1), unix.ENOMEM, "bytes needed", c.says)
		})
	}
}
