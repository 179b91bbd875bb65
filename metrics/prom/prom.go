package prom

import (
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
	{desc("waits_total", "Calls that found the channel full (sender) or empty (receiver).", "role"), prometheus.CounterValue, func(e *metrics.End) float64 { return float64(e.Waits) }},
	{desc("sleeps_total", "Of those, the ones that parked.", "role"), prometheus.CounterValue, func(e *metrics.End) float64 { return float64(e.Slept) }},
	{desc("parks_total", "Times that a thread parked in the kernel.", "role"), prometheus.CounterValue, func(e *metrics.End) float64 { return float64(e.Parks) }},
	{desc("wakes_total", "Times that the other side was woken.", "role"), prometheus.CounterValue, func(e *metrics.End) float64 { return float64(e.Wakes) }},
	{desc("refused_total", "Try calls that found no room, or no message.", "role"), prometheus.CounterValue, func(e *metrics.End) float64 { return float64(e.Refused) }},
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
