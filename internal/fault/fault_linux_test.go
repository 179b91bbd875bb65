package fault

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/internal/word"
)

// gone maps a page of a file and cuts the file off.
func gone(t testing.TB) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	return mem
}

// Each way in which the library touches shared memory.
func TestCatch(t *testing.T) {
	mem := gone(t)
	u32, u64 := (*word.U32)(unsafe.Pointer(&mem[64])), (*word.U64)(unsafe.Pointer(&mem[64]))
	var to [4096]byte
	for what, touch := range map[string]func(){
		"read":     func() { to[0] = mem[64] },
		"write":    func() { mem[64] = 1 },
		"copy in":  func() { copy(mem, to[:]) },
		"copy out": func() { copy(to[:], mem) },
		"clear":    func() { clear(mem) },
		"message":  func() { *(*[1000]byte)(unsafe.Pointer(&mem[64])) = [1000]byte{} },
		"load":     func() { u64.Load() },
		"store":    func() { u64.Store(1) },
		"release":  func() { u64.StoreRelease(1) },
		"release4": func() { u32.StoreRelease(1) },
		"swap":     func() { u64.CompareAndSwap(0, 1) },
		"add":      func() { u32.Add(1) },
		"futex":    func() { u32.Wait(0, -1) }, // EFAULT, then a look
	} {
		t.Run(what, func(t *testing.T) {
			deferred, after := false, false
			addr, faulted := Catch(func() {
				defer func() { deferred = true }()
				touch()
				after = true
			}, nil)
			base := uintptr(unsafe.Pointer(&mem[0]))
			if !faulted || addr < base || addr >= base+4096 || !deferred || after {
				t.Fatalf("%v at %#x, memory at %#x; deferred ran %v, went on %v", faulted, addr, base, deferred, after)
			}
		})
	}
	if n := u32.Wake(1); n != 0 { // no fault in the kernel
		t.Fatal(n)
	}
	if _, faulted := Catch(func() {}, nil); faulted {
		t.Fatal("no fault")
	}
}

func TestCatchLetsOthersThrough(t *testing.T) {
	mem := gone(t)
	panics := func(f func()) (p any) {
		defer func() { p = recover() }()
		Catch(f, func(uintptr) bool { return false })
		return nil
	}
	if p := panics(func() { mem[0]++ }); p == nil {
		t.Error("a fault that is not ours was swallowed")
	}
	if p := panics(func() { panic("boom") }); p != "boom" {
		t.Error(p)
	}
	var none *[100]int
	if p := panics(func() { none[3]++ }); p == nil {
		t.Error("a nil pointer was swallowed")
	}
}

func BenchmarkCatch(b *testing.B) {
	n := 0
	for b.Loop() {
		Catch(func() { n++ }, nil)
	}
}
