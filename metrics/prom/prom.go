package prom

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shmkit/shm/metrics"
)

// New makes a collector of what a source sees. Any number of goroutines may
// collect. A channel that cannot be read has shm_up 0 and nothing else; if the
// directory cannot be listed, the scrape fails.
func New(src *metrics.Source) prometheus.Collector { return collector{src} }

type collector struct{ src *metrics.Source }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("shm_"+name, help, append([]string{"channel"}, labels...), nil)
}

var up = desc("up", "Whether the channel could be read.")

// ofChannel are the metrics of a channel.
var ofChannel = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*metrics.Reading) float64
}{
	{desc("capacity_messages", "How many messages the channel holds."), prometheus.GaugeValue, func(r *metrics.Reading) float64 { return float64(r.Capacity) }},
	{desc("fill_messages", "Messages in the channel."), prometheus.GaugeValue, func(r *metrics.Reading) float64 { return float64(r.Fill) }},
	{desc("high_water_messages", "Most messages that were seen in the channel by an end that waited."), prometheus.GaugeValue, func(r *metrics.Reading) float64 { return float64(r.High) }},
	{desc("memory_bytes", "Memory of the channel."), prometheus.GaugeValue, func(r *metrics.Reading) float64 { return float64(r.Bytes) }},
	{desc("lost_messages", "Messages that nobody can receive any more."), prometheus.GaugeValue, func(r *metrics.Reading) float64 { return float64(r.Lost) }},
	{desc("sent_messages_total", "Messages sent."), prometheus.CounterValue, func(r *metrics.Reading) float64 { return float64(r.Sent) }},
	{desc("received_messages_total", "Messages received."), prometheus.CounterValue, func(r *metrics.Reading) float64 { return float64(r.Received) }},
}

// ofEnd are the metrics of one end.
var ofEnd = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*metrics.End) float64
}{
	{desc("alive", "Whether a living process has the role.", "role"), prometheus.GaugeValue, func(e *metrics.End) float64 { return truth(e.Alive) }},
	{desc("claims_total", "Processes that have had the role.", "role"), prometheus.CounterValue, func(e *metrics.End) float64 { return float64(e.Claims) }},
	{desc("deaths_total", "Of those, the ones that ended without closing.", "role"), prometheus.CounterValue, func(e *metrics.End) float64 { return float64(e.Deaths) }},
	{desc("waits_total", "Calls that found the channel full or no free block (sender), or empty (receiver).", "role"), prometheus.CounterValue, func(e *metrics.End) float64 { return float64(e.Waits) }},
	{desc("sleeps_total", "Of those, the ones that parked.", "role"), prometheus.CounterValue, func(e *metrics.End) float64 { return float64(e.Slept) }},
	{desc("parks_total", "Times that a goroutine parked: in a wait, Ready, Select or WaitPeer.", "role"), prometheus.CounterValue, func(e *metrics.End) float64 { return float64(e.Parks) }},
	{desc("wakes_total", "Times that the other side was woken.", "role"), prometheus.CounterValue, func(e *metrics.End) float64 { return float64(e.Wakes) }},
	{desc("refused_total", "Try calls that found no room, no message, or no block.", "role"), prometheus.CounterValue, func(e *metrics.End) float64 { return float64(e.Refused) }},
}

// ofClass are the metrics of a class of a pool, or of a Buf channel's pool.
var ofClass = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*metrics.Class) float64
}{
	{desc("pool_blocks", "How many blocks the class has.", "block_bytes"), prometheus.GaugeValue, func(c *metrics.Class) float64 { return float64(c.Count) }},
	{desc("pool_in_use_blocks", "Blocks that are held, or on their way.", "block_bytes"), prometheus.GaugeValue, func(c *metrics.Class) float64 { return float64(c.InUse) }},
	{desc("pool_cached_blocks", "Free blocks that an endpoint keeps for itself.", "block_bytes"), prometheus.GaugeValue, func(c *metrics.Class) float64 { return float64(c.Cached) }},
	{desc("pool_high_water_blocks", "Most blocks that were in use or cached at once.", "block_bytes"), prometheus.GaugeValue, func(c *metrics.Class) float64 { return float64(c.HighWater) }},
	{desc("pool_failed_total", "Allocations that found no block.", "block_bytes"), prometheus.CounterValue, func(c *metrics.Class) float64 { return float64(c.Failed) }},
}

// Describe sends the descriptions of all metrics.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	out <- up
	for _, m := range ofChannel {
		out <- m.desc
	}
	for _, m := range ofEnd {
		out <- m.desc
	}
	for _, m := range ofClass {
		out <- m.desc
	}
}

// Collect looks at the channels and sends what it sees.
func (c collector) Collect(out chan<- prometheus.Metric) {
	readings, err := c.src.Look()
	if err != nil {
		out <- prometheus.NewInvalidMetric(up, err)
		return
	}
	for i := range readings {
		r := &readings[i]
		name := strings.ToValidUTF8(r.Name, "?")
		out <- prometheus.MustNewConstMetric(up, prometheus.GaugeValue, truth(r.Error == ""), name)
		if r.Error != "" {
			continue
		}
		for k := range r.Pool {
			for _, m := range ofClass {
				out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.of(&r.Pool[k]), name, strconv.Itoa(r.Pool[k].Size))
			}
		}
		if r.Kind == "pool" {
			continue
		}
		for _, m := range ofChannel {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.of(r), name)
		}
		for _, m := range ofEnd {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.of(&r.Sender), name, "sender")
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.of(&r.Receiver), name, "receiver")
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
