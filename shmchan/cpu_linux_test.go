package shmchan_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func init() {
	// idle WHAT: opens a channel, is blocked in WHAT for a time, says how much
	// CPU time that took.
	children["idle"] = func(args []string) {
		debug.SetGCPercent(-1)
		d, err := time.ParseDuration(args[1])
		if err != nil {
			panic(err)
		}
		side, where := "r", "fd"
		if args[0] == "send" {
			side = "s"
		}
		tx, rx, err := openEnd[int](side, where, parse(args[2:]))
		if err != nil {
			panic(err)
		}
		fmt.Println("open")
		os.Stdin.Read(make([]byte, 1))
		switch args[0] {
		case "recv":
			go rx.Recv(bg)
		case "ready":
			go func() {
				for range rx.Ready() {
					rx.TryRecv()
				}
			}()
		case "send":
			go func() {
				for tx.Send(bg, 1) == nil {
				}
			}()
		}
		time.Sleep(20 * time.Millisecond) // until it is blocked
		before := cpuTime()
		time.Sleep(d)
		fmt.Println(cpuTime() - before)
		os.Stdin.Read(make([]byte, 1))
	}
}

// A call that is blocked uses no more CPU time than one that sleeps.
func TestBlockedCallUsesNoCPUTime(t *testing.T) {
	d := 5 * time.Second
	if testing.Short() {
		d = time.Second
	}
	kinds := []string{"sleep", "recv adaptive", "recv park", "ready adaptive", "send adaptive", "send park"}
	cs := make([]*child, len(kinds))
	for i, k := range kinds {
		var what, policy string
		fmt.Sscan(k, &what, &policy)
		tx, rx := pair[int](t, options{})
		end := rx.File
		if what == "send" {
			end = tx.File
		}
		f, err := end()
		must(t, err)
		cs[i] = start(t, []*os.File{f}, "idle", what, d.String(), policy)
		must(t, f.Close())
		cs[i].want("open")
	}
	for _, c := range cs {
		c.say("")
	}
	var control time.Duration
	for i, c := range cs {
		used, err := time.ParseDuration(c.line())
		must(t, err)
		t.Log(kinds[i], used)
		if i == 0 {
			control = used
		} else if used > control+10*time.Millisecond {
			t.Errorf("%s: %v of CPU time in %v, a sleeping process used %v", kinds[i], used, d, control)
		}
	}
}
