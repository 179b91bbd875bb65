//go:build linux && (amd64 || arm64)

package chantrace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
	"golang.org/x/sys/unix"
)

// uncontended skips the rest of a test that counts exactly if another program
// (a second tracer, say) kept this one from asking where a word lies.
func uncontended(t *testing.T, tr *Tracer) {
	t.Helper()
	l, err := tr.Lost()
	must(t, err)
	if l.Contended > 0 {
		t.Skipf("lost %+v: another tracer is at work on this machine", l)
	}
}

func TestWokenWaitsAreCounted(t *testing.T) {
	tr := attach(t, Options{})
	b := newBed(t)
	const n = 20
	began := time.Now()
	for range n {
		b.sleepAndWake(0)
	}
	took := time.Since(began)
	uncontended(t, tr)

	w := b.stats(tr, 0)
	if w.Woken != n || w.Waits() != n || w.Run.Count() != n || w.Park.Count() != n-1 {
		t.Errorf("%d woken of %d waits, %d in Run, %d in Park; want %d, %[5]d, %[5]d and one less", w.Woken, w.Waits(), w.Run.Count(), w.Park.Count(), n)
	}
	if w.ParkTime <= 0 || w.RunTime <= 0 || w.ParkTime+w.RunTime > took {
		t.Errorf("parked %v and woken %v in all, the test took %v", w.ParkTime, w.RunTime, took)
	}
	if q := w.Park.Quantile(1); q < w.ParkTime/n || q > 2*took {
		t.Errorf("longest park %v, the mean is over %v and the test took %v", q, w.ParkTime/n, took)
	}
	if w.Waiter.PID != b.pid || w.Waiter.TID != b.tid || w.Waker.PID != os.Getpid() {
		t.Errorf("waiter %v, waker %v; want %d thread %d and %d", w.Waiter, w.Waker, b.pid, b.tid, os.Getpid())
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", b.pid))
	must(t, err)
	if w.Waiter.Comm != strings.TrimSpace(string(comm)) {
		t.Errorf("waiter is called %q, want %q", w.Waiter.Comm, comm)
	}
	if other := b.stats(tr, 1); other.Waits() != 0 {
		t.Errorf("another word has %d waits", other.Waits())
	}
}

func TestTimeLimits(t *testing.T) {
	tr := attach(t, Options{})
	b := newBed(t)
	const n, limit = 10, 40 * time.Millisecond
	for range n {
		b.say("wait 1 0 %d", limit)
		b.want(unix.ETIMEDOUT)
	}
	uncontended(t, tr)
	w := b.stats(tr, 1)
	if w.TimedOut != n || w.Waits() != n {
		t.Errorf("%s, want %d timed out", w.ends(), n)
	}
	if got := w.Park.Quantile(0); got < limit*2/3 {
		t.Errorf("shortest park %v, want about %v or more", got, limit)
	}
	// One with a limit that is woken before it.
	b.say("wait 1 0 %d", patience)
	b.asleep()
	b.wake(1)
	b.want(0)
	uncontended(t, tr)
	if w := b.stats(tr, 1); w.TimedOut != n || w.Woken != 1 {
		t.Errorf("%s, want %d timed out and 1 woken", w.ends(), n)
	}
}

func TestSignals(t *testing.T) {
	tr := attach(t, Options{})
	b := newBed(t)
	const n = 5
	b.say("wait 0 0 -1")
	for i := range n {
		b.asleep()
		must(t, unix.Tgkill(b.pid, b.tid, unix.SIGUSR1))
		for end := time.Now().Add(patience); b.stats(tr, 0).Signalled != uint64(i+1) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
	b.asleep() // the call starts anew after each
	b.wake(0)
	b.want(0)
	uncontended(t, tr)
	if w := b.stats(tr, 0); w.Signalled != n || w.Woken != 1 || w.Waits() != n+1 {
		t.Errorf("%s, want %d by a signal and 1 woken", w.ends(), n)
	}
}

func TestKilledInItsSleep(t *testing.T) {
	tr := attach(t, Options{})
	b := newBed(t)
	b.sleepAndWake(0)
	b.say("wait 0 0 -1")
	b.asleep()
	must(t, unix.Kill(b.pid, unix.SIGKILL))
	if b.out.Scan() {
		t.Fatal("still there")
	}
	uncontended(t, tr)
	if w := b.stats(tr, 0); w.Signalled != 1 || w.Woken != 1 || w.Park.Count() != 1 {
		t.Errorf("%s, %d parks; want one woken and one by a signal, with its park", w.ends(), w.Park.Count())
	}
}

func TestManyWords(t *testing.T) {
	tr := attach(t, Options{})
	b := newBed(t)
	before, err := tr.Lost()
	must(t, err)
	for range 3 {
		b.say("waitv -1")
		b.asleep()
		b.wake(1)
		b.want(0)
	}
	uncontended(t, tr)
	if w := b.stats(tr, 1); w.Woken != 3 || w.Waits() != 3 || w.Park.Count() != 2 || w.Address != 0 {
		l, _ := tr.Lost()
		t.Errorf("%s, %d parks, address %#x; want 3 woken, 2 parks, none; lost %+v, before %+v", w.ends(), w.Park.Count(), w.Address, l, before)
	}
	if w := b.stats(tr, 0); w.Waits() != 0 {
		t.Errorf("the word that was not woken: %s", w.ends())
	}
	b.say("waitv %d", 50*time.Millisecond)
	b.want(unix.ETIMEDOUT)
	if l, err := tr.Lost(); err != nil || l.Many <= before.Many {
		t.Errorf("lost %+v, %v; want one more in Many than %d", l, err, before.Many)
	}
}

func TestSystemCalls(t *testing.T) {
	tr := attach(t, Options{Syscalls: true})
	b := newBed(t)
	for range 4 {
		b.say("wait 0 1 -1")
		b.want(unix.EAGAIN)
		b.wake(0)
	}
	b.sleepAndWake(0)
	w := b.stats(tr, 0)
	l, err := tr.Lost()
	must(t, err)
	off := l.Memory + l.Contended // of the whole machine
	for _, c := range []struct {
		what      string
		got, want uint64
	}{{"refused", w.Refused, 4}, {"wakes", w.Wakes, 5}, {"wasted", w.Wasted, 4}, {"woken", w.Woken, 1}} {
		if c.got > c.want || c.got+off < c.want {
			t.Errorf("%d %s, want %d; lost %+v", c.got, c.what, c.want, l)
		}
	}
}

func TestFullTable(t *testing.T) {
	tr := attach(t, Options{MaxWords: 1})
	b := newBed(t)
	for i := range 3 {
		b.sleepAndWake(i)
	}
	l, err := tr.Lost()
	must(t, err)
	words, err := tr.Snapshot()
	must(t, err)
	if len(words) != 1 || l.Full < 2 {
		t.Errorf("%d words, %+v lost; want 1 word and at least 2 in Full", len(words), l)
	}
}

func TestDetaches(t *testing.T) {
	need(t)
	ctx, cancel := context.WithCancel(t.Context())
	tr, err := Attach(ctx, Options{MaxWords: 1 << 13})
	must(t, err)
	b := newBed(t)
	b.sleepAndWake(0)
	cancel()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		tr.mu.Lock()
		n := len(tr.links)
		tr.mu.Unlock()
		if n == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("still attached long after the context ended")
		}
	}
	b.sleepAndWake(0)
	if w := b.stats(tr, 0); w.Woken != 1 {
		t.Errorf("%d woken, want those before the end of the context, 1", w.Woken)
	}
	must(t, tr.Close())
	must(t, tr.Close())
	if _, err := tr.Snapshot(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Snapshot after Close: %v", err)
	}
	if _, err := tr.Lost(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Lost after Close: %v", err)
	}
}

func TestAttachRefuses(t *testing.T) {
	if _, err := Attach(t.Context(), Options{MaxWords: -1}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("MaxWords -1: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	if _, err := Attach(ctx, Options{}); !errors.Is(err, why) {
		t.Errorf("context that is done: %v", err)
	}
}

// withCapabilities runs f on a thread that has only these.
func withCapabilities(t *testing.T, f func(), caps ...uint) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		for _, c := range caps {
			data[c/32].Effective |= 1 << (c % 32)
			data[c/32].Permitted |= 1 << (c % 32)
		}
		err := unix.Capset(&hdr, &data[0])
		if err == nil {
			f()
		}
		done <- err
	}()
	must(t, <-done)
}

func TestTwoCapabilitiesAreEnough(t *testing.T) {
	need(t)
	withCapabilities(t, func() {
		tr, err := Attach(t.Context(), Options{Syscalls: true})
		if err != nil {
			t.Error(err)
			return
		}
		if _, err = tr.Snapshot(); err != nil {
			t.Error(err)
		}
		if _, err = tr.Lost(); err != nil {
			t.Error(err)
		}
		tr.Close()
	}, unix.CAP_BPF, unix.CAP_PERFMON)
	for _, caps := range [][]uint{nil, {unix.CAP_BPF}, {unix.CAP_PERFMON}} {
		withCapabilities(t, func() {
			if _, err := Attach(t.Context(), Options{}); !errors.Is(err, ErrPrivilege) || !strings.Contains(err.Error(), "CAP_PERFMON") {
				t.Errorf("with capabilities %v: %v", caps, err)
			}
		}, caps...)
	}
}

// A pair is two channels to a process that sends everything back.
type pair struct {
	ping, pong string // paths
	pid        int    // of the other process
	tx         *shmchan.Sender[int64]
	rx         *shmchan.Receiver[int64]
}

func newPair(t testing.TB) *pair {
	t.Helper()
	dir := t.TempDir()
	p := &pair{ping: filepath.Join(dir, "ping"), pong: filepath.Join(dir, "pong")}
	cmd, _, out := start(t, "echo", nil, p.ping, p.pong)
	p.pid = cmd.Process.Pid
	var err error
	p.tx, err = shmchan.OpenSender[int64](p.ping, shmchan.WithWait(waiter.Park))
	must(t, err)
	p.rx, err = shmchan.OpenReceiver[int64](p.pong, shmchan.WithWait(waiter.Park))
	must(t, err)
	t.Cleanup(func() { p.tx.Close(); p.rx.Close() })
	if !out.Scan() {
		t.Fatal("the child ended")
	}
	return p
}

// round sends one message there and back; the other side waits so long.
func (p *pair) round(t testing.TB, ctx context.Context, delay time.Duration) {
	must(t, p.tx.Send(ctx, int64(delay)))
	v, err := p.rx.Recv(ctx)
	must(t, err)
	if v != int64(delay) {
		t.Fatalf("got %d, want %d", v, delay)
	}
}

// receivers returns the words on which the receivers of ping and pong sleep.
func (p *pair) receivers(t testing.TB) (ping, pong WordStats) {
	t.Helper()
	word := func(path string) WordStats {
		var st unix.Stat_t
		must(t, unix.Stat(path, &st))
		head, err := os.ReadFile(path)
		must(t, err)
		l, err := region.Validate(head[:headerSize], uint64(st.Size))
		must(t, err)
		w := WordStats{Device: uint64(st.Dev), Inode: st.Ino}
		for _, s := range l.Sections {
			if s.Kind == region.KindEvents {
				w.Offset = s.Offset + waiter.Size // of role 1
			}
		}
		return w
	}
	return word(p.ping), word(p.pong)
}

// woken tells whether a tracer has seen a word woken.
func woken(t testing.TB, tr *Tracer, word WordStats) bool {
	t.Helper()
	words, err := tr.Snapshot()
	must(t, err)
	return slices.ContainsFunc(words, func(w WordStats) bool { return w.compare(&word) == 0 && w.Woken > 0 })
}

func TestChannelsAreNamed(t *testing.T) {
	tr := attach(t, Options{})
	pair := newPair(t)
	ping, pong := pair.receivers(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	rounds := uint64(0)
	defer func() {
		if t.Failed() {
			lost, err := tr.Lost()
			t.Logf("after %d rounds lost %+v, %v", rounds, lost, err)
			words, _ := tr.Snapshot()
			WriteText(os.Stdout, words)
		}
	}()
	for nap := time.Millisecond; rounds < 10 || !(woken(t, tr, ping) && woken(t, tr, pong)); nap = min(nap*5/4, 100*time.Millisecond) {
		time.Sleep(nap) // a slow machine needs longer to fall asleep
		pair.round(t, ctx, nap)
		rounds++
	}
	words, err := tr.Snapshot()
	must(t, err)

	in := Resolver{Dirs: []string{filepath.Dir(pair.ping)}}
	in.Resolve(words)
	var elsewhere Resolver // finds them through the processes
	elsewhere.Dirs = []string{}
	again := append([]WordStats(nil), words...)
	elsewhere.Resolve(again)

	for _, c := range []struct {
		path   string
		word   WordStats
		sleeps int
	}{{pair.ping, ping, pair.pid}, {pair.pong, pong, os.Getpid()}} {
		for i, w := range words {
			if w.compare(&c.word) != 0 {
				continue
			}
			if w.Woken > 2*rounds {
				t.Errorf("%s: %d woken in %d rounds", c.path, w.Woken, rounds)
			}
			if w.Waiter.PID != c.sleeps {
				t.Errorf("%s: %v slept, want %d", c.path, w.Waiter, c.sleeps)
			}
			if p50 := w.Run.Quantile(0.5); p50 <= 0 || p50 > patience {
				t.Errorf("%s: woken to running %v", c.path, p50)
			}
			if want := (Place{c.path, filepath.Base(c.path), region.KindEvents, "receiver"}); w.Place != want {
				t.Errorf("place %+v, want %+v", w.Place, want)
			}
			if want := (Place{c.path, c.path, region.KindEvents, "receiver"}); again[i].Place != want {
				t.Errorf("through the processes: %+v, want %+v", again[i].Place, want)
			}
		}
	}
}

func TestAnonymousChannel(t *testing.T) {
	tr := attach(t, Options{})
	tx, rx, err := shmchan.Pair[int64](shmchan.WithWait(waiter.Park))
	must(t, err)
	defer tx.Close()
	defer rx.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got := make(chan error)
	go func() {
		_, err := rx.Recv(ctx)
		got <- err
	}()
	var r Resolver
	for nap := time.Millisecond; ; nap = min(2*nap, 100*time.Millisecond) { // a slow machine needs longer to fall asleep
		time.Sleep(nap)
		must(t, tx.Send(ctx, 1))
		must(t, <-got)
		words, err := tr.Snapshot()
		must(t, err)
		r.Resolve(words)
		for _, w := range words {
			if w.Waiter.PID == os.Getpid() && w.Place.Role == "receiver" && strings.HasPrefix(w.Place.Channel, "anonymous ") && strings.HasPrefix(w.Place.Path, "/memfd:") {
				return
			}
		}
		if ctx.Err() != nil {
			t.Fatal("no anonymous receiver was seen to sleep")
		}
		go func() {
			_, err := rx.Recv(ctx)
			got <- err
		}()
	}
}
