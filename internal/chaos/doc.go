// Package chaos kills processes in the middle of their work and looks at what is
// left. It has tests only; this is what they do.
//
// Random kills (random_linux_test.go): a producer and a consumer, children of the
// test, send and receive on one channel. Either or both are killed (SIGKILL) at
// random instants and restarted, again and again.
//
// The sweep (sweep_linux_amd64_test.go): a child attaches and begins one
// operation of its end (Send, Recv, Close, open, ...). A tracer runs it k
// instructions into the operation, by single steps from its beginning or from a
// breakpoint in the CPU's debug register, and kills it there, for every k. The other
// end is held by the test, which must not hang and must find what was promised, as
// must the next child, which goes on. The traced code is the ordinary code: nothing
// is built in, and no byte of it is changed. Where there are too many k, a witness
// (public_linux_amd64_test.go) says which instructions others can see at all.
//
// A hostile peer (hostile_linux_test.go): a child maps a channel, or a pool, and writes
// garbage into all of it, at random and at aim, while another child works.
//
// Of Buf channels, and of a pool (pools_linux_amd64_test.go), each block is counted
// after a death: bufs_linux_test.go.
//
// What may be delivered, and how often, is said by the checker (check_test.go), a
// pure function of what a consumer has written down; its own tests feed it lost,
// doubled, torn and disordered messages. How the processes talk is in
// control_linux_test.go: a page of shared memory that survives its writers.
//
// A kind of channel is one entry in the table of kinds_linux_test.go.
//
//	go test ./internal/chaos                           # a few of everything, seconds
//	go test ./internal/chaos -ci                       # a sample, about a minute
//	go test ./internal/chaos -timeout 0 -v -soak -parallel 32  # all of it, hours on two CPUs
//
// docs/reliability.md says what "every" covers, and what the last soak found.
package chaos
