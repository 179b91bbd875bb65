package bench

import (
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A page is the memory that both processes of a run share beside the channels
// under test. Each word has two cache lines to itself.
type page struct {
	meet [2]line // how many meetings a side has come to
	ball line    // one cache line back and forth
	ways [2]line // one line each way
	bell [2]line // futex words
}

type line struct {
	v uint32
	_ [124]byte
}

func mapPage(f *os.File) (*page, error) {
	size := int(unsafe.Sizeof(page{}))
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return (*page)(unsafe.Pointer(&b[0])), nil
}

// usable are the CPUs that this process had when it began.
var usable = func() (all unix.CPUSet) {
	unix.SchedGetaffinity(0, &all)
	return all
}()

// cpu is the first of them for side 0, and the last for side 1.
func cpu(side int) (one unix.CPUSet) {
	for cpu := range len(usable) * 64 {
		if usable.IsSet(cpu) {
			one.Zero()
			one.Set(cpu)
			if side == 0 {
				break
			}
		}
	}
	return one
}

// pin ties the calling goroutine to a thread and that to its side's CPU.
func pin(side int) error {
	runtime.LockOSThread()
	one := cpu(side)
	return os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(0, &one))
}

// together returns when both sides have come to the n-th meeting.
func (p *page) together(side int, n uint32) {
	atomic.StoreUint32(&p.meet[side].v, n)
	for spins := 0; !p.came(1-side, n); spins++ {
		if spins > 1000 {
			runtime.Gosched()
		}
	}
}

// came tells whether a side has come to meeting n.
func (p *page) came(side int, n uint32) bool { return atomic.LoadUint32(&p.meet[side].v) >= n }

// release is an ordinary store on amd64, as in internal/word, so that the
// probe pays no more than the library.
func release(p *uint32, v uint32) {
	if runtime.GOARCH == "amd64" {
		atomic.LoadUint32(p)
		*p = v
		return
	}
	atomic.StoreUint32(p, v)
}

// oneLine bounces one cache line n times.
func (p *page) oneLine(side, n int) {
	w := &p.ball.v
	for i := uint32(0); i < uint32(2*n); i += 2 {
		if side == 0 {
			release(w, i+1)
		}
		for want := i + 2 - uint32(side); atomic.LoadUint32(w) != want; {
		}
		if side == 1 {
			release(w, i+2)
		}
	}
}

// twoLines is oneLine with a line for each way.
func (p *page) twoLines(side, n int) {
	out, in := &p.ways[side].v, &p.ways[1-side].v
	for i := uint32(1); i <= uint32(n); i++ {
		if side == 0 {
			release(out, i)
		}
		for atomic.LoadUint32(in) != i {
		}
		if side == 1 {
			release(out, i)
		}
	}
}

// futexes is a ping-pong of two bare system call loops. Left alone, the answer
// often comes before the asker has parked, and FUTEX_WAIT returns at once; if
// each side holds its answer back for a while, both park each time.
func (p *page) futexes(side, n int, hold time.Duration) {
	out, in := &p.bell[side].v, &p.bell[1-side].v
	wake := func(i uint32) {
		busy(hold)
		atomic.StoreUint32(out, i)
		syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(out)), 1, 1, 0, 0, 0)
	}
	for i := uint32(1); i <= uint32(n); i++ {
		if side == 0 {
			wake(i)
		}
		for v := atomic.LoadUint32(in); v != i; v = atomic.LoadUint32(in) {
			syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(in)), 0, uintptr(v), 0, 0, 0)
		}
		if side == 1 {
			wake(i)
		}
	}
}

// busy returns after d. Nothing costs nothing: not even a look at the clock.
func busy(d time.Duration) {
	if d <= 0 {
		return
	}
	for start := time.Now(); time.Since(start) < d; {
	}
}

func (p *page) reset() {
	p.ball, p.ways, p.bell = line{}, [2]line{}, [2]line{}
}
