package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// The tests run the built binary. They make channels in this process, or in
// children of it where somebody has to die.

const (
	childEnv = "SHMCTL_TEST_CHILD"
	patience = 30 * time.Second
)

var binary string

type tick struct {
	Symbol [4]byte
	Price  float64
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		child(name)
		return
	}
	dir, err := os.MkdirTemp("", "shmctl")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "shmctl")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// poolChild before a name makes the child hold a block of a pool.
const poolChild = "pool:"

// child holds the sending end of a channel, in which it leaves three messages,
// until it is killed or its stdin ends.
func child(name string) {
	if name, isPool := strings.CutPrefix(name, poolChild); isPool {
		p, err := slabpool.Open(name, slabpool.Class{Size: 4096, Count: 2})
		if err == nil {
			_, err = p.TryAlloc(100)
		}
		fmt.Println("ready", err)
		io.Copy(io.Discard, os.Stdin)
		runtime.KeepAlive(p)
		return
	}
	tx, err := shmchan.OpenSender[tick](name)
	for i := range 3 {
		if err == nil {
			err = tx.Send(context.Background(), tick{Price: float64(i)})
		}
	}
	fmt.Println("ready", err)
	io.Copy(io.Discard, os.Stdin)
}

// holder starts a child that holds the sending end of a channel.
func holder(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	if s := bufio.NewScanner(out); !s.Scan() || s.Text() != "ready <nil>" {
		t.Fatalf("the child says %q", s.Text())
	}
	return cmd
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// here makes bare names lie in a directory of the test.
func here(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(dirEnv, dir)
	return dir
}

// run runs the tool.
func run(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		t.Fatalf("shmctl %q: %v, %v", args, err, ctx.Err())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// ok runs the tool, which must succeed, and returns what it prints.
func ok(t testing.TB, args ...string) string {
	t.Helper()
	out, errs, code := run(t, args...)
	if code != 0 {
		t.Fatalf("shmctl %q: exit %d\n%s%s", args, code, out, errs)
	}
	return out
}

// fails runs the tool, which must fail and say all that is given.
func fails(t testing.TB, args []string, says ...string) {
	t.Helper()
	out, errs, code := run(t, args...)
	if code == 0 {
		t.Fatalf("shmctl %q: exit 0\n%s", args, out)
	}
	says = append(says, "shmctl: ")
	contains(t, out+errs, says...)
	if strings.Contains(errs, "goroutine ") {
		t.Errorf("shmctl %q: %s", args, errs)
	}
}

func contains(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in\n%s", p, text)
		}
	}
}

// pair is a named channel with both ends here.
func pair(t *testing.T, name string, opts ...shmchan.Option) (*shmchan.Sender[tick], *shmchan.Receiver[tick]) {
	t.Helper()
	tx, err := shmchan.OpenSender[tick](name, opts...)
	must(t, err)
	t.Cleanup(func() { tx.Close() })
	rx, err := shmchan.OpenReceiver[tick](name)
	must(t, err)
	t.Cleanup(func() { rx.Close() })
	return tx, rx
}

func send(t *testing.T, tx *shmchan.Sender[tick], n int) {
	t.Helper()
	for i := range n {
		must(t, tx.Send(context.Background(), tick{Symbol: [4]byte{'S'}, Price: float64(i)}))
	}
}

// until waits for something that has no event.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
