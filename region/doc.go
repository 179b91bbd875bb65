// Package region is memory that processes share, and who holds which role in
// it.
//
// A region starts with a header: what it is, how big, made when and by whom,
// and a table of sections (endpoints, event counts, lanes, ...) that later
// versions can add to. [Validate] checks it. Behind the header lies the
// endpoint table: a state for each role, for instance sender and receiver.
//
// A [Region] is one attachment: a mapping, a descriptor of the region's
// locks, and at most one role. There are three kinds of memory:
//
//   - [Memfd]: an anonymous file, handed on by descriptor
//     ([(*Region).File], [FromFile]);
//   - [Open]: a file with a name, created by whoever comes first;
//   - [Heap]: the Go heap, for tests and for use within one process.
//
// # Death
//
// The holder of a role holds a lock of the kernel on an inode beside the
// region (an open-file-description lock), and the kernel drops it when the
// process ends, however it ends. So a role whose word says Attached while its
// lock is free belongs to a dead process. [(*Region).Probe] asks,
// [(*Region).Watch] tells, [(*Region).Claim] takes over. A stopped process
// (SIGSTOP, a debugger) is not dead. Process ids in the table are a record
// for people, and nothing is decided by them.
//
// A process may be killed at any instruction of this package. What it leaves
// is a free lock and memory as it was; at most, besides, an empty lock file
// that the next one uses. A process that forks without exec keeps the locks
// of its parent alive; os/exec does not.
//
// # From outside
//
// [Observe] looks at a named region with permission to read and no more: it
// can change nothing, holds no lock, and tells who lives. [List] finds names.
//
// # What it does not do
//
// It puts nothing into the sections, wakes nobody, and knows nothing of
// messages. It does not protect a process from what a peer writes into the
// sections: whoever reads them must bear any bytes. A memfd region is sealed,
// so no peer can cut it off. The owner of a named region, and those whom its
// mode lets write, can shorten the file, and the next access to it is then a
// SIGBUS: the end of the process, or, under [Guard], an error. What this package
// does by itself survives that.
//
// Outside Linux there are only heap regions, and Memfd makes one.
package region
