package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan"
)

func TestEveryCommandHelps(t *testing.T) {
	contains(t, ok(t, "--help"), "Examples:", "--dir")
	for _, c := range root().Commands() {
		out := ok(t, c.Name(), "--help")
		contains(t, out, "Usage:", "Examples:", "shmctl "+c.Name())
	}
	fails(t, []string{"nonsense"}, `unknown command "nonsense"`)
	fails(t, []string{"ls", "--nonsense"}, "unknown flag")
	fails(t, []string{"stat"}, "accepts 1 arg")
	fails(t, []string{"ls", "--dir", "/nonsense"}, "--dir: ", "/nonsense")
}

func TestLs(t *testing.T) {
	dir := here(t)
	out, errs, code := run(t, "ls")
	if out != "" || !strings.HasPrefix(errs, "nothing in "+dir) || code != 0 {
		t.Errorf("%q, %q, %d", out, errs, code)
	}
	if out := ok(t, "ls", "--json"); out != "[]\n" {
		t.Error(out)
	}
	tx, _ := pair(t, "ticks", shmchan.WithCapacity(8))
	send(t, tx, 3)
	must(t, os.WriteFile(filepath.Join(dir, "broken"), make([]byte, 9000), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "broken.lock"), nil, 0o600))
	other, err := region.Open("other", 0, region.Config{Roles: 1, Sections: []region.Section{{Kind: region.KindPool, Size: 64}, {Kind: 77, Size: 64, Version: 3}}})
	must(t, err)
	defer other.Unmap()

	self := fmt.Sprintf("%d shmctl.test", os.Getpid())
	out = ok(t, "ls")
	contains(t, out, "NAME", "ticks", "channel", "3 (37%)", self, "tick{Symbol [4]uint8 @0; Price float64 @8} size 16 align 8", "8 KiB",
		"broken", "corrupt", "shmctl doctor broken", "other", "pool v0 64 B, kind 77 v3 64 B")

	var list []entry
	must(t, json.Unmarshal([]byte(ok(t, "ls", "--json")), &list))
	if len(list) != 3 {
		t.Fatalf("%+v", list)
	}
	e := list[2]
	if e.Name != "ticks" || e.Capacity != 8 || e.Fill != 3 || e.Sender == nil || e.Sender.PID != os.Getpid() || e.Sender.Life != "alive" || !e.Sender.Sure || e.Sender.Command != "shmctl.test" {
		t.Errorf("%+v %+v", e, e.Sender)
	}
	if list[1].Kind != "pool" || list[0].Kind != "corrupt" || list[0].Error == "" {
		t.Errorf("%+v", list)
	}
	// The same by --dir, from elsewhere.
	t.Setenv(dirEnv, "/")
	contains(t, ok(t, "ls", "--dir", dir), "ticks   channel")
	t.Setenv(dirEnv, "/nonsense")
	fails(t, []string{"ls"}, "--dir or $SHMCHAN_DIR")
}

func TestStat(t *testing.T) {
	here(t)
	tx, rx := pair(t, "ticks", shmchan.WithCapacity(4))
	send(t, tx, 4)
	if err := tx.TrySend(tick{}); err == nil {
		t.Fatal("there is room")
	}
	_, err := rx.Recv(context.Background())
	must(t, err)
	out := ok(t, "stat", "ticks")
	contains(t, out, "fill      3 of 4 (75%), at most 4 seen", "sent 4, received 1, lost 0", "attached, alive", "(channel full)", "refused   1 ", "1 (0 takeovers, 0 deaths)")
	var r report
	must(t, json.Unmarshal([]byte(ok(t, "stat", "ticks", "--json")), &r))
	if r.Sent != 4 || r.Received != 1 || r.Fill != 3 || r.High != 4 || r.Sender.Refused != 1 || r.Receiver.Claims != 1 || r.Sender.PID != os.Getpid() {
		t.Errorf("%+v", r)
	}
	out = ok(t, "stat", "ticks", "--watch", "-n", "2", "--interval", "10ms")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], "TIME") || !strings.Contains(lines[2], "75%") {
		t.Error(out)
	}
	out = ok(t, "stat", "ticks", "--watch", "-n", "2", "--interval", "10ms", "--json")
	for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
		var r rate
		must(t, json.Unmarshal([]byte(l), &r))
		if r.Fill != 3 || r.Percent != 75 {
			t.Errorf("%+v", r)
		}
	}
	fails(t, []string{"stat", "none"}, `there is no "none"`, "shmctl ls", "--dir")
	fails(t, []string{"stat", "ticks", "--watch", "--interval", "1ns"}, "too short")

	other, err := region.Open("other", 0, region.Config{Roles: 1, Sections: []region.Section{{Kind: 77, Size: 64}}})
	must(t, err)
	defer other.Unmap()
	contains(t, ok(t, "stat", "other"), "kind 77 v0 64 B", "role 0", "attached, alive")
	contains(t, ok(t, "stat", "other", "--json"), `"kind": "region"`)
	fails(t, []string{"stat", "other", "--watch"}, "not a channel of this version")
}

func TestTail(t *testing.T) {
	here(t)
	tx, rx := pair(t, "ticks", shmchan.WithCapacity(4))
	send(t, tx, 3)
	if out := ok(t, "tail", "ticks", "--old", "-n", "2"); out != "0  {Symbol:[83 0 0 0] Price:0}\n1  {Symbol:[83 0 0 0] Price:1}\n" {
		t.Error(out)
	}
	if out := ok(t, "tail", "ticks", "--old", "-n", "1", "--json"); out != `{"position":0,"skipped":0,"value":{"Symbol":[83,0,0,0],"Price":0}}`+"\n" {
		t.Error(out)
	}
	if out := ok(t, "tail", "ticks", "--old", "-n", "1", "--hex"); out != "0  00000000  53 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |S...............|\n" {
		t.Error(out)
	}
	if out := ok(t, "tail", "ticks", "--last", "2"); out != "1  {Symbol:[83 0 0 0] Price:1}\n2  {Symbol:[83 0 0 0] Price:2}\n" {
		t.Error(out)
	}
	fails(t, []string{"tail", "ticks", "--last", "2", "--old"}, "neither --old nor --count")
	if rx.Len() != 3 {
		t.Error("something was taken")
	}
	fails(t, []string{"tail", "ticks", "--hex", "--json"}, "exclude each other")
	fails(t, []string{"tail", "none"}, "there is no")
	fails(t, []string{"tail", "ticks", "--interval", "0"}, "more than 0")

	// It ends by itself when the sender has closed, and shows what came before.
	for range 2 {
		_, err := rx.Recv(context.Background())
		must(t, err)
	}
	must(t, tx.Close())
	contains(t, ok(t, "tail", "ticks", "--old"), "2  {Symbol:[83 0 0 0] Price:2}\n")
	if out := ok(t, "tail", "ticks"); out != "" {
		t.Error(out)
	}
}

func TestDoctor(t *testing.T) {
	dir := here(t)
	contains(t, ok(t, "doctor"), "ok    kernel", "futex_waitv", "membarrier", "memfd", "seccomp", "BPF", "locks")
	fails(t, []string{"doctor", "none"}, `there is no "none"`)

	tx, rx := pair(t, "well")
	send(t, tx, 2)
	doctor := func(name string) []string { return []string{"doctor", name, "--span", "20ms"} }
	contains(t, ok(t, doctor("well")...), "every slot is sound; 2 of 1024 messages wait", "attached, alive")
	contains(t, ok(t, append(doctor("well"), "--json")...), `"level": "ok"`)

	must(t, tx.Detach())
	fails(t, doctor("well"), "nobody is attached (detached)", "the receiver waits for one")
	must(t, rx.Detach())
	fails(t, doctor("well"), "stale: no living process uses it", "shmctl rm well")
	contains(t, ok(t, "doctor"), "warn  name           well: no living process uses it", "0 of 1 in")

	h := holder(t, "held")
	fails(t, doctor("held"), "nobody is attached (free)", "ok    sender")
	must(t, h.Process.Signal(syscall.SIGSTOP))
	until(t, "stopped", func() bool { out, _, _ := run(t, doctor("held")...); return strings.Contains(out, "is stopped") })
	fails(t, doctor("held"), "kill -CONT")
	must(t, h.Process.Kill())
	h.Wait()
	fails(t, doctor("held"), fmt.Sprintf("process %d ended without Close; 3 messages wait", h.Process.Pid), "goes on exactly where the dead one stopped")

	must(t, os.WriteFile(filepath.Join(dir, "broken"), make([]byte, 9000), 0o600))
	fails(t, doctor("broken"), "FAIL  header", "shmctl rm broken")
	must(t, os.Remove(filepath.Join(dir, "well.lock")))
	fails(t, doctor("well"), "warn  locks", "no such file")
	fails(t, []string{"doctor", "well", "--span", "1ms"}, "too short")
	t.Setenv(dirEnv, "/nonsense")
	fails(t, []string{"doctor"}, "FAIL  names", "mount a tmpfs there")
}

// A full channel whose receiver takes nothing, and one that is slow.
func TestDoctorOfSlowness(t *testing.T) {
	here(t)
	tx, rx := pair(t, "slow", shmchan.WithCapacity(4))
	send(t, tx, 4)
	fails(t, []string{"doctor", "slow", "--span", "20ms"}, "took nothing in", "stuck outside of the library")
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		for tx.Send(ctx, tick{}) == nil {
		}
	}()
	defer func() { cancel(); <-done }()
	stop := make(chan struct{})
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		for {
			select {
			case <-stop:
				return
			default:
				rx.TryRecv()
				syscall.Nanosleep(&syscall.Timespec{Nsec: 1e6}, nil)
			}
		}
	}()
	defer func() { close(stop); <-taken }()
	until(t, "slow, at the instant of a look", func() bool {
		out, _, code := run(t, "doctor", "slow", "--span", "200ms")
		return code == 1 && strings.Contains(out, "is slower than the sender") && strings.Contains(out, "RecvBatch")
	})
}

func TestRm(t *testing.T) {
	dir := here(t)
	tx, _ := pair(t, "ticks")
	fails(t, []string{"rm", "ticks"}, "ticks is in use by process", "shmctl.test", "--force")
	send(t, tx, 1)
	if out := ok(t, "rm", "--force", "ticks"); out != "removed ticks\n" {
		t.Error(out)
	}
	if err := tx.Send(context.Background(), tick{}); err == nil {
		t.Error("the sender was not told")
	}
	must(t, os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "broken.lock"), nil, 0o600))
	ok(t, "rm", filepath.Join(dir, "broken"))
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	lock := filepath.Join(dir, "lost.lock")
	must(t, os.WriteFile(lock, nil, 0o600))
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(lock, old, old))
	contains(t, ok(t, "doctor"), lock+" belongs to nothing", "shmctl rm lost")
	ok(t, "rm", "lost")
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	pair(t, "again")
	fails(t, []string{"rm", "none", "again"}, `there is no "none"`, "again is in use")
}

func TestBench(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	out := ok(t, "bench", "--rounds", "1", "--only", "round trip 8 B, spin")
	contains(t, out, "× C2C", "c2c", "round trip 8 B, spin", " ns")
	var figures []figure
	must(t, json.Unmarshal([]byte(ok(t, "bench", "--rounds", "1", "--only", "c2c, a line", "--json")), &figures))
	if len(figures) != 2 || figures[1].Nanos <= 0 || figures[1].Ratio <= 0 {
		t.Errorf("%+v", figures)
	}
	fails(t, []string{"bench", "--only", "nonsense"}, "no scenario has")
	fails(t, []string{"bench", "--rounds", "0"}, "want 1 or more")
}

func TestCompletion(t *testing.T) {
	here(t)
	pair(t, "ticks")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if len(ok(t, "completion", shell)) < 1000 {
			t.Errorf("no script for %s", shell)
		}
	}
	if lines := strings.Split(ok(t, "__complete", "stat", ""), "\n"); !slices.Contains(lines, "ticks") {
		t.Errorf("%q", lines)
	}
}
