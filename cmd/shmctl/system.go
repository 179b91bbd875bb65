//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/region"
)

// system looks at what this system offers.
func (f *findings) system() {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.ok("kernel", "Linux %s, %s, %d CPUs, %d for this process", unix.ByteSliceToString(u.Release[:]), runtime.GOARCH, runtime.NumCPU(), runtime.GOMAXPROCS(0))
	}
	if runtime.NumCPU() == 1 {
		f.add("warn", "CPUs", "one CPU: nothing spins, every wait parks", "give the processes two CPUs")
	}
	o := word.Offers()
	f.call("futex", o.Futex, "parked calls are woken", "parked calls look every 20 µs to 1 ms instead of being woken", "allow futex in the seccomp profile")
	f.call("futex_waitv", o.FutexWaitv, "one thread can wait on many channels", "one thread cannot wait on many channels at once", "use Linux 5.16 or later, and allow futex_waitv in the seccomp profile")
	f.call("membarrier", o.Membarrier, "publishing needs no fence", "each publish costs a fence, some 20 ns", "allow membarrier in the seccomp profile")
	f.memfd()
	f.shm()
	f.locks()
	f.inotify()
	f.seccomp()
	f.bpf()
}

// call adds whether something that the library can do without is there.
func (f *findings) call(what string, there bool, good, bad, hint string) {
	if there {
		f.ok(what, "%s", good)
	} else {
		f.add("warn", what, bad, hint)
	}
}

func (f *findings) memfd() {
	r, err := region.Memfd(region.Config{Roles: 1})
	if err != nil {
		f.add("FAIL", "memfd", err.Error(), "Pair and File need memfd_create and /proc; allow them")
		return
	}
	r.Unmap()
	f.ok("memfd", "anonymous channels work")
}

// lowRoom is what a container has in /dev/shm unless it is told otherwise.
const lowRoom = 64 << 20

func (f *findings) shm() {
	var st unix.Statfs_t
	dir := namesDir()
	if err := unix.Statfs(dir, &st); err != nil {
		f.add("FAIL", "names", fmt.Sprintf("%s: %v", dir, err), "mount a tmpfs there, or set $"+dirEnv)
		return
	}
	total, free := st.Blocks*uint64(st.Bsize), st.Bavail*uint64(st.Bsize)
	text := fmt.Sprintf("%s: %s, %s free", dir, size(total), size(free))
	switch {
	case int64(uint32(st.Type)) != unix.TMPFS_MAGIC:
		f.add("warn", "names", text+", not a tmpfs: pages are written to a disk", "use /dev/shm or another tmpfs")
	case free < 1<<20:
		f.add("FAIL", "names", text, "there is no room for a channel: remove some (shmctl ls), or enlarge it")
	case total <= lowRoom:
		f.add("warn", "names", text+": little, as containers have", "docker run --shm-size, or an emptyDir of medium Memory")
	default:
		f.ok("names", "%s", text)
	}
}

// locks tries what liveness rests on.
func (f *findings) locks() {
	dir, err := os.MkdirTemp(namesDir(), ".shmctl-")
	if err != nil {
		f.add("warn", "locks", fmt.Sprintf("not tried: %v", err), "run as a user who may make channels there")
		return
	}
	defer os.RemoveAll(dir)
	r, err := region.Open(dir+"/probe", 0, region.Config{Roles: 1})
	if err != nil {
		f.add("FAIL", "locks", err.Error(), "named channels do not work there")
		return
	}
	defer r.Unmap()
	defer r.Close(func() bool { return true })
	o, err := region.Observe(dir + "/probe")
	if err != nil {
		f.add("FAIL", "locks", err.Error(), "")
		return
	}
	defer o.Close()
	if e, err := o.Endpoint(0); err != nil || e.Life != region.Alive || !e.Sure {
		f.add("FAIL", "locks", fmt.Sprintf("%s does not keep locks of open file descriptions: deaths cannot be told", namesDir()), "use a tmpfs")
		return
	}
	f.ok("locks", "the death of a process is told by the kernel")
}

func (f *findings) inotify() {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		f.add("warn", "inotify", fmt.Sprintf("%v: deaths are found by looking every 50 ms", err), "raise fs.inotify.max_user_instances (now "+sysctl("fs/inotify/max_user_instances")+")")
		return
	}
	unix.Close(fd)
	f.ok("inotify", "deaths are told at once; %s instances, %s watches a user", sysctl("fs/inotify/max_user_instances"), sysctl("fs/inotify/max_user_watches"))
}

func (f *findings) seccomp() {
	switch mode := status("Seccomp"); mode {
	case "0":
		f.ok("seccomp", "no filter")
	case "":
		f.ok("seccomp", "unknown")
	default:
		f.ok("seccomp", "a filter is on (mode %s); the lines above say what it lets through", mode)
	}
}

// Capabilities that tracing needs, by their bits.
const (
	capSysAdmin = 21
	capPerfmon  = 38
	capBPF      = 39
)

func (f *findings) bpf() {
	caps, _ := strconv.ParseUint(status("CapEff"), 16, 64)
	has := func(bit int) bool { return caps>>bit&1 == 1 }
	var missing []string
	if !has(capSysAdmin) {
		if !has(capBPF) {
			missing = append(missing, "CAP_BPF")
		}
		if !has(capPerfmon) {
			missing = append(missing, "CAP_PERFMON")
		}
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		missing = append(missing, "type information of the kernel (/sys/kernel/btf/vmlinux)")
	}
	if len(missing) > 0 {
		f.add("warn", "BPF", "trace does not work: no "+strings.Join(missing, ", no "), "run shmctl trace as root; nothing else needs it")
		return
	}
	f.ok("BPF", "trace can work: capabilities and type information of the kernel are there")
}

// status is a line of /proc/self/status.
func status(key string) string {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func sysctl(name string) string {
	text, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(text))
}
