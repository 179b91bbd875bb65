//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func build(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "frames")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return exe
}

func TestFrames(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the program")
	}
	exe := build(t)
	raw := make([]byte, 2*frameSize+100) // two frames and a piece
	for i := range raw {
		raw[i] = byte(i * i >> 9)
	}
	file := filepath.Join(t.TempDir(), "video.yuv")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-n", "5"}, {"-n", "5", "-in", file}} {
		out, err := exec.Command(exe, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		if !regexp.MustCompile(`shared memory: .* GB/s +0 bytes copied, checksum [0-9a-f]{8}`).Match(out) ||
			!strings.Contains(string(out), " 31104000 bytes copied") { // 5 frames into the kernel and out
			t.Errorf("%v:\n%s", args, out)
		}
	}
	if err := os.WriteFile(file, raw[:1000], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-n", "0"}, {"-in", file}, {"-in", file + ".not"}, {"what"}} {
		if out, err := exec.Command(exe, args...).CombinedOutput(); err == nil || !strings.HasPrefix(string(out), "frames: ") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}
