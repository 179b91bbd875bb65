package chaos

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A tracee is a child whose main thread is traced: it stops at runtime.Breakpoint
// and goes on instruction by instruction. Its other threads run free, but for the
// one that would ask a goroutine to let others run after 10 ms, which is 500 steps.
//
// All methods belong to the thread that started it.
type tracee struct {
	pid     int
	monitor int // that thread
	ctl     *control
	hung    *time.Timer // kills a child that hangs
	killed  atomic.Bool // by us or by a timer
	gone    bool
	stepped bool
}

var errBlocked = errors.New("the traced thread blocks")

// launch starts a child and lets it run to its first breakpoint.
func launch(ctl *control, name string, files []*os.File, args ...string) (p *tracee, err error) {
	fds := []uintptr{0, 1, 2}
	for _, f := range files {
		fds = append(fds, f.Fd())
	}
	// The runtime's signals for preemption would only be noise, and a collection
	// would be the same work in each child.
	env := append(os.Environ(), childEnv+"="+name, "GODEBUG=asyncpreemptoff=1", "GOGC=off")
	everywhere(0)
	pid, err := syscall.ForkExec("/proc/self/exe", append([]string{"chaos"}, args...),
		&syscall.ProcAttr{Env: env, Files: fds, Sys: &syscall.SysProcAttr{Ptrace: true, Setpgid: true}})
	if err != nil {
		return nil, fmt.Errorf("start a traced child: %w", err)
	}
	p = &tracee{pid: pid, ctl: ctl}
	defer func() {
		if err != nil {
			p.kill()
		}
	}()
	p.hung = time.AfterFunc(10*patience, p.shoot) // step by step everything takes a while
	if err := p.wait(); err != nil {              // for the exec
		return p, err
	}
	if err := unix.PtraceSetOptions(pid, unix.PTRACE_O_EXITKILL); err != nil {
		return p, err
	}
	if err := p.resume(unix.PTRACE_CONT); err != nil {
		return p, fmt.Errorf("before the operation: %w", err)
	}
	if err := p.freeze(); err != nil {
		return p, fmt.Errorf("freeze sysmon: %w", err)
	}
	return p, nil
}

// needsTracing skips where processes may not be traced.
func needsTracing(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctl, page := newControl(t)
	p, err := launch(ctl, "stop", []*os.File{page})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Skip(err)
	}
	must(t, err)
	must(t, p.kill())
}

var _ = register("stop", func(*control, []string) { runtime.Breakpoint() })

// freeze stops the runtime's monitor, the first thread that it starts, in one of
// its sleeps.
func (p *tracee) freeze() error {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/task", p.pid))
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(2) // in the order of creation
	if err != nil || len(names) < 2 {
		return fmt.Errorf("threads %v: %w", names, err)
	}
	tid, err := strconv.Atoi(names[1])
	if err != nil {
		return err
	}
	if err := unix.PtraceSeize(tid); err != nil {
		return err
	}
	p.monitor = tid
	for range 1000 {
		var st unix.WaitStatus
		var r unix.PtraceRegs
		if err := unix.PtraceInterrupt(tid); err != nil {
			return err
		}
		if _, err := unix.Wait4(tid, &st, unix.WALL, nil); err != nil {
			return err
		}
		if err := unix.PtraceGetRegs(tid, &r); err != nil {
			return err
		}
		switch r.Orig_rax {
		case unix.SYS_NANOSLEEP, unix.SYS_FUTEX, unix.SYS_RESTART_SYSCALL:
			return nil
		}
		if err := unix.PtraceCont(tid, 0); err != nil {
			return err
		}
		time.Sleep(50 * time.Microsecond)
	}
	return errors.New("it never sleeps")
}

// wait waits for the next stop.
func (p *tracee) wait() error {
	var st unix.WaitStatus
	for {
		tid, err := unix.Wait4(-p.pid, &st, unix.WALL, nil) // its process group
		if err == unix.EINTR || err == nil && tid == p.monitor {
			continue // the monitor has died with the others, and is reaped by itself
		}
		if err != nil {
			return err
		}
		break
	}
	switch {
	case st.Stopped():
		if st.StopSignal() != unix.SIGTRAP {
			return fmt.Errorf("the child got signal %v", st.StopSignal())
		}
		return nil
	case st.Signaled() && p.killed.Load():
		p.gone = true
		return errBlocked
	}
	p.gone = true // by itself: what it had to say is on stderr
	return fmt.Errorf("the child ended by itself: %#x", st)
}

// resume lets the thread go on in the way of request, up to the next trap.
func (p *tracee) resume(request int) error {
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, uintptr(request), uintptr(p.pid), 0, 0, 0, 0); errno != 0 {
		if errno == unix.ESRCH && p.killed.Load() {
			return p.wait()
		}
		return fmt.Errorf("ptrace %d: %w", request, errno)
	}
	return p.wait()
}

// step runs one instruction. A system call is one.
func (p *tracee) step() error {
	p.near()
	return p.resume(unix.PTRACE_SINGLESTEP)
}

// near puts the two threads, which take turns from now on, on one CPU, where they do
// so fastest.
func (p *tracee) near() {
	if !p.stepped {
		p.stepped = true
		together(p.pid)
	}
}

// ended tells whether the operation has.
func (p *tracee) ended() bool { return p.ctl.done.Load() != 0 }

func (p *tracee) pc() (uintptr, error) {
	var r unix.PtraceRegs
	err := unix.PtraceGetRegs(p.pid, &r)
	return uintptr(r.Rip), err
}

// The debug registers in the user area.
const debugRegisters = 848

// runTo runs until the thread has come to pc for the nth time, by a breakpoint in
// a debug register, which is the thread's own and changes no code. It reports
// false if the operation ended before.
func (p *tracee) runTo(pc uintptr, nth int) (bool, error) {
	if here, err := p.pc(); err != nil {
		return false, err
	} else if here == pc { // where we are: before it, no instruction has run
		if nth--; nth == 0 {
			return true, nil
		}
	}
	poke := func(reg, v uintptr) error {
		var b [8]byte
		binary.NativeEndian.PutUint64(b[:], uint64(v))
		_, err := unix.PtracePokeUser(p.pid, debugRegisters+8*reg, b[:])
		return err
	}
	p.near()
	if err := errors.Join(poke(0, pc), poke(7, 1)); err != nil {
		return false, fmt.Errorf("debug registers: %w", err)
	}
	for ; nth > 0; nth-- {
		if err := p.resume(unix.PTRACE_CONT); err != nil {
			return false, err
		}
		if here, err := p.pc(); err != nil || here != pc {
			return false, err
		}
	}
	if err := poke(7, 0); err != nil { // steps may follow
		return false, fmt.Errorf("debug registers: %w", err)
	}
	return true, nil
}

// kill kills the child where it is, and waits until it is gone.
func (p *tracee) kill() error {
	defer p.hung.Stop()
	if p.gone {
		return nil
	}
	p.shoot()
	for !p.gone {
		if err := p.wait(); err != nil && !p.gone {
			return err
		}
	}
	return nil
}

func (p *tracee) shoot() {
	p.killed.Store(true)
	unix.Kill(p.pid, unix.SIGKILL)
}

// untilParked kills the child when the traced thread sleeps in the kernel, twice
// in a row when it is looked at. It returns what ends that.
func (p *tracee) untilParked() (stop func()) {
	over := make(chan struct{})
	go func() {
		for asleep := 0; asleep < 2; {
			select {
			case <-over:
				return
			case <-time.After(5 * time.Millisecond):
			}
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
			if _, after, _ := strings.Cut(string(b), ") "); strings.HasPrefix(after, "S") {
				asleep++
			} else {
				asleep = 0
			}
		}
		p.shoot()
	}()
	return func() { close(over) }
}

var cpus = func() (set unix.CPUSet) {
	unix.SchedGetaffinity(0, &set)
	return set
}()

// everywhere lets a thread run where it could in the beginning.
func everywhere(tid int) { unix.SchedSetaffinity(tid, &cpus) }

var turn atomic.Uint32

// together puts this thread and another one on one CPU.
func together(tid int) {
	n := int(turn.Add(1)) % max(cpus.Count(), 1)
	for i := range len(cpus) * 64 {
		if cpus.IsSet(i) {
			if n == 0 {
				var one unix.CPUSet
				one.Set(i)
				unix.SchedSetaffinity(0, &one)
				unix.SchedSetaffinity(tid, &one)
				return
			}
			n--
		}
	}
}

// An instruction is a place in the code of this binary, which the children share.
type instruction uintptr

// ours tells whether it belongs to the library.
func (i instruction) ours() bool {
	name := i.function()
	return strings.HasPrefix(name, "github.com/shmkit/shm/") && !strings.HasPrefix(name, chaosPackage)
}

// function returns the name of the one that it is in.
func (i instruction) function() string {
	if f := runtime.FuncForPC(uintptr(i)); f != nil {
		return f.Name()
	}
	return ""
}

// chaosPackage is the prefix of what is not the library.
var chaosPackage = reflect.TypeFor[control]().PkgPath() + "."

// known tells whether it belongs to this binary. The kernel's clock in the vDSO
// does not.
func (i instruction) known() bool { return runtime.FuncForPC(uintptr(i)) != nil }

// call tells whether it is a system call.
func (i instruction) call() bool {
	if !i.known() {
		return false
	}
	code := *(**[2]byte)(unsafe.Pointer(&i))
	return *code == [2]byte{0x0f, 0x05}
}

func (i instruction) String() string {
	f := runtime.FuncForPC(uintptr(i))
	if f == nil {
		return fmt.Sprintf("%#x", uintptr(i))
	}
	return fmt.Sprintf("%s+%#x", f.Name(), uintptr(i)-f.Entry())
}
