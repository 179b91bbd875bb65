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
		"5.17.0": true, "5.17": true, "6.1.0-50-amd64": true, "10.0": true, "6.18.44-x": true,
		"5.16.20": false, "5.4.0-generic": false, "4.19": false, "": false, "x.y": false,
	} {
		if err := newEnough(release); (err == nil) != ok || err != nil && !errors.Is(err, ErrKernel) {
			t.Errorf("%q: %v", release, err)
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
