//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilepipe(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the program")
	}
	exe := filepath.Join(t.TempDir(), "filepipe")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	from, to, names := t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv("SHMCHAN_DIR", names)
	args := []string{"-to", to, "-block", "4096"}
	want := map[string][]byte{}
	for i, size := range []int{0, 1, 48, 4095, 4096, 4097, 8192, 1_000_003} {
		b := make([]byte, size)
		for k := range b {
			b[k] = byte(k*k>>7 + i)
		}
		name := fmt.Sprintf("file of %d bytes", size)
		want[name] = b
		path := filepath.Join(from, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	if out, err := exec.Command(exe, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, b := range want {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if out, err := exec.Command(exe).CombinedOutput(); err != nil || !strings.Contains(string(out), "filepipe: ") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, bad := range [][]string{{filepath.Join(from, "nothing")}, {from}, {"-to", filepath.Join(from, "no"), exe}, {"-to", filepath.Dir(exe), exe}} {
		if out, err := exec.Command(exe, bad...).CombinedOutput(); err == nil {
			t.Errorf("%v was done:\n%s", bad, out)
		}
	}
	if left, err := os.ReadDir(names); err != nil || len(left) > 0 {
		t.Errorf("names are left: %v, %v", left, err)
	}
}
