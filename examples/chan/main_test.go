package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmkit/shm/shmchan"
)

// exe is the program, as go build makes it.
var exe string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "chan-test")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		exe = filepath.Join(dir, "chan")
		if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
			panic(fmt.Sprintf("go build: %v\n%s", err, out))
		}
		return m.Run()
	}())
}

// A process is the program at work.
type process struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(exe, args...)}
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill() })
	return p
}

// expect waits for the end, and for an exit code and what was printed.
func (p *process) expect(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	p.Wait()
	if p.ProcessState.ExitCode() != code || !strings.Contains(p.stdout.String(), stdout) || !strings.Contains(p.stderr.String(), stderr) {
		t.Errorf("%v: exit code %d, want %d; stdout, want %q:\n%sstderr, want %q:\n%s",
			p.Args, p.ProcessState.ExitCode(), code, stdout, &p.stdout, stderr, &p.stderr)
	}
}

// ownDir gives the test, and the processes that it starts, their own names, and
// sees to it that none is left.
func ownDir(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SHMCHAN_DIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

const quotes = 5500

func received() string {
	var cents int64
	for i := range quotes {
		cents += int64(i % 1000)
	}
	return fmt.Sprintf("received %d quotes, %d cents in all\n", quotes, cents)
}

func TestBothSides(t *testing.T) {
	ownDir(t)
	p := start(t, "-n", fmt.Sprint(quotes))
	p.expect(t, 0, received(), "")
	if sent := fmt.Sprintf("sent %d quotes\n", quotes); !strings.Contains(p.stdout.String(), sent) {
		t.Errorf("no %q in %s", sent, &p.stdout)
	}
}

func TestEitherOrder(t *testing.T) {
	for _, order := range [][]string{{"send", "recv"}, {"recv", "send"}} {
		t.Run(strings.Join(order, " first, then "), func(t *testing.T) {
			ownDir(t)
			first := start(t, "-n", fmt.Sprint(quotes), order[0])
			second := start(t, "-n", fmt.Sprint(quotes), order[1])
			for i, p := range []*process{first, second} {
				want := received()
				if order[i] == "send" {
					want = fmt.Sprintf("sent %d quotes\n", quotes)
				}
				p.expect(t, 0, want, "")
			}
		})
	}
}

func TestReceiverFindsGap(t *testing.T) {
	ownDir(t)
	tx, err := shmchan.OpenSender[Quote](*name)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	p := start(t, "recv")
	if err := tx.Send(t.Context(), Quote{ID: 5}); err != nil {
		t.Fatal(err)
	}
	p.expect(t, 1, "", "got quote 5, want 0")
}

func TestReceiverHearsOfDeadSender(t *testing.T) {
	t.Setenv("SHMCHAN_DIR", t.TempDir()) // a dead side leaves the name to its successor
	sender := start(t, "-n", "1000000000", "send")
	// As a receiver of our own we see that it is at work, and take nothing.
	rx, err := shmchan.OpenReceiver[Quote](*name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rx.Peek(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := rx.Detach(); err != nil {
		t.Fatal(err)
	}
	receiver := start(t, "recv")
	if err := sender.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	receiver.expect(t, 1, "", shmchan.ErrPeerDied.Error())
	sender.Wait()
}

func TestSenderHearsOfClosedReceiver(t *testing.T) {
	ownDir(t)
	rx, err := shmchan.OpenReceiver[Quote](*name)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "-n", "1000000000", "send")
	if _, err := rx.Recv(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := rx.Close(); err != nil {
		t.Fatal(err)
	}
	p.expect(t, 1, "", shmchan.ErrClosed.Error())
}

func TestRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	t.Setenv("SHMCHAN_DIR", missing)
	for _, side := range []string{"send", "recv"} {
		start(t, side).expect(t, 1, "", missing)
	}
	start(t).expect(t, 1, "", missing)
	start(t, "sned").expect(t, 1, "", `"sned"`)
	start(t, "-h").expect(t, 0, "", "go run ./examples/chan")
	if _, err := os.Stat(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v, want it missing as before", missing, err)
	}
}
