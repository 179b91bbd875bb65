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
	case how == "one dies" && os.Getenv(producerVar) == "1":
		dieProducing()
	default:
		main()
	}
}

// dieProducing is a producer that gets killed at work.
func dieProducing() {
	tx, err := shmchan.SenderFromFile[Line](os.NewFile(3, "lines"))
	if err != nil {
		panic(err)
	}
	for range 4 {
		if err := tx.Send(context.Background(), newLine("last words")); err != nil {
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

func TestMergesAll(t *testing.T) {
	exe := t.TempDir() + "/select"
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(exe, "-producers", "7", "-n", "31", "-every", "1ms")
	cmd.Stdin = strings.NewReader("one\ntwo\n")
	expect(t, cmd, 0, "in all: 217 lines from producers, 2 typed, 3 alarms, 0 producers died\n", "")
	expect(t, exec.Command(exe, "-n", "0"), 0, "in all: 0 lines from producers, 0 typed, 0 alarms, 0 producers died\n", "")
}

// The death of one is told, what it had sent is there, and the others go on.
func TestOneDies(t *testing.T) {
	args := []string{"-producers", "3", "-n", "20", "-every", "1ms"}
	expect(t, program(t, "one dies", args...), 1, "producer 1 died\n", "producer 1 (pid ")
	expect(t, program(t, "one dies", args...), 1, "in all: 44 lines from producers, 0 typed, 2 alarms, 1 producers died\n", "ended with: signal: killed")
}

func TestRefuses(t *testing.T) {
	for _, args := range [][]string{{"-n", "-1"}, {"-producers", "0"}, {"-every", "0"}, {"-report", "0"}, {"x"}} {
		expect(t, program(t, "sound", args...), 1, "", "go run ./examples/select")
	}
	expect(t, program(t, "sound", "-h"), 0, "", "go run ./examples/select")
}

// What a hostile producer says about its length is not believed.
func TestLineIsBounded(t *testing.T) {
	for _, n := range []int32{-1, 117, 1 << 30} {
		l := newLine("x")
		l.Len = n
		if s := l.String(); len(s) > 1000 {
			t.Error(s)
		}
	}
}

// An interrupt comes while the producers wait for their next line, for an hour.
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
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "so far: 0 lines") {
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
	if !strings.Contains(string(rest), "interrupted\nin all: 0 lines") {
		t.Errorf("no summary in\n%s", rest)
	}
}
