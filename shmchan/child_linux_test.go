package shmchan_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// A child is a running process of this binary. It answers each line with a
// line and ends when its stdin does.
type child struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// start runs a child with files as its descriptors 3 and up.
func start(t testing.TB, files []*os.File, name string, args ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = files
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	c := &child{t, cmd, in, bufio.NewScanner(out)}
	c.out.Buffer(nil, 1<<20)
	t.Cleanup(func() {
		in.Close()
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return c
}

// open runs a child that has one end of a channel, "s" or "r", of ints.
func open(t testing.TB, side, where string, opts ...string) *child {
	t.Helper()
	c := start(t, nil, "end", append([]string{side, where}, opts...)...)
	c.want("open")
	return c
}

// give runs a child that gets its end through f.
func give(t testing.TB, f *os.File, side string, opts ...string) *child {
	t.Helper()
	c := start(t, []*os.File{f}, "end", append([]string{side, "fd"}, opts...)...)
	must(t, f.Close())
	c.want("open")
	return c
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// line returns the next line that the child says.
func (c *child) line() string {
	c.t.Helper()
	timer := time.AfterFunc(patience, func() { c.cmd.Process.Kill() })
	defer timer.Stop()
	if !c.out.Scan() {
		c.t.Fatalf("the child ended, or was killed after %v: %v", patience, c.out.Err())
	}
	return c.out.Text()
}

// want fails unless the child's next line is s.
func (c *child) want(s string) {
	c.t.Helper()
	if got := c.line(); got != s {
		c.t.Fatalf("the child says %q, want %q", got, s)
	}
}

func (c *child) say(format string, args ...any) { fmt.Fprintf(c.in, format+"\n", args...) }

// ask says a line and wants the answer.
func (c *child) ask(line, answer string) {
	c.t.Helper()
	c.say("%s", line)
	c.want(answer)
}

func (c *child) signal(s syscall.Signal) {
	c.t.Helper()
	must(c.t, c.cmd.Process.Signal(s))
}

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
	must(c.t, c.cmd.Wait())
}

// kind names the error of the documented set that err is.
func kind(err error) string {
	kinds := []struct {
		err  error
		name string
	}{
		{nil, "ok"}, {io.EOF, "EOF"}, {shmchan.ErrFull, "full"}, {shmchan.ErrEmpty, "empty"}, {shmchan.ErrClosed, "closed"},
		{shmchan.ErrPeerDied, "died"}, {shmchan.ErrBusy, "busy"}, {shmchan.ErrMismatch, "mismatch"},
		{shmchan.ErrCorrupt, "corrupt"}, {context.Canceled, "canceled"}, {context.DeadlineExceeded, "deadline"},
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	return err.Error()
}

// parse turns words into options.
func parse(words []string) (opts options) {
	for _, w := range words {
		if k, ok := strings.CutPrefix(w, "cap="); ok {
			c, err := strconv.Atoi(k)
			if err != nil {
				panic(err)
			}
			opts = append(opts, shmchan.WithCapacity(c))
			continue
		}
		if w == "await" {
			opts = append(opts, shmchan.WithAwaitSuccessor())
		}
		for _, p := range policies {
			if w == p.String() {
				opts = append(opts, shmchan.WithWait(p))
			}
		}
	}
	return opts
}

// openEnd opens one end of a channel of T, by name or through descriptor 3.
func openEnd[T any](side, where string, opts options) (tx *shmchan.Sender[T], rx *shmchan.Receiver[T], err error) {
	fd := os.NewFile(3, "role")
	switch {
	case side == "s" && where == "fd":
		tx, err = shmchan.SenderFromFile[T](fd, opts...)
	case side == "s":
		tx, err = shmchan.OpenSender[T](where, opts...)
	case where == "fd":
		rx, err = shmchan.ReceiverFromFile[T](fd, opts...)
	default:
		rx, err = shmchan.OpenReceiver[T](where, opts...)
	}
	return tx, rx, err
}

func init() {
	children["end"] = func(args []string) {
		in := bufio.NewScanner(os.Stdin)
		if args[0] == "wait" { // for the word to begin
			fmt.Println("ready")
			in.Scan()
			args = args[1:]
		}
		tx, rx, err := openEnd[int](args[0], args[1], parse(args[2:]))
		if err != nil {
			fmt.Println(kind(err), err)
			in.Scan()
			return
		}
		fmt.Println("open")
		for in.Scan() {
			f := strings.Fields(in.Text())
			var nums []int
			for _, w := range f[1:] {
				k, err := strconv.Atoi(w)
				if err != nil {
					panic(err)
				}
				nums = append(nums, k)
			}
			if tx != nil {
				fmt.Println(obeySender(tx, f[0], nums))
			} else {
				fmt.Println(obeyReceiver(rx, f[0], nums))
			}
		}
	}
}

func obeySender(tx *shmchan.Sender[int], word string, nums []int) string {
	switch word {
	case "send": // FROM TO
		for i := nums[0]; i < nums[1]; i++ {
			if err := tx.Send(bg, i); err != nil {
				return fmt.Sprint(kind(err), " at ", i)
			}
		}
		return "ok"
	case "flood": // FROM
		fmt.Println("flooding")
		return obeySender(tx, "send", []int{nums[0], math.MaxInt})
	case "fill": // FROM
		for i := nums[0]; ; i++ {
			if err := tx.TrySend(i); err != nil {
				return fmt.Sprint(kind(err), " at ", i)
			}
		}
	case "trysend":
		return kind(tx.TrySend(nums[0]))
	case "reserve":
		p, err := tx.Reserve(bg)
		if err == nil {
			*p = nums[0]
		}
		return kind(err)
	case "waitpeer":
		return kind(tx.WaitPeer(bg))
	case "len":
		return fmt.Sprint(tx.Len())
	case "detach":
		return kind(tx.Detach())
	case "close":
		return kind(tx.Close())
	case "exit":
		os.Exit(0)
	}
	return "what is " + word + "?"
}

func obeyReceiver(rx *shmchan.Receiver[int], word string, nums []int) string {
	switch word {
	case "recv": // FROM TO: what is to come
		for want := nums[0]; want < nums[1]; want++ {
			v, err := rx.Recv(bg)
			if err != nil {
				return fmt.Sprint(kind(err), " at ", want)
			}
			if v != want {
				return fmt.Sprint("got ", v, " at ", want)
			}
		}
		return "ok"
	case "tryrecv":
		v, err := rx.TryRecv()
		if err == nil {
			return fmt.Sprint(v)
		}
		return kind(err)
	case "peek":
		p, err := rx.Peek(bg)
		if err == nil {
			return fmt.Sprint(*p)
		}
		return kind(err)
	case "release":
		return kind(rx.Release())
	case "waitpeer":
		return kind(rx.WaitPeer(bg))
	case "len":
		return fmt.Sprint(rx.Len())
	case "detach":
		return kind(rx.Detach())
	case "close":
		return kind(rx.Close())
	case "exit":
		os.Exit(0)
	}
	return "what is " + word + "?"
}

// dir gives the test a directory for names, and returns it.
func dir(t testing.TB) string {
	d := t.TempDir()
	t.Setenv("SHMCHAN_DIR", d)
	return d
}

// names fails unless exactly these files are in the directory.
func names(t testing.TB, d string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(d)
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("the directory has %q, want %q", got, want)
	}
}

// sender and receiver open a named end that the test closes.
func sender(t testing.TB, name string, opts ...shmchan.Option) *shmchan.Sender[int] {
	t.Helper()
	tx, err := shmchan.OpenSender[int](name, opts...)
	must(t, err)
	t.Cleanup(func() { tx.Close() })
	return tx
}

func receiver(t testing.TB, name string, opts ...shmchan.Option) *shmchan.Receiver[int] {
	t.Helper()
	rx, err := shmchan.OpenReceiver[int](name, opts...)
	must(t, err)
	t.Cleanup(func() { rx.Close() })
	return rx
}

// recvs receives exactly [from, to).
func recvs(t testing.TB, rx *shmchan.Receiver[int], from, to int) {
	t.Helper()
	ctx := within(t)
	for i := from; i < to; i++ {
		if v, err := rx.Recv(ctx); v != i || err != nil {
			t.Fatalf("got %d, %v; want %d", v, err, i)
		}
	}
}

// sends sends [from, to).
func sends(t testing.TB, tx *shmchan.Sender[int], from, to int) {
	t.Helper()
	ctx := within(t)
	for i := from; i < to; i++ {
		must(t, tx.Send(ctx, i))
	}
}

// stillWaits fails unless a Recv waits for longer than a moment.
func stillWaits(t testing.TB, call func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, 100*time.Millisecond)
	defer cancel()
	wantErr(t, call(ctx), context.DeadlineExceeded)
}
