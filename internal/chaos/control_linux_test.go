package chaos

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A control is the page through which the test and its children talk. It survives
// all of them: what a child has stored is there when it was killed.
type control struct {
	stop atomic.Uint32 // the producer ends its work and closes
	done atomic.Uint32 // the traced operation has ended

	acked  atomic.Uint64 // the last number whose Send returned nil
	logged atomic.Uint64 // deliveries written to log
	taken  atomic.Uint64 // deliveries read from it

	mutations atomic.Uint64    // of a hostile child
	notes     [8]atomic.Uint64 // of its prey

	log [logSize]delivery
}

const logSize = 1 << 13

// newControl makes a control and the file that gives it to children.
func newControl(t testing.TB) (*control, *os.File) {
	t.Helper()
	fd, err := unix.MemfdCreate("chaos-control", unix.MFD_CLOEXEC)
	must(t, err)
	f := os.NewFile(uintptr(fd), "control")
	must(t, f.Truncate(int64(unsafe.Sizeof(control{}))))
	c, err := mapControl(fd)
	must(t, err)
	t.Cleanup(func() {
		f.Close()
		unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(c)), unsafe.Sizeof(*c)))
	})
	return c, f
}

func mapControl(fd int) (*control, error) {
	mem, err := unix.Mmap(fd, 0, int(unsafe.Sizeof(control{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*control)(unsafe.Pointer(unsafe.SliceData(mem))), nil
}

// append writes a delivery down. It is there once logged counts it.
func (c *control) append(d delivery) {
	n := c.logged.Load()
	for n-c.taken.Load() >= logSize { // the test is slower than we are
		time.Sleep(20 * time.Microsecond)
	}
	c.log[n%logSize] = d
	c.logged.Store(n + 1)
}

// check gives what was written down since the last call to the checker.
func (c *control) check(k *checker) error {
	for n := c.taken.Load(); n < c.logged.Load(); n++ {
		if err := k.deliver(c.log[n%logSize]); err != nil {
			return err
		}
		c.taken.Store(n + 1)
	}
	return nil
}

// reset forgets everything but the page itself. No child is alive.
func (c *control) reset() {
	c.stop.Store(0)
	c.done.Store(0)
	c.acked.Store(0)
	c.taken.Store(0)
	c.logged.Store(0)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// childEnv names what a process of this binary is to do instead of testing.
const childEnv = "SHM_CHAOS_CHILD"

// Descriptors of a child: the control, and for a pair its role.
const (
	controlFD = 3
	roleFD    = 4
)

var children = map[string]func(c *control, args []string){}

// register names what a child can do.
func register(name string, do func(c *control, args []string)) bool {
	children[name] = do
	return true
}

// childMain is called from init: so a child has started after a millisecond, without
// flags and tests.
func childMain() {
	name := os.Getenv(childEnv)
	if name == "" {
		return
	}
	c, err := mapControl(controlFD)
	if err != nil {
		fail("control: %v", err)
	}
	children[name](c, os.Args[1:])
	os.Exit(0)
}

// fail ends a child with a reason.
func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "child %d: %s\n", os.Getpid(), fmt.Sprintf(format, args...))
	os.Exit(3)
}
