package region

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const (
	left = iota
	right

	childEnv = "REGION_TEST_CHILD"
	patience = 20 * time.Second // for what should take milliseconds
)

// children are what a process of this binary does instead of tests when
// childEnv names one. They talk in lines on stdin and stdout and end when
// stdin does.
var children = map[string]func(args []string, in *bufio.Scanner){}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		fn, ok := children[name]
		if !ok {
			fmt.Println("no such child")
			os.Exit(2)
		}
		fn(os.Args[1:], bufio.NewScanner(os.Stdin))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A child is a running process of this binary.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// start runs a child. setup (nil: nothing) sees the command before it starts.
func start(t *testing.T, setup func(*exec.Cmd), name string, args ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if setup != nil {
		setup(cmd)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t, cmd, in, bufio.NewScanner(out)}
	t.Cleanup(func() {
		in.Close()
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return c
}

// line returns the next line that the child says.
func (c *child) line() string {
	c.t.Helper()
	if !c.out.Scan() {
		c.t.Fatalf("child ended: %v", c.out.Err())
	}
	return c.out.Text()
}

// want fails unless the child says a line that starts with s.
func (c *child) want(s string) string {
	c.t.Helper()
	got := c.line()
	if !strings.HasPrefix(got, s) {
		c.t.Fatalf("child says %q, want %q", got, s)
	}
	return strings.TrimSpace(strings.TrimPrefix(got, s))
}

func (c *child) say(s string) { fmt.Fprintln(c.in, s) }

func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// end lets the child return and waits for it.
func (c *child) end() {
	c.t.Helper()
	c.in.Close()
	for c.out.Scan() {
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Fatal(err)
	}
}

func config() Config {
	return Config{
		Roles: 2,
		Sections: []Section{
			{Kind: KindEvents, Version: 3, Required: true, Size: 256, Align: 128},
			{Kind: KindLane, Version: 4, Required: true, Size: 10000, Align: 4096},
			{Kind: 1000, Version: 5, Size: 1},
		},
	}
}

// must returns r, which the test abandons and unmaps in the end.
func must(t *testing.T) func(*Region, error) *Region {
	return func(r *Region, err error) *Region {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Unmap() })
		return r
	}
}

func wantErr(t *testing.T, err, want error, says ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Fatalf("error %q does not say %q", err, s)
		}
	}
}

func wantPhase(t *testing.T, r *Region, role int, p Phase, epoch uint32) {
	t.Helper()
	if s := r.State(role); s.Phase != p || s.Epoch != epoch {
		t.Fatalf("role %d is %v, epoch %d; want %v, %d", role, s.Phase, s.Epoch, p, epoch)
	}
}

// bell is a watch function that tests can wait for.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

func (b bell) wait(t *testing.T) {
	t.Helper()
	select {
	case <-b:
	case <-time.After(patience):
		t.Fatal("the watch function was not called")
	}
}

func (b bell) silent(t *testing.T) {
	t.Helper()
	select {
	case <-b:
		t.Fatal("the watch function was called")
	default:
	}
}

// until waits for something that has no event.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
