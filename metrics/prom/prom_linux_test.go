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
	"github.com/shmkit/shm/slabpool"
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
# HELP shm_refused_total Try calls that found no room, no message, or no block.
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

func TestCollectPool(t *testing.T) {
	t.Setenv("SHMCHAN_DIR", t.TempDir())
	p, err := slabpool.Open("blocks", slabpool.Class{Size: 64, Count: 2}, slabpool.Class{Size: 4096, Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 3 {
		p.TryAlloc(4096) // the last two find nothing
	}
	src := metrics.NewSource()
	defer src.Close()
	c := prom.New(src)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	err = testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP shm_pool_in_use_blocks Blocks that are held, or on their way.
# TYPE shm_pool_in_use_blocks gauge
shm_pool_in_use_blocks{block_bytes="4096",channel="blocks"} 1
shm_pool_in_use_blocks{block_bytes="64",channel="blocks"} 0
# HELP shm_pool_failed_total Allocations that found no block.
# TYPE shm_pool_failed_total counter
shm_pool_failed_total{block_bytes="4096",channel="blocks"} 2
shm_pool_failed_total{block_bytes="64",channel="blocks"} 0
`), "shm_pool_in_use_blocks", "shm_pool_failed_total")
	if err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(c); n != 1+2*5 {
		t.Errorf("%d metrics", n)
	}
	if lint, err := testutil.GatherAndLint(reg); err != nil || len(lint) > 0 {
		t.Errorf("%v, %v", lint, err)
	}
}

func ExampleNew() {
	src := metrics.NewSource("orders", "fills")
	defer src.Close()
	reg := prometheus.NewRegistry()
	fmt.Println(reg.Register(prom.New(src)))
	// Output: <nil>
}
