//go:build linux && (amd64 || arm64)

package chantrace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// oldest is the first kernel on which the observer cannot stop the machine, see
// bpf/observer.bpf.c: task storage is made without kmalloc since then. All else
// that is needed is older; the last of it, bpf_find_vma, came with 5.17.
var oldest = version{6, 4}

const typesFile = "/sys/kernel/btf/vmlinux"

// Supported tells whether [Attach] can work here, without loading anything. It
// returns nil, or an error that wraps [ErrPrivilege], [ErrBTF] or [ErrKernel]
// and says what is needed. It takes well under a millisecond.
//
// It looks at privileges first: the kernel's own errors for want of them look
// like those for want of a feature. It cannot foresee everything: where nil was
// returned Attach may still fail, with one of the same errors.
func Supported() error {
	checks := [...]func() error{checkPrivilege, checkKernel, checkTypes, checkCall}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkPrivilege checks the capabilities of the calling thread.
func checkPrivilege() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capget: %w: %w", err, ErrPrivilege)
	}
	effective := uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
	return privileged(effective, initialUserNamespace())
}

// privileged tells whether a set of capabilities is enough.
func privileged(effective uint64, initial bool) error {
	has := func(c uint) bool { return effective>>c&1 != 0 }
	switch {
	case !has(unix.CAP_SYS_ADMIN) && !(has(unix.CAP_BPF) && has(unix.CAP_PERFMON)):
		return fmt.Errorf("has capabilities %#x, needs CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN): run it as root, or setcap cap_bpf,cap_perfmon=ep: %w", effective, ErrPrivilege)
	case !initial:
		return fmt.Errorf("the capabilities are those of a user namespace, needs them in the initial one: run it outside of the container: %w", ErrPrivilege)
	}
	return nil
}

// initialUserNamespace tells whether this process is in it, as far as one can
// see: there all user ids stand for themselves.
func initialUserNamespace() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return true // no /proc: the kernel decides
	}
	var inside, outside, count uint64
	_, err = fmt.Sscan(string(b), &inside, &outside, &count)
	return err == nil && inside == 0 && outside == 0 && count == 1<<32-1
}

// A version is that of a kernel.
type version struct{ major, minor int }

func (v version) before(w version) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

func checkKernel() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("uname: %w: %w", err, ErrKernel)
	}
	if err := newEnough(unix.ByteSliceToString(u.Release[:])); err != nil {
		return err
	}
	return preemption(unix.ByteSliceToString(u.Version[:]))
}

func newEnough(release string) error {
	var v version
	if _, err := fmt.Sscanf(release, "%d.%d", &v.major, &v.minor); err != nil {
		return fmt.Errorf("kernel %q: no version: %w", release, ErrKernel)
	}
	if v.before(oldest) {
		return fmt.Errorf("kernel %s, needs %d.%d: an older one takes a lock of the scheduler while it makes task storage, which can stop the machine: %w", release, oldest.major, oldest.minor, ErrKernel)
	}
	return nil
}

// preemption refuses PREEMPT_RT, by what the kernel says of its build. There the
// lock of an address space cannot be let go of from where the observer runs, so
// that every question where a word lies fails.
func preemption(build string) error {
	for word := range strings.FieldsSeq(build) { // "#1 SMP PREEMPT_RT Debian ..."
		if word == "PREEMPT_RT" {
			return fmt.Errorf("the kernel (%s) has PREEMPT_RT, needs one without: %w", build, ErrKernel)
		}
	}
	return nil
}

func checkTypes() error {
	f, err := os.Open(typesFile)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no %s, needs a kernel with CONFIG_DEBUG_INFO_BTF and a mounted /sys: %w", typesFile, ErrBTF)
	}
	return fmt.Errorf("%w: %w", err, ErrBTF)
}

// checkCall makes the smallest map, since a seccomp filter or a security module
// may forbid what the capabilities allow.
func checkCall() error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "supported", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("bpf(2), with all capabilities: %w", refusal(err))
	}
	return m.Close()
}

// refusal types what the kernel answered.
func refusal(err error) error {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return fmt.Errorf("a seccomp filter, a security module or lockdown may forbid it: %w: %w", err, ErrPrivilege)
	default:
		return fmt.Errorf("%w: %w", err, ErrKernel)
	}
}
