package shmchan_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/shmchan"
)

// Who is alive is asked of the kernel's locks, so what a process id means, and
// to whom, is of no account.

// startIn runs a child as attr says.
func startIn(t *testing.T, attr *syscall.SysProcAttr, files []*os.File, name string, args ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = files
	cmd.SysProcAttr = attr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	if err := cmd.Start(); err != nil {
		t.Skip("this system does not let us:", err)
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

var ownPIDs = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}

// Two processes that each are process 1 of their own namespace, and /proc is that
// of a third.
func TestAcrossPIDNamespaces(t *testing.T) {
	dir(t)
	rx := receiver(t, "name")
	tx := sender(t, "back", shmchan.WithCapacity(1))
	must(t, tx.TrySend(0))
	for i := range 3 {
		s := startIn(t, ownPIDs, nil, "end", "s", "name")
		s.want("open")
		r := startIn(t, ownPIDs, nil, "end", "r", "back")
		r.want("open")
		_, err := shmchan.OpenSender[int]("name")
		wantErr(t, err, shmchan.ErrBusy, "process 1)")
		s.ask(fmt.Sprint("trysend ", i), "ok")
		recvs(t, rx, i, i+1)
		stillWaits(t, recvErr(rx)) // alive, though in our namespace process 1 is another
		got := goes(func() error { return recvErr(rx)(bg) })
		sent := goes(func() error { return tx.Send(bg, i+1) })
		doze()
		s.kill()
		r.kill()
		wantErr(t, result(t, got), shmchan.ErrPeerDied, "process 1,")
		wantErr(t, result(t, sent), shmchan.ErrPeerDied, "process 1,")
	}
	// The other way round: what they see of us.
	s := startIn(t, ownPIDs, nil, "end", "s", "name")
	s.want("open")
	must(t, rx.Detach())
	s.ask("trysend 7", "ok")
	recvs(t, receiver(t, "name"), 7, 8)
	s.ask("close", "ok")

	// A descriptor into another namespace.
	a, b := pair[int](t, nil)
	f, err := a.File()
	must(t, err)
	s = startIn(t, ownPIDs, []*os.File{f}, "end", "s", "fd")
	must(t, f.Close())
	s.want("open")
	s.ask("trysend 1", "ok")
	recvs(t, b, 1, 2)
	s.kill()
	wantErr(t, recvErr(b)(within(t)), shmchan.ErrPeerDied)
}

func init() {
	// reuse NAME: process 1 of a namespace runs two ends of one process id, one
	// after the other. It says "told" when the second is up.
	children["reuse"] = func(args []string) {
		next := func(pid int) { // the next process gets it
			if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
				panic(err)
			}
		}
		run := func(words ...string) (*exec.Cmd, *bufio.Scanner) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			cmd := exec.Command("/proc/self/exe", words...)
			cmd.Env = append(os.Environ(), childEnv+"=end")
			cmd.Stderr = os.Stderr
			if _, err := cmd.StdinPipe(); err != nil {
				panic(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				panic(err)
			}
			next(300)
			if err := cmd.Start(); err != nil {
				panic(err)
			}
			lines := bufio.NewScanner(out)
			lines.Scan()
			return cmd, lines
		}
		warm := exec.Command("/proc/self/exe") // the first Start of a process makes one more
		warm.Env = []string{childEnv + "=descriptors"}
		if err := warm.Run(); err != nil {
			panic(err)
		}
		in := bufio.NewScanner(os.Stdin)
		first, said := run("s", args[0])
		fmt.Println(first.Process.Pid, said.Text())
		in.Scan()
		first.Process.Kill()
		first.Wait()
		second, said := run("s", args[0]+"2") // another channel, the same process id
		fmt.Println(second.Process.Pid, said.Text())
		in.Scan()
		second.Process.Kill()
		second.Wait()
	}
}

// The process id of a dead peer belongs to another living process, which even
// uses this library, and the dead one is dead all the same.
func TestPIDReuse(t *testing.T) {
	needsFiles(t)
	if _, err := os.Stat("/proc/sys/kernel/ns_last_pid"); err != nil || os.Getuid() != 0 {
		t.Skip("choosing process ids needs root and ns_last_pid:", err)
	}
	d := dir(t)
	rx := receiver(t, "name")
	c := startIn(t, ownPIDs, nil, "reuse", d+"/name")
	pid, _, _ := strings.Cut(c.line(), " ")
	got := goes(func() error { return recvErr(rx)(bg) })
	_, err := shmchan.OpenSender[int]("name")
	wantErr(t, err, shmchan.ErrBusy, "process "+pid+")")
	c.say("kill")
	wantErr(t, result(t, got), shmchan.ErrPeerDied, "process "+pid+",")
	if again := c.line(); again != pid+" open" {
		t.Skipf("the process ids are %q and %q: another process was faster", pid, again)
	}
	stillWaits(t, recvErr(rx))
	s := open(t, "s", "name") // the role is free
	s.ask("trysend 1", "ok")
	recvs(t, rx, 1, 2)
	c.say("kill")
	c.end()
}

func init() {
	// forks NAME SIDE: opens an end, forks without exec, says the process id of
	// the copy, which sleeps, and then obeys like end.
	children["forks"] = func(args []string) {
		tx, rx, err := openEnd[int](args[1], args[0], nil)
		if err != nil {
			panic(err)
		}
		// The copy has one thread and no Go runtime that works: nothing but system
		// calls, with what they need prepared.
		ts := unix.Timespec{Sec: 3600}
		pid, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if e == 0 && pid == 0 {
			for {
				sleepRaw(&ts)
			}
		}
		fmt.Println(int(pid), e)
		in := bufio.NewScanner(os.Stdin)
		in.Scan()
		switch {
		case in.Text() == "close" && tx != nil:
			fmt.Println(kind(tx.Close()))
		case in.Text() == "close":
			fmt.Println(kind(rx.Close()))
		case in.Text() == "detach":
			fmt.Println(kind(tx.Detach()))
		}
		in.Scan()
		runtime.KeepAlive(tx)
	}
}

// A process that forks without exec leaves a copy that has its descriptors and
// its mapping: while it lives, its parent's end counts as alive, since it could
// use it. What the parent does in good order holds at once.
func TestForkedCopyKeepsTheLock(t *testing.T) {
	needsFiles(t)
	dir(t)
	for _, last := range []string{"close", "detach", "kill"} {
		rx := receiver(t, last)
		c := start(t, nil, "forks", last, "s")
		text, errno, _ := strings.Cut(c.line(), " ")
		copied, err := strconv.Atoi(text)
		if err != nil || copied <= 0 {
			t.Fatal(text, errno)
		}
		t.Cleanup(func() { syscall.Kill(copied, syscall.SIGKILL) })
		switch last {
		case "close":
			c.ask("close", "ok")
			if err := recvErr(rx)(within(t)); kind(err) != "EOF" {
				t.Fatal(err)
			}
		case "detach":
			c.ask("detach", "ok")
			s := open(t, "s", last) // unlocked by hand
			s.ask("close", "ok")
		case "kill":
			got := goes(func() error { return recvErr(rx)(bg) })
			c.kill()
			select {
			case err := <-got:
				t.Fatal(err, "though the copy lives")
			case <-time.After(100 * time.Millisecond):
			}
			must(t, syscall.Kill(copied, syscall.SIGKILL))
			wantErr(t, result(t, got), shmchan.ErrPeerDied, fmt.Sprint("process ", c.pid()))
		}
		syscall.Kill(copied, syscall.SIGKILL)
	}
}

func init() {
	// descriptors: says what it inherited besides the three.
	children["descriptors"] = func([]string) {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			panic(err)
		}
		for _, e := range entries {
			if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
				fmt.Print(e.Name(), "=", to, " ")
			}
		}
		fmt.Println()
	}
}

// A program that is started gets none of our descriptors, whatever we have open.
func TestExecLeaksNothing(t *testing.T) {
	needsFiles(t)
	dir(t)
	bare := start(t, nil, "descriptors")
	want := kinds(bare.line())
	tx, rx := sender(t, "name"), receiver(t, "name")
	a, b := pair[int](t, nil)
	tx.Ready()
	<-a.Ready()
	f, err := b.File()
	must(t, err)
	defer f.Close()
	full := start(t, nil, "descriptors")
	if got := kinds(full.line()); got != want {
		t.Fatalf("inherits %s, without channels %s", got, want)
	}
	must(t, tx.Close())
	must(t, rx.Close())
}

// kinds drops what differs from run to run.
func kinds(line string) string {
	var out []string
	for _, w := range strings.Fields(line) {
		fd, to, _ := strings.Cut(w, "=")
		to, _, _ = strings.Cut(to, ":")
		if strings.HasPrefix(to, "/proc") {
			to = "/proc"
		}
		out = append(out, fd+"="+to)
	}
	return strings.Join(out, " ")
}

// A peer that a debugger has stopped, between any two instructions, is waited
// for.
func TestTracedIsNotDead(t *testing.T) {
	needsFiles(t)
	dir(t)
	c := open(t, "s", "name")
	rx := receiver(t, "name")
	runtime.LockOSThread() // ptrace belongs to a thread
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(c.pid()); err != nil {
		t.Skip("cannot trace:", err)
	}
	must(t, unix.PtraceInterrupt(c.pid()))
	var ws unix.WaitStatus
	_, err := unix.Wait4(c.pid(), &ws, unix.WALL, nil)
	must(t, err)
	if !ws.Stopped() {
		t.Fatal(ws)
	}
	stillWaits(t, recvErr(rx))
	_, err = shmchan.OpenSender[int]("name")
	wantErr(t, err, shmchan.ErrBusy)
	must(t, unix.PtraceDetach(c.pid()))
	c.ask("trysend 1", "ok")
	recvs(t, rx, 1, 2)
}
