package prom_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/shmkit/shm/metrics"
	"github.com/shmkit/shm/metrics/prom"
	"github.com/shmkit/shm/shmchan"
)

func TestCollector(t *testing.T) {
	t.Setenv("SHMCHAN_DIR", t.TempDir())
	tx, err := shmchan.OpenSender[int]("ticks", shmchan.WithCapacity(4))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	rx, err := shmchan.OpenReceiver[int]("ticks")
	if err != nil {
		t.Fatal(err)
	}
	defer rx.Close()
	for range 4 {
		if err := tx.Send(context.Background(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if tx.TrySend(1) == nil {
		t.Fatal("there is room")
	}
	src := metrics.NewSource("ticks", "none")
	defer src.Close()
	c := prom.New(src)
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	err = testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP shm_up Whether the channel could be read.
# TYPE shm_up gauge
shm_up{channel="none"} 0
shm_up{channel="ticks"} 1
# HELP shm_fill_messages Messages in the channel.
# TYPE shm_fill_messages gauge
shm_fill_messages{channel="ticks"} 4
# HELP shm_sent_messages_total Messages sent.
# TYPE shm_sent_messages_total counter
shm_sent_messages_total{channel="ticks"} 4
# HELP shm_alive Whether a living process has the role.
# TYPE shm_alive gauge
shm_alive{channel="ticks",role="receiver"} 1
shm_alive{channel="ticks",role="sender"} 1
# HELP shm_refused_total Try calls that found no room, or no message.
# TYPE shm_refused_total counter
shm_refused_total{channel="ticks",role="receiver"} 0
shm_refused_total{channel="ticks",role="sender"} 1
`), "shm_up", "shm_fill_messages", "shm_sent_messages_total", "shm_alive", "shm_refused_total")
	if err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(c); n != 2+7+2*8 {
		t.Errorf("%d metrics", n)
	}
	if lint, err := testutil.GatherAndLint(reg); err != nil || len(lint) > 0 {
		t.Errorf("%v, %v", lint, err)
	}
	t.Setenv("SHMCHAN_DIR", "/nonsense")
	reg = prometheus.NewRegistry()
	reg.MustRegister(prom.New(metrics.NewSource()))
	if _, err := reg.Gather(); err == nil {
		t.Error("a scrape of nothing succeeds")
	}
}

func ExampleNew() {
	src := metrics.NewSource("orders", "fills")
	defer src.Close()
	reg := prometheus.NewRegistry()
	fmt.Println(reg.Register(prom.New(src)))
	// Output: <nil>
}
