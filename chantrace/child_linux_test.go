//go:build linux && (amd64 || arm64)

package chantrace

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
	"golang.org/x/sys/unix"
)

// patience is for what should take milliseconds.
const patience = 30 * time.Second

// A process of this binary with childEnv does that instead of tests.
const childEnv = "CHANTRACE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "sleeper":
		sleeper(3)
	case "echo":
		echo(os.Args[1], os.Args[2])
	}
}

// die is must of a child.
func die(err error) {
	if err != nil {
		panic(err)
	}
}

// need skips a test where nothing can be traced.
func need(t testing.TB) {
	t.Helper()
	if err := Supported(); err != nil {
		t.Skip(err)
	}
}

// start runs a child with files as its descriptors 3 and up.
func start(t testing.TB, name string, files []*os.File, args ...string) (*exec.Cmd, io.WriteCloser, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = files
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
	return cmd, in, bufio.NewScanner(out)
}

// echo sends back what it receives, after as many nanoseconds.
func echo(from, to string) {
	rx, err := shmchan.OpenReceiver[int64](from, shmchan.WithWait(waiter.Park))
	die(err)
	tx, err := shmchan.OpenSender[int64](to, shmchan.WithWait(waiter.Park))
	die(err)
	ctx := context.Background()
	fmt.Println("open")
	for v, err := range rx.All(ctx) {
		die(err)
		if v > 0 {
			time.Sleep(time.Duration(v))
		}
		die(tx.Send(ctx, v))
	}
	die(tx.Close())
	die(rx.Close())
}

// The futex words of a sleeper lie in the second page of what it maps, which is
// the fourth of the file.
const (
	mapFrom   = 2 * 65536 // pages may be large
	mapSize   = 2 * 65536
	wordsFrom = 65536
)

func mapWords(f *os.File) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), mapFrom, mapSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func wordAt(mem []byte, i int) unsafe.Pointer { return unsafe.Pointer(&mem[wordsFrom+i*128]) }

// offsetOf is where a word lies in the file.
func offsetOf(i int) uint64 { return mapFrom + wordsFrom + uint64(i)*128 }

// sleeper obeys lines on stdin: "wait WORD VALUE NANOSECONDS" (no limit if
// negative), "waitv NANOSECONDS" on words 0 and 1. It answers with the errno.
// All waits are by the main thread.
func sleeper(fd uintptr) {
	runtime.LockOSThread()
	signal.Notify(make(chan os.Signal, 100), unix.SIGUSR1)
	mem, err := mapWords(os.NewFile(fd, "words"))
	die(err)
	in := bufio.NewScanner(os.Stdin)
	fmt.Println(unix.Gettid())
	for in.Scan() {
		var word, value int
		var limit int64
		var e unix.Errno
		if n, _ := fmt.Sscanf(in.Text(), "wait %d %d %d", &word, &value, &limit); n == 3 {
			_, _, e = unix.Syscall6(unix.SYS_FUTEX, uintptr(wordAt(mem, word)), 0, uintptr(value), uintptr(timeout(limit)), 0, 0)
		} else if n, _ := fmt.Sscanf(in.Text(), "waitv %d", &limit); n == 1 {
			e = waitv(mem, limit)
		}
		fmt.Println(int(e))
	}
}

func timeout(ns int64) unsafe.Pointer {
	if ns < 0 {
		return nil
	}
	ts := unix.NsecToTimespec(ns)
	return unsafe.Pointer(&ts)
}

func waitv(mem []byte, limit int64) unix.Errno {
	type entry struct {
		_, addr  uint64 // the first is the value, 0
		flags, _ uint32
	}
	const size32 = 2
	v := [2]entry{}
	for i := range v {
		v[i] = entry{addr: uint64(uintptr(wordAt(mem, i))), flags: size32}
	}
	if limit >= 0 { // the limit is a point in time
		var now unix.Timespec
		die(unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
		limit += now.Nano()
	}
	_, _, e := unix.Syscall6(unix.SYS_FUTEX_WAITV, uintptr(unsafe.Pointer(&v)), 2, 0, uintptr(timeout(limit)), unix.CLOCK_MONOTONIC, 0)
	return e
}

// A bed is a sleeper and the words it sleeps on.
type bed struct {
	t        testing.TB
	pid, tid int
	mem      []byte
	file     unix.Stat_t
	in       io.Writer
	out      *bufio.Scanner
}

func newBed(t testing.TB) *bed {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	must(t, f.Truncate(mapFrom+mapSize))
	cmd, in, out := start(t, "sleeper", []*os.File{f})
	b := &bed{t: t, pid: cmd.Process.Pid, in: in, out: out}
	must(t, unix.Fstat(int(f.Fd()), &b.file))
	b.mem, err = mapWords(f)
	must(t, err)
	must(t, f.Close())
	t.Cleanup(func() { unix.Munmap(b.mem) })
	b.tid = b.answer()
	return b
}

func (b *bed) answer() int {
	b.t.Helper()
	timer := time.AfterFunc(patience, func() { unix.Kill(b.pid, unix.SIGKILL) })
	defer timer.Stop()
	if !b.out.Scan() {
		b.t.Fatalf("the sleeper ended, or was killed after %v: %v", patience, b.out.Err())
	}
	n, err := strconv.Atoi(b.out.Text())
	must(b.t, err)
	return n
}

func (b *bed) say(format string, args ...any) {
	b.t.Helper()
	_, err := fmt.Fprintf(b.in, format+"\n", args...)
	must(b.t, err)
}

// want expects the errno of the last wait.
func (b *bed) want(e unix.Errno) {
	b.t.Helper()
	if got := unix.Errno(b.answer()); got != e {
		b.t.Fatalf("the wait ended with %d (%v), want %d", int(got), got, int(e))
	}
}

// asleep waits until the sleeper sleeps in a shared futex wait.
func (b *bed) asleep() {
	b.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		s, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", b.pid, b.tid))
		must(b.t, err)
		f := strings.Fields(string(s)) // "running", or number and arguments
		if len(f) > 2 && (f[0] == strconv.Itoa(unix.SYS_FUTEX) && f[2] == "0x0" || f[0] == strconv.Itoa(unix.SYS_FUTEX_WAITV)) {
			return
		}
	}
	b.t.Fatalf("not asleep after %v", patience)
}

// wake wakes a word and returns how many slept there.
func (b *bed) wake(word int) int {
	n, _, e := unix.Syscall(unix.SYS_FUTEX, uintptr(wordAt(b.mem, word)), 1, 1)
	if e != 0 {
		b.t.Fatal(e)
	}
	return int(n)
}

// sleepAndWake is one wait that is ended by a wake.
func (b *bed) sleepAndWake(word int) {
	b.t.Helper()
	b.say("wait %d 0 -1", word)
	b.asleep()
	if n := b.wake(word); n != 1 {
		b.t.Fatalf("woke %d, want 1", n)
	}
	b.want(0)
}

// stats returns what a tracer knows of a word, with its identity if that is nothing.
func (b *bed) stats(t *Tracer, word int) WordStats {
	b.t.Helper()
	want := WordStats{Device: uint64(b.file.Dev), Inode: b.file.Ino, Offset: offsetOf(word)}
	words, err := t.Snapshot()
	must(b.t, err)
	for _, w := range words {
		if w.compare(&want) == 0 {
			return w
		}
	}
	return want
}

// attach traces until the test ends.
func attach(t testing.TB, o Options) *Tracer {
	t.Helper()
	need(t)
	if o.MaxWords == 0 {
		o.MaxWords = 1 << 13 // other tests of this machine have words too
	}
	tr, err := Attach(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { tr.Close() })
	return tr
}
