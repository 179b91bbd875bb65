//go:build linux

package bench

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A session is one of the two processes of a run. Side 0 is the parent, which
// says what is done next; the child follows.
type session struct {
	side     int
	dir      string
	page     *page
	in, out  *os.File // a pipe each way: for orders, and for the pipe scenarios
	meetings uint32
	rounds   int
	took     time.Duration // of the last timed part
	child    *exec.Cmd
}

const childEnv = "SHM_BENCH_DIR"

// Child runs the child's side if this process was started as one, and does not
// return then. Call it first in main or TestMain.
func Child() {
	dir := os.Getenv(childEnv)
	if dir == "" {
		return
	}
	s := &session{side: 1, dir: dir, in: os.NewFile(4, "orders"), out: os.NewFile(5, "answers")}
	fmt.Fprintln(os.Stderr, "bench child:", s.follow())
	os.Exit(1)
}

// A Run is a pair of processes that scenarios can be measured on.
type Run struct{ s *session }

// Start starts the child. This goroutine is tied to one CPU from then on.
func Start() (*Run, error) {
	dir, err := os.MkdirTemp("/dev/shm", "shm-bench-")
	if err != nil {
		return nil, err
	}
	s := &session{dir: dir}
	if err := s.start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return &Run{s}, nil
}

func (s *session) start() error {
	fd, err := unix.MemfdCreate("bench", unix.MFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("memfd_create", err)
	}
	mem := os.NewFile(uintptr(fd), "page")
	defer mem.Close()
	if err := mem.Truncate(1 << 16); err != nil {
		return err
	}
	if s.page, err = mapPage(mem); err != nil {
		return err
	}
	childIn, out, err := os.Pipe()
	if err != nil {
		return err
	}
	in, childOut, err := os.Pipe()
	if err != nil {
		return err
	}
	s.in, s.out = in, out
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.child = exec.Command(self)
	s.child.Env = append(os.Environ(), childEnv+"="+s.dir)
	s.child.ExtraFiles = []*os.File{mem, childIn, childOut}
	s.child.Stdout, s.child.Stderr = os.Stdout, os.Stderr
	s.child.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL} // it spins while it waits for us
	if err := s.child.Start(); err != nil {
		return err
	}
	childIn.Close()
	childOut.Close()
	return pin(0)
}

// follow does what the parent says until that ends this process.
func (s *session) follow() error {
	mem := os.NewFile(3, "page")
	var err error
	if s.page, err = mapPage(mem); err != nil {
		return err
	}
	if err := pin(1); err != nil {
		return err
	}
	for {
		var order [2]uint32
		if err := binary.Read(s.in, binary.NativeEndian, &order); err != nil {
			return err
		}
		if err := s.do(Scenarios()[order[0]], int(order[1])); err != nil {
			return err
		}
	}
}

// Measure runs the i-th scenario n times and returns nanoseconds an operation.
func (r *Run) Measure(i, n int) (float64, error) {
	s := r.s
	if err := binary.Write(s.out, binary.NativeEndian, [2]uint32{uint32(i), uint32(n)}); err != nil {
		return 0, err
	}
	if err := s.do(Scenarios()[i], n); err != nil {
		return 0, err
	}
	return float64(s.took.Nanoseconds()) / float64(n), nil
}

// Close ends the child.
func (r *Run) Close() {
	r.s.child.Process.Kill() // it may be waiting for us in the middle of a scenario that failed here
	r.s.child.Wait()
	os.RemoveAll(r.s.dir)
}

func (s *session) do(sc Scenario, n int) error {
	s.rounds++
	if s.side == 0 {
		s.page.reset()
	}
	s.took = 0
	s.meet()
	start := time.Now()
	if err := sc.run(s, n); err != nil {
		return fmt.Errorf("%s: %w", sc.Name, err)
	}
	if s.took == 0 { // a probe, which is nothing but the timed part
		s.took = time.Since(start)
	}
	s.meet()
	return nil
}

// timed is the part that counts: from when both sides are ready until both
// are done.
func (s *session) timed(f func() error) error {
	s.meet()
	start := time.Now()
	err := f()
	s.meet()
	s.took = time.Since(start)
	return err
}

func (s *session) meet() {
	s.meetings++
	s.page.together(s.side, s.meetings)
}

// rest waits for the other side to come to the next meeting, and leaves the CPU
// alone meanwhile: the two may be one core's.
func (s *session) rest() {
	for !s.page.came(1-s.side, s.meetings+1) {
		time.Sleep(100 * time.Microsecond)
	}
}

// name is a path that both sides make the same, new in each round.
func (s *session) name(what string) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s-%d", what, s.rounds))
}
