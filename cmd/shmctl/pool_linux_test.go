package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// blocks is a named pool of two classes, of which one is used up.
func blocks(t *testing.T, name string) *slabpool.Pool {
	t.Helper()
	p, err := slabpool.Open(name, slabpool.Class{Size: 4096, Count: 4}, slabpool.Class{Size: 1 << 20, Count: 2})
	must(t, err)
	t.Cleanup(func() { p.Close() })
	for _, n := range []int{100, 1 << 20, 1 << 20} {
		_, err := p.TryAlloc(n)
		must(t, err)
	}
	return p
}

// bufs is a named Buf channel with both ends here.
func bufs(t *testing.T, name string, classes ...slabpool.Class) (*shmchan.BufSender, *shmchan.BufReceiver) {
	t.Helper()
	tx, err := shmchan.OpenBufSender(name, shmchan.WithPool(classes...))
	must(t, err)
	t.Cleanup(func() { tx.Close() })
	rx, err := shmchan.OpenBufReceiver(name)
	must(t, err)
	t.Cleanup(func() { rx.Close() })
	return tx, rx
}

func sendBuf(t *testing.T, tx *shmchan.BufSender, contents string) {
	t.Helper()
	b, err := tx.Loan(context.Background(), len(contents))
	must(t, err)
	copy(b.Bytes(), contents)
	must(t, tx.Send(context.Background(), b))
}

func TestPool(t *testing.T) {
	here(t)
	p := blocks(t, "blocks")
	contains(t, ok(t, "ls"), "blocks  pool  6    3 (99%)  1 owner", "4 × 4 KiB, 2 × 1 MiB")
	var list []entry
	must(t, json.Unmarshal([]byte(ok(t, "ls", "--json")), &list))
	if e := list[0]; len(list) != 1 || e.Kind != "pool" || e.Capacity != 6 || e.Fill != 3 || e.Owners != 1 || len(e.Pool) != 2 {
		t.Errorf("%+v", list)
	}

	contains(t, ok(t, "stat", "blocks"), "in use    3 of 6 blocks (99% of the bytes)",
		"CLASS         BLOCKS     IN USE     CACHED       FREE    AT MOST     FAILED\n4 KiB              4          1          0          3          1          0\n1 MiB              2          2          0          0          2          0",
		"3  2.004 MiB  attached, alive")
	var r poolReport
	must(t, json.Unmarshal([]byte(ok(t, "stat", "blocks", "--json")), &r))
	if r.Kind != "pool" || r.Classes[1] != (classReport{1 << 20, 2, 2, 0, 0, 2, 0}) || len(r.Owners) != 1 || r.Owners[0].Blocks != 3 || r.Owners[0].Bytes != 2<<20+4096 || r.Owners[0].PID != os.Getpid() {
		t.Errorf("%+v", r)
	}
	fails(t, []string{"stat", "blocks", "--watch"}, "--watch is for channels")
	fails(t, []string{"tail", "blocks"}, "is a pool of blocks")
	fails(t, []string{"doctor", "blocks", "--span", "10ms"}, "owner 0", "3 blocks (2.004 MiB)", "warn  class 1 MiB", "none is free")
	_, err := p.TryAlloc(1 << 20)
	if err == nil {
		t.Fatal("a third block of two")
	}
	contains(t, ok(t, "stat", "blocks"), "1 MiB              2          2          0          0          2          1")
	fails(t, []string{"rm", "blocks"}, "in use")
}

// The blocks of a process that was killed are told until somebody has swept.
func TestPoolOfTheDead(t *testing.T) {
	here(t)
	holder := holder(t, poolChild+"blocks")
	contains(t, ok(t, "stat", "blocks"), "attached, alive")
	must(t, holder.Process.Signal(syscall.SIGKILL))
	holder.Wait()
	until(t, "the death", func() bool { return strings.Contains(ok(t, "stat", "blocks"), " dead ") })
	contains(t, ok(t, "ls"), "0 owners, 1 dead")
	fails(t, []string{"doctor", "blocks", "--span", "10ms"}, "ended without Close and has 1 blocks (4 KiB)", "no living process uses it")
}

func TestBufChannel(t *testing.T) {
	here(t)
	tx, rx := bufs(t, "frames", slabpool.Class{Size: 4096, Count: 2})
	contains(t, ok(t, "ls"), "buf channel", "Buf (2 × 4 KiB)")
	sendBuf(t, tx, "short")
	sendBuf(t, tx, "frame"+strings.Repeat(".", 995))
	out := ok(t, "stat", "frames")
	contains(t, out, "type      Buf", "0 (full, or no block)", "4 KiB              2          1          0          1          1          0")
	var r report
	must(t, json.Unmarshal([]byte(ok(t, "stat", "frames", "--json")), &r))
	if r.Fill != 2 || len(r.Pool) != 1 || r.Pool[0].InUse != 1 {
		t.Errorf("%+v", r)
	}

	want := "0  5 bytes in the slot: 73686f7274\n1  1000 bytes in block 0 of class 4 KiB: 6672616d652e2e2e2e2e2e2e2e2e2e2e…\n"
	if out := ok(t, "tail", "frames", "--last", "2"); out != want {
		t.Errorf("%s", out)
	}
	contains(t, ok(t, "tail", "frames", "--last", "2", "--hex", "--bytes", "20"), "1  1000 bytes in block 0", "|frame...........|", "00000010  2e 2e 2e 2e   ")
	lines := strings.Split(ok(t, "tail", "frames", "--last", "2", "--json", "--bytes", "5"), "\n")
	contains(t, lines[0], `{"position":0,"skipped":0,"value":{"length":5,"inline":true,"bytes":"73686f7274"}}`)
	contains(t, lines[1], `"length":1000,"inline":false,"block":{"class":0,"class_bytes":4096,"index":0,"generation":`, `"bytes":"6672616d65"}}`)
	fails(t, []string{"tail", "frames", "--bytes", "0"}, "want 1 to")

	for range 2 {
		b, err := rx.Recv(context.Background())
		must(t, err)
		must(t, b.Release())
	}
	// Elsewhere than on amd64 a message that was taken is not given at all.
	if out := ok(t, "tail", "frames", "--last", "1"); out != "" && out != "1  1000 bytes in block 0 of class 4 KiB, released before it could be read\n" {
		t.Errorf("%q", out)
	}
	contains(t, ok(t, "doctor", "frames", "--span", "10ms"), "class 4 KiB    0 of 2 blocks in use")
	for range 2 {
		_, err := tx.Loan(context.Background(), 4096)
		must(t, err)
	}
	fails(t, []string{"doctor", "frames", "--span", "10ms"}, "2 of 2 blocks in use", "none is free")
}

// Whatever is in the memory of a pool, the tool says something and ends.
func TestHostilePool(t *testing.T) {
	dir := here(t)
	blocks(t, "blocks")
	bufs(t, "frames", slabpool.Class{Size: 4096, Count: 2})
	good := map[string][]byte{}
	for _, name := range []string{"blocks", "frames"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		good[name] = b
	}
	for name, b := range good {
		for at := 4096; at < min(len(b), 3*4096); at += 512 {
			bad := append([]byte(nil), b...)
			for i := range 512 {
				bad[at+i] = 0xff
			}
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
			must(t, err)
			_, err = f.WriteAt(bad, 0)
			must(t, err)
			f.Close()
			for _, args := range [][]string{{"ls"}, {"stat", name}, {"tail", name, "--last", "3"}, {"doctor", name, "--span", "10ms"}} {
				if out, errs, _ := run(t, args...); out+errs == "" && args[0] != "tail" || strings.Contains(errs, "goroutine ") {
					t.Errorf("%s damaged at %d: shmctl %q says %q, %q", name, at, args, out, errs)
				}
			}
		}
	}
}
