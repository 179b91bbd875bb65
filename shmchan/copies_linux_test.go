package shmchan_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/shmchan"
)

// A second copy of a descriptor is tried while the first one's receiver is at
// work: what it looks at before it is told ErrBusy, it leaves as it is.
func TestSecondCopyWritesNothing(t *testing.T) {
	needsFiles(t)
	for i := range n(600) {
		tx, rx, err := shmchan.Pair[int](shmchan.WithCapacity(1 << 16))
		must(t, err)
		f, err := rx.File()
		must(t, err)
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		must(t, err)
		g := os.NewFile(uintptr(fd), "copy")
		for j := range 3 {
			must(t, tx.TrySend(j))
		}
		second := goes(func() error {
			r2, err := shmchan.ReceiverFromFile[int](g)
			if err == nil {
				r2.Detach()
			}
			return err
		})
		r1, err := shmchan.ReceiverFromFile[int](f)
		if err != nil { // the second was first
			result(t, second)
			f.Close()
			g.Close()
			tx.Close()
			continue
		}
		for range 3 {
			_, err := r1.TryRecv()
			must(t, err)
		}
		result(t, second)
		g.Close()
		if n := r1.Len(); n != 0 {
			t.Fatalf("round %d: Len %d after all were taken", i, n)
		}
		r1.Close()
		tx.Close()
	}
}
