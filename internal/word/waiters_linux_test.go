//go:build linux && !modelcheck

package word

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a child process of these tests does, and which error futex_waitv is to
// be refused with in it.
const (
	childEnv = "WORD_TEST_CHILD"
	early    = "refused from the start"
	late     = "refused after CanWaitAny"
	gives    = "gives"
)

func TestMain(m *testing.M) {
	if s := os.Getenv(childEnv); s != "" {
		if err := child(s); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(what string) error {
	if what == gives {
		words, err := mapWords(os.NewFile(3, "shared"))
		if err != nil {
			return err
		}
		for i := range uint32(100) {
			for words[0].Load() != i {
				words[0].Wait(words[0].Load(), time.Second)
			}
			words[1].Store(i + 1)
			words[1].Wake(1)
		}
		return nil
	}
	could := false
	if what == late {
		could = CanWaitAny()
	}
	if err := refuseWaitv(); err != nil {
		return err
	}
	if CanWaitAny() != could {
		return fmt.Errorf("CanWaitAny: %v", CanWaitAny())
	}
	var words [2]U32
	w := NewWaiters()
	for i := range words {
		w.Add(&words[i], 0)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		words[1].Store(1)
		words[1].Wake(1)
	}()
	start := time.Now()
	if i := w.Wait(-1); i != 1 {
		return fmt.Errorf("Wait returns %d", i)
	}
	if d := time.Since(start); d < 10*time.Millisecond {
		return fmt.Errorf("Wait returns after %v", d)
	}
	return nil
}

// refuseWaitv makes futex_waitv fail with EPERM, in all threads.
func refuseWaitv() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FUTEX_WAITV, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	if e != 0 {
		return fmt.Errorf("seccomp: %w", e)
	}
	return nil
}

func mapWords(f *os.File) (*[2]U32, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*[2]U32)(unsafe.Pointer(&b[0])), nil
}

// start runs this test binary as a child, which an emulator may not do.
func start(t *testing.T, what string, files ...*os.File) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a child process")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+what)
	cmd.ExtraFiles = files
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// TestWaitAnyRefused: a seccomp profile that refuses futex_waitv costs time,
// no wake-up.
func TestWaitAnyRefused(t *testing.T) {
	if !CanWaitAny() {
		t.Skip("no futex_waitv here at all")
	}
	for _, what := range []string{early, late} {
		if err := start(t, what).Wait(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestWaitAnyAcross: the words are in memory that two processes share, and the
// other one wakes.
func TestWaitAnyAcross(t *testing.T) {
	fd, err := unix.MemfdCreate("words", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "words")
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	words, err := mapWords(f)
	if err != nil {
		t.Fatal(err)
	}
	cmd := start(t, gives, f)
	var unused U32
	w := NewWaiters()
	begin := time.Now()
	for i := range uint32(100) {
		words[0].Store(i)
		words[0].Wake(1)
		for words[1].Load() != i+1 {
			w.Reset()
			w.Add(&unused, 0)
			w.Add(&words[1], i)
			w.Wait(10 * time.Second)
			if time.Since(begin) > 60*time.Second {
				cmd.Process.Kill()
				t.Fatalf("%d of 100 wake-ups", i)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > 9*time.Second {
		t.Errorf("100 round trips in %v: a wake-up that is lost costs 10 s", d)
	}
}
