package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/shmkit/shm/shmchan"
)

// programVar makes the test binary the program, with or without a fault.
const programVar = "SELECT_TEST_PROGRAM"

func TestMain(m *testing.M) {
	switch how := os.Getenv(programVar); {
	case how == "":
		os.Exit(m.Run())
	case how == "sampler dies" && os.Getenv(samplerVar) != "":
		dieSampling()
	default:
		main()
	}
}

// dieSampling is a sampler that gets killed at work.
func dieSampling() {
	tx, err := shmchan.SenderFromFile[Sample](os.NewFile(3, "samples"))
	if err != nil {
		panic(err)
	}
	for range 10 {
		if err := tx.Send(context.Background(), Sample{}); err != nil {
			panic(err)
		}
	}
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

func program(t *testing.T, how string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), programVar+"="+how)
	return cmd
}

func expect(t *testing.T, cmd *exec.Cmd, code int, stdout, stderr string) {
	t.Helper()
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if cmd.ProcessState.ExitCode() != code || !strings.Contains(o.String(), stdout) || !strings.Contains(e.String(), stderr) {
		t.Errorf("exit code %d, want %d; stdout, want %q:\n%sstderr, want %q:\n%s",
			cmd.ProcessState.ExitCode(), code, stdout, &o, stderr, &e)
	}
}

func TestReceivesAllSamples(t *testing.T) {
	exe := t.TempDir() + "/select"
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	expect(t, exec.Command(exe, "-n", "57"), 0, "in all   57 samples, late by ", "")
	expect(t, exec.Command(exe, "-n", "3000", "-every", "1ns"), 0, "in all   3000 samples, late by ", "")
	expect(t, exec.Command(exe, "-n", "0"), 0, "in all   0 samples, late by 0s", "")
}

func TestSamplerDies(t *testing.T) {
	expect(t, program(t, "sampler dies"), 1, "", shmchan.ErrPeerDied.Error())
	expect(t, program(t, "sampler dies"), 1, "", "ended with: signal: killed")
}

func TestRefuses(t *testing.T) {
	for _, args := range [][]string{{"-n", "-1"}, {"-every", "0"}, {"-report", "0"}, {"x"}} {
		expect(t, program(t, "sound", args...), 1, "", "go run ./examples/select")
	}
	expect(t, program(t, "sound", "-h"), 0, "", "go run ./examples/select")
}

// An interrupt comes while the sampler waits for its next turn, in an hour.
func TestInterruptEndsWithSummary(t *testing.T) {
	cmd := program(t, "sound", "-every", "1h", "-report", "1ms")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, " 0 samples") {
		t.Fatalf("%q, %v, want a report", line, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(string(rest), "interrupted\nin all   0 samples") {
		t.Errorf("no summary in\n%s", rest)
	}
}
