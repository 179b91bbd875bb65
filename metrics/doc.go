// Package metrics exports what named channels do: their fill, messages sent and
// received, and what their ends have waited for; and how much of named pools of
// blocks, and of those of Buf channels, is in use. A [Source] looks at channels
// as shmctl does, for reading only, so it can run in a process of either end or
// in another one.
//
//	src := metrics.NewSource("ticks")
//	expvar.Publish("shm", src.Var())
//
// With Prometheus: prometheus.MustRegister(prom.New(src)), of the module
// github.com/shmkit/shm/metrics/prom.
//
// # What it does not do
//
// It does not see anonymous channels (Pair). It keeps no history: a channel that
// is made anew begins at 0 again.
//
// # Death
//
// A dead end shows as one that is not alive. Nothing is held for the dead, and
// the death of the process that looks disturbs nobody.
package metrics
