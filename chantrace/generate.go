//go:build linux && (amd64 || arm64)

package chantrace

// The objects are committed, so that users need no C compiler, and .ci/run
// builds them again with this compiler (clang-19 of Debian) and compares.

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -go-package chantrace -tags linux -target amd64,arm64 -cc clang-19 -strip llvm-strip-19 observer bpf/observer.bpf.c -- -O2 -mcpu=v3 -Wall -Werror
