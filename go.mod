module github.com/shmkit/shm

go 1.25.0

require golang.org/x/sys v0.45.0

require github.com/cilium/ebpf v0.22.0
