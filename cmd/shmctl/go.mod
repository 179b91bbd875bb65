// The module of the tool, so that its dependencies are not the library's. The
// library itself comes from the workspace (go.work in the repository's root).
module github.com/shmkit/shm/cmd/shmctl

go 1.25.0

require (
	github.com/gdamore/tcell/v2 v2.13.10
	github.com/spf13/cobra v1.10.2
	golang.org/x/sys v0.45.0
	golang.org/x/term v0.37.0
)

require github.com/cilium/ebpf v0.22.0 // indirect

require (
	github.com/gdamore/encoding v1.0.1 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/lucasb-eyer/go-colorful v1.3.0 // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	github.com/spf13/pflag v1.0.10 // indirect
	golang.org/x/text v0.31.0 // indirect
)
