package region

import (
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// When the kernel's queue of events runs over, everything is looked at.
func TestEventOverflow(t *testing.T) {
	base := must(t)(Memfd(config()))
	r := must(t)(base.Attach(left))
	o := must(t)(base.Attach(right))
	b := newBell()
	if err := r.Watch(b.ring); err != nil {
		t.Fatal(err)
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// Events get lost: the reader is given a pipe instead.
	watcher.mu.Lock()
	real := watcher.file
	watcher.file = pr
	watcher.mu.Unlock()
	defer func() {
		watcher.mu.Lock()
		watcher.file = real
		watcher.mu.Unlock()
	}()
	done := make(chan struct{})
	go func() { readEvents(pr); close(done) }()
	o.Abandon()

	event := binary.NativeEndian.AppendUint32(nil, ^uint32(0)) // wd -1
	event = binary.NativeEndian.AppendUint32(event, unix.IN_Q_OVERFLOW)
	event = append(event, make([]byte, 8)...)
	if _, err := pw.Write(event); err != nil {
		t.Fatal(err)
	}
	b.wait(t)
	wantPhase(t, r, right, Dead, 1)
	pw.Close()
	<-done
	pr.Close()
}

// Regions that share nothing but the process do not disturb each other.
func TestWatchMany(t *testing.T) {
	const n = 50
	var rs, os [n]*Region
	var bells [n]bell
	for i := range n {
		base := must(t)(Memfd(config()))
		rs[i] = must(t)(base.Attach(left))
		os[i] = must(t)(base.Attach(right))
		bells[i] = newBell()
		if err := rs[i].Watch(bells[i].ring); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if i%2 == 0 {
			os[i].Abandon()
		}
	}
	for i := range n {
		if i%2 == 0 {
			bells[i].wait(t)
			wantPhase(t, rs[i], right, Dead, 1)
		} else {
			bells[i].silent(t)
			wantPhase(t, rs[i], right, Attached, 1)
		}
	}
}
