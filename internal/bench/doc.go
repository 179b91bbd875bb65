// Package bench measures the library between two processes on two CPUs, beside
// what the hardware and the kernel can do in the same minute.
//
// No absolute time means anything on a machine whose CPUs are sometimes near
// each other and sometimes far, so each round of a run first bounces one cache
// line between the two processes ("c2c"), and every figure comes with its ratio
// to that. Rounds are sorted by what that probe says, and the median of each
// placement is reported; a placement that no round had is "not measured".
//
//	go run ./internal/bench/figures          the table in docs/performance.md
//	go test -bench . ./internal/bench        the same scenarios one by one
//
// The scenarios are in scenarios.go, the probes in probe_linux.go. A child process is
// the same binary, started again.
package bench
