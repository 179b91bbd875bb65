package metrics_test

import (
	"context"
	"encoding/json"
	"expvar"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/shmkit/shm/metrics"
	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// channel is a named channel of four, with n messages in it.
func channel(t *testing.T, name string, n int) (*shmchan.Sender[int], *shmchan.Receiver[int]) {
	t.Helper()
	tx, err := shmchan.OpenSender[int](name, shmchan.WithCapacity(4))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tx.Close() })
	rx, err := shmchan.OpenReceiver[int](name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rx.Close() })
	for range n {
		if err := tx.Send(context.Background(), 1); err != nil {
			t.Fatal(err)
		}
	}
	return tx, rx
}

func look(t *testing.T, s *metrics.Source) []metrics.Reading {
	t.Helper()
	r, err := s.Look()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSourceOfNames(t *testing.T) {
	t.Setenv("SHMCHAN_DIR", t.TempDir())
	src := metrics.NewSource("a", "none")
	defer src.Close()
	tx, rx := channel(t, "a", 3)
	rx.TryRecv()
	for range 2 {
		r := look(t, src)
		if len(r) != 2 || r[1].Name != "none" || !strings.Contains(r[1].Error, "no such file") {
			t.Fatalf("%+v", r)
		}
		a := r[0]
		if a.Name != "a" || a.Error != "" || a.Capacity != 4 || a.Sent != 3 || a.Received != 1 || a.Fill != 2 || a.Bytes == 0 ||
			!a.Sender.Alive || !a.Receiver.Alive || a.Sender.PID != os.Getpid() || a.Sender.Claims != 1 {
			t.Errorf("%+v", a)
		}
	}
	// Made anew under the same name.
	if err := shmchan.Remove("a"); err != nil {
		t.Fatal(err)
	}
	tx.Close()
	rx.Close()
	channel(t, "a", 1)
	if r := look(t, src); r[0].Sent != 1 || r[0].Error != "" {
		t.Errorf("%+v", r[0])
	}
}

func TestSourceOfAll(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SHMCHAN_DIR", dir)
	src := metrics.NewSource()
	defer src.Close()
	if r := look(t, src); len(r) != 0 {
		t.Errorf("%+v", r)
	}
	channel(t, "a", 1)
	tx, rx := channel(t, "b", 2)
	os.WriteFile(dir+"/broken", nil, 0o600)
	os.WriteFile(dir+"/broken.lock", nil, 0o600)
	if r := look(t, src); len(r) != 2 || r[0].Name != "a" || r[1].Name != "b" || r[1].Fill != 2 {
		t.Errorf("%+v", r)
	}
	tx.Close()
	rx.Close()
	if r := look(t, src); len(r) != 1 {
		t.Errorf("%+v", r)
	}
	t.Setenv("SHMCHAN_DIR", "/nonsense")
	if _, err := src.Look(); err == nil {
		t.Error("no error")
	}
	var e map[string]string
	if err := json.Unmarshal([]byte(src.Var().String()), &e); err != nil || e["error"] == "" {
		t.Errorf("%v, %v", e, err)
	}
}

func TestVar(t *testing.T) {
	t.Setenv("SHMCHAN_DIR", t.TempDir())
	channel(t, "a", 1)
	src := metrics.NewSource()
	defer src.Close()
	var byName map[string]metrics.Reading
	if err := json.Unmarshal([]byte(src.Var().String()), &byName); err != nil || byName["a"].Sent != 1 {
		t.Errorf("%+v, %v", byName, err)
	}
}

func Example() {
	tx, rx, err := open("example-metrics")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rx.Close()
	defer tx.Close()
	tx.Send(context.Background(), 1)

	src := metrics.NewSource("example-metrics")
	defer src.Close()
	expvar.Publish("shm", src.Var()) // at /debug/vars of an HTTP server

	var seen map[string]metrics.Reading
	if err := json.Unmarshal([]byte(expvar.Get("shm").String()), &seen); err != nil {
		fmt.Println(err)
	}
	fmt.Println(seen["example-metrics"].Sent, seen["example-metrics"].Fill)
	// Output: 1 1
}

func open(name string) (*shmchan.Sender[int], *shmchan.Receiver[int], error) {
	tx, err := shmchan.OpenSender[int](name)
	if err != nil {
		return nil, nil, err
	}
	rx, err := shmchan.OpenReceiver[int](name)
	return tx, rx, err
}

func TestSourceOfPools(t *testing.T) {
	t.Setenv("SHMCHAN_DIR", t.TempDir())
	p, err := slabpool.Open("blocks", slabpool.Class{Size: 64, Count: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.TryAlloc(64); err != nil {
		t.Fatal(err)
	}
	tx, err := shmchan.OpenBufSender("frames", shmchan.WithPool(slabpool.Class{Size: 4096, Count: 3}))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	b, err := tx.Loan(context.Background(), 4096)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	src := metrics.NewSource()
	defer src.Close()
	for range 2 {
		r := look(t, src)
		if len(r) != 2 || r[0].Kind != "pool" || r[0].Bytes == 0 || len(r[0].Pool) != 1 || r[0].Pool[0] != (metrics.Class{Size: 64, Count: 2, InUse: 1, HighWater: 1}) {
			t.Errorf("%+v", r)
		}
		if f := r[1]; f.Kind != "buf channel" || f.Capacity != 1024 || !f.Sender.Alive || len(f.Pool) != 1 || f.Pool[0] != (metrics.Class{Size: 4096, Count: 3, InUse: 1, HighWater: 1}) {
			t.Errorf("%+v", f)
		}
	}
	if err := slabpool.Remove("blocks"); err != nil {
		t.Fatal(err)
	}
	if r := look(t, src); len(r) != 1 || r[0].Name != "frames" {
		t.Errorf("%+v", r)
	}
}
