// Package prom exports what named channels do to Prometheus:
//
//	prometheus.MustRegister(prom.New(metrics.NewSource()))
//
// Each scrape looks at the channels once, for reading only. It is a module of
// its own, so that the library does not depend on the client.
//
// # What it does not do
//
// It serves nothing, and does not see anonymous channels. A channel that is made
// anew begins at 0 again, which Prometheus takes for a restart.
//
// # Death
//
// A dead end shows as shm_alive 0. See package metrics.
package prom
