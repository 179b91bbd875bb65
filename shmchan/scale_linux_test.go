package shmchan_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmkit/shm/internal/word"
	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// 10,000 take a descriptor and a mapping each, 40 MB of /dev/shm and 10 s.
var channels = flag.Int("channels", 2000, "how many `receivers` the test of scale opens in one process")

// tally is audit for a process that is no test.
func tally() account {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		panic(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		panic(err)
	}
	return account{runtime.NumGoroutine(), len(threads), len(fds), strings.Count(string(maps), " rw-s ")}
}

func init() {
	// many N: opens the receivers of N channels, each with a goroutine that is
	// blocked in Recv, in Select, or on Ready, and says what that costs.
	children["many"] = func(args []string) {
		debug.SetGCPercent(-1)
		var n int
		fmt.Sscan(args[0], &n)
		idle := shmchan.WithWait(waiter.Park)
		before := tally()
		var woken atomic.Int64
		blocked := func(i int) (*shmchan.Receiver[int], chan bool) {
			rx, err := shmchan.OpenReceiver[int](fmt.Sprint("many", i), idle)
			if err != nil {
				panic(err)
			}
			ended := make(chan bool)
			go func() {
				defer close(ended)
				for {
					var err error
					switch i % 4 {
					case 0, 1:
						_, err = rx.Recv(bg)
					case 2:
						<-rx.Ready()
						_, err = rx.TryRecv()
					case 3:
						if _, err = shmchan.Select(bg, rx, nil); err == nil {
							_, err = rx.TryRecv()
						}
					}
					switch kind(err) {
					case "ok":
						woken.Add(1)
					case "empty":
					default:
						return
					}
				}
			}()
			return rx, ended
		}
		rxs, ends := make([]*shmchan.Receiver[int], n), make([]chan bool, n)
		for i := range n {
			rxs[i], ends[i] = blocked(i)
		}
		for wait := time.Duration(0); wait < 100*time.Millisecond; { // until all are blocked
			used := cpuTime()
			time.Sleep(50 * time.Millisecond)
			wait = 0
			if cpuTime()-used < time.Millisecond {
				wait = time.Second
			}
		}
		used := cpuTime()
		time.Sleep(time.Second)
		used = cpuTime() - used
		fmt.Println(tally().threads, used, tally().descriptors-before.descriptors, tally().mappings-before.mappings)
		var line string
		fmt.Scanln(&line) // the sender has sent one on each
		for woken.Load() < int64(n) {
			time.Sleep(time.Millisecond)
		}
		fmt.Println(woken.Load())
		// Others come and go while the rest wait.
		for i := range n / 10 {
			rxs[i].Detach()
			<-ends[i]
			rxs[i], ends[i] = blocked(i)
		}
		fmt.Println("again")
		fmt.Scanln(&line)
		for woken.Load() < int64(2*n) {
			time.Sleep(time.Millisecond)
		}
		fmt.Println(woken.Load(), tally().threads)
		for i := range n {
			rxs[i].Close()
			<-ends[i]
		}
		rxs, ends = nil, nil
		var now account
		before.descriptors += 4 // Go's netpoller keeps its own
		for end := time.Now().Add(patience / 2); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			runtime.GC()
			now = tally()
			if now.goroutines <= before.goroutines && now.descriptors <= before.descriptors && now.mappings <= before.mappings+8 {
				break
			}
		}
		fmt.Println(now.goroutines-before.goroutines, now.descriptors-before.descriptors, now.mappings-before.mappings <= 8, now.threads)
		fmt.Scanln(&line)
	}
}

// Thousands of receivers wait in one process: few threads, no CPU time, each
// message finds its goroutine, and in the end nothing is left.
func TestThousandsOfReceivers(t *testing.T) {
	needsFiles(t)
	dir(t)
	num := *channels
	if testing.Short() {
		num = 200
	}
	txs := make([]*shmchan.Sender[int], num)
	for i := range txs {
		tx, err := shmchan.OpenSender[int](fmt.Sprint("many", i), shmchan.WithCapacity(2))
		must(t, err)
		defer tx.Close()
		txs[i] = tx
	}
	c := start(t, nil, "many", fmt.Sprint(num))
	said := func(want int, vs ...any) {
		t.Helper()
		line := c.line()
		if k, _ := fmt.Sscan(line, vs...); k != want {
			t.Fatalf("the child says %q", line)
		}
	}
	var threads, descriptors, mappings int
	var idle string
	said(4, &threads, &idle, &descriptors, &mappings)
	t.Logf("%d receivers: %d threads, %s of CPU time in an idle second, %d descriptors, %d mappings", num, threads, idle, descriptors, mappings)
	if threads > 100 {
		t.Errorf("%d threads", threads)
	}
	used, err := time.ParseDuration(idle)
	must(t, err)
	if used > 10*time.Millisecond && word.CanWaitAny() { // without it pollers poll
		t.Errorf("%v of CPU time in a second without messages", used)
	}
	if descriptors > num+10 {
		t.Errorf("%d descriptors for %d receivers", descriptors, num)
	}
	begin := time.Now()
	for i, tx := range txs {
		must(t, tx.TrySend(i))
	}
	c.say("sent")
	c.want(fmt.Sprint(num))
	t.Logf("all woken within %v", time.Since(begin))
	c.want("again")
	for i, tx := range txs {
		must(t, tx.TrySend(i))
	}
	c.say("sent")
	var woken int
	said(2, &woken, &threads)
	if woken != 2*num || threads > 100 {
		t.Errorf("%d messages, %d threads", woken, threads)
	}
	var goroutines, left int
	var unmapped bool
	said(4, &goroutines, &left, &unmapped, &threads)
	t.Logf("after Close: %d threads", threads)
	if goroutines > 0 || left > 0 || !unmapped || threads > 50 {
		t.Errorf("left over: %d goroutines, %d descriptors, mappings gone %v, %d threads", goroutines, left, unmapped, threads)
	}
	c.say("end")
	c.end()
}
