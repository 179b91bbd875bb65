package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestUpgrade(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "upgrade")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	dir := t.TempDir()
	t.Setenv("SHMCHAN_DIR", dir)
	for _, n := range []int{1, 3000} {
		out, err := exec.Command(exe, "-n", fmt.Sprint(n)).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range []string{fmt.Sprintf("build 1 sent %d ticks", n), "build 2 was killed", "no gap, none twice", "drained version 1"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("n=%d: no %q in\n%s", n, want, out)
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if out, err := exec.Command(exe, "sned").CombinedOutput(); err == nil || !strings.Contains(string(out), "sned") {
		t.Errorf("%v\n%s", err, out)
	}
}
