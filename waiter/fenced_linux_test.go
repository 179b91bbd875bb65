//go:build linux && !modelcheck

package waiter

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/internal/word"
)

// The fenced fallback, for real: a child process whose seccomp filter refuses
// membarrier, or the registration for it, plays with this process.

const (
	childEnv = "WAITER_TEST_CHILD" // membarrier commands to refuse, as a mask
	rounds   = 2000

	expedited = 1 << 1 // MEMBARRIER_CMD_GLOBAL_EXPEDITED
	register  = 1 << 2 // MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED
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

// refuse makes these membarrier commands fail with EPERM, in all threads.
func refuse(commands uint32) error {
	stmt := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	jump := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	filter := []unix.SockFilter{
		stmt(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0), // the number
		jump(unix.SYS_MEMBARRIER, 1, 0),
		stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW),
		stmt(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 16), // the low half of the first argument, little endian
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: commands, Jt: 0, Jf: 1},
		stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)),
		stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW),
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

func mapShared(f *os.File) (*pingPong, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, int(unsafe.Sizeof(pingPong{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*pingPong)(unsafe.Pointer(&b[0])), nil
}

func child(s string) error {
	var commands uint32
	if _, err := fmt.Sscan(s, &commands); err != nil {
		return err
	}
	commands &^= 1 << 31 // so that none at all is not empty
	if commands != 0 {
		if err := refuse(commands); err != nil {
			return err
		}
	}
	x, err := mapShared(os.NewFile(3, "shared"))
	if err != nil {
		return err
	}
	if got, want := word.RegisterMembarrier(), commands&register == 0; got != want {
		return fmt.Errorf("registered: %v", got)
	}
	if got, want := word.Membarrier(), commands&expedited == 0; got != want {
		return fmt.Errorf("membarrier: %v", got)
	}
	return x.echo(Park, rounds)
}

// TestFencedFallback: ping-pong with a process that cannot call membarrier,
// cannot be fenced by it, or both. A wake-up that is lost is a round of a
// second; the whole must be much quicker than that.
func TestFencedFallback(t *testing.T) {
	if !word.RegisterMembarrier() || !word.Membarrier() {
		t.Skip("no membarrier here at all")
	}
	for _, x := range []struct {
		name     string
		commands uint32
	}{
		{"nothing refused", 0},
		{"sleeper cannot fence others", expedited},
		{"publisher cannot be fenced", register},
		{"both", expedited | register},
	} {
		t.Run(x.name, func(t *testing.T) {
			fd, err := unix.MemfdCreate("waiter-test", unix.MFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			f := os.NewFile(uintptr(fd), "shared")
			defer f.Close()
			if err := f.Truncate(4096); err != nil {
				t.Fatal(err)
			}
			shared, err := mapShared(f)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", childEnv, x.commands|1<<31))
			cmd.ExtraFiles = []*os.File{f}
			var out strings.Builder
			cmd.Stderr = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			start := time.Now()
			done := make(chan error, 1)
			go func() {
				err := cmd.Wait()
				if err != nil {
					cancel()
				}
				done <- err
			}()
			perr := shared.play(ctx, Park, rounds)
			if perr != nil {
				cmd.Process.Kill()
			}
			if err := <-done; err != nil {
				if strings.Contains(out.String(), "seccomp") {
					t.Skip(out.String())
				}
				t.Fatalf("%v: %s", err, out.String())
			}
			if perr != nil {
				t.Fatal(perr)
			}
			t.Logf("%d rounds in %v; child's wish %#x answered %#x, ours %#x answered %#x", rounds, time.Since(start),
				shared.a.flag.Load()&wish, shared.a.ack.Load(), shared.b.flag.Load()&wish, shared.b.ack.Load())
			if !word.NeedsFence {
				return
			}
			if f := shared.a.flag.Load(); x.commands&expedited != 0 && (f&fence == 0 || shared.a.ack.Load() != f&wish) {
				t.Errorf("the child sleeps unfenced: flag %#x, ack %#x", f, shared.a.ack.Load())
			}
		})
	}
}
