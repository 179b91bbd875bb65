//go:build linux && (amd64 || arm64)

package chantrace

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSupportedIsTyped(t *testing.T) {
	err := Supported()
	t.Logf("here: %v", err)
	if err != nil && !errors.Is(err, ErrPrivilege) && !errors.Is(err, ErrBTF) && !errors.Is(err, ErrKernel) {
		t.Error("the error is of no known kind")
	}
}

func TestPrivileges(t *testing.T) {
	set := func(caps ...uint) (all uint64) {
		for _, c := range caps {
			all |= 1 << c
		}
		return all
	}
	for _, c := range []struct {
		caps    uint64
		initial bool
		ok      bool
	}{
		{set(unix.CAP_BPF, unix.CAP_PERFMON), true, true},
		{set(unix.CAP_SYS_ADMIN), true, true},
		{set(unix.CAP_BPF), true, false},
		{set(unix.CAP_PERFMON, unix.CAP_NET_ADMIN), true, false},
		{0, true, false},
		{1<<64 - 1, false, false},
	} {
		if err := privileged(c.caps, c.initial); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrPrivilege) {
			t.Errorf("capabilities %#x, initial %v: %v", c.caps, c.initial, err)
		}
	}
}

func TestKernelVersions(t *testing.T) {
	for release, ok := range map[string]bool{
		"6.4.0": true, "6.4": true, "6.12.107+deb12-cloud-amd64": true, "10.0": true, "6.18.44-x": true,
		"6.3.13": false, "6.1.0-50-amd64": false, "5.17": false, "5.4.0-generic": false, "4.19": false, "": false, "x.y": false,
	} {
		if err := newEnough(release); (err == nil) != ok || err != nil && !errors.Is(err, ErrKernel) {
			t.Errorf("%q: %v", release, err)
		}
	}
}

func TestPreemption(t *testing.T) {
	for build, ok := range map[string]bool{
		"#1 SMP PREEMPT_DYNAMIC Debian 6.12.107-1": true, "#1 SMP": true, "": true,
		"#1 SMP PREEMPT_RT Debian 6.12.107-1": false, "#7 PREEMPT_RT": false,
	} {
		if err := preemption(build); (err == nil) != ok || err != nil && !errors.Is(err, ErrKernel) {
			t.Errorf("%q: %v", build, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, e := range []error{unix.EPERM, fmt.Errorf("load: %w", unix.EACCES)} {
		if err := refusal(e); !errors.Is(err, ErrPrivilege) || !errors.Is(err, e) || !strings.Contains(err.Error(), "seccomp") {
			t.Errorf("%v: %v", e, err)
		}
	}
	if err := refusal(unix.EINVAL); !errors.Is(err, ErrKernel) || errors.Is(err, ErrPrivilege) {
		t.Errorf("EINVAL: %v", err)
	}
}
