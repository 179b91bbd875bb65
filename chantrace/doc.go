// Package chantrace shows from outside how long the ends of channels sleep and
// how long they take to run again once they were woken. It needs nothing from
// the traced processes: they are not stopped, changed, or linked against it.
//
//	t, err := chantrace.Attach(ctx, chantrace.Options{})
//	...
//	words, err := t.Snapshot()
//	var r chantrace.Resolver
//	r.Resolve(words)
//	chantrace.WriteText(os.Stdout, words)
//
// # How
//
// Two eBPF programs sit in the kernel's scheduler. When a thread leaves a CPU,
// its registers tell whether it is in a futex wait on a word that processes
// share, and the kernel tells which place of which file that word is. When it is
// woken, the time and the waker are noted. When it runs again, the two times
// (asleep to woken, woken to running) go into histograms, which lie in the
// kernel, one pair for each word. So the work per event is small, no events are
// copied out, and [(*Tracer).Snapshot] reads it all at any time.
//
// A channel has one word for each role, on which that role sleeps: the receiver
// when the channel is empty, the sender when it is full. [Resolver] finds the
// channel's name and the role from the file and its header. Words of other
// programs (process-shared mutexes, other queues) are counted as well and keep
// the file's name.
//
// # What it needs
//
// Linux 6.4 or later with BTF on amd64 or arm64, not PREEMPT_RT; CAP_BPF and
// CAP_PERFMON; no tracefs. [Supported] tells, with a typed error. It could be
// loaded from 5.17 on, but before 6.4 it might, in rare cases, stop the machine;
// docs/tracing.md says why, and on which kernels it was tried. To name channels
// that have no name in /dev/shm it needs, besides, the right to look into the
// processes that use them.
//
// # What it does not see
//
//   - Spinning: only what sleeps in the kernel passes by the scheduler. A channel
//     that is fast shows nothing here.
//   - Waits that go on: they are counted when they end.
//   - How long a thread slept before its first wake-up since Attach. That wait is
//     in the counts and in Run, not in Park.
//   - Waits by a word that no futex call named: one of futex_waitv that a time
//     limit or a signal ended. Lost counts them.
//   - Programs of another register size (32 bits on a 64-bit kernel), and waits
//     that the kernel resumes by itself after the process was stopped.
//   - A file that is mapped over another at the same address in the same thread:
//     for 10 ms its waits may count for the old one. Where a word lies is
//     asked that seldom because asking costs more than all else. It is asked when
//     the sleeper runs again: a file that was unmapped in the meantime is none.
//   - Which of two wakers came first, if they come at once; and a wait that ends
//     by a time limit just while the same word is woken counts as woken.
//
// [(*Tracer).Lost] tells how many waits could not be counted, by cause.
//
// # Death
//
// If the tracing process dies, the kernel takes the programs away. A traced
// process may die at any instruction: a thread that is killed in its sleep
// counts as ended by a signal.
//
// # Cost
//
// The programs run at every switch and every wake-up of the machine, also of
// programs that have nothing to do with channels, and look at registers there and
// no further. On a fast machine a round trip over two channels with both sides
// parked took 0.7 µs longer, of 5.4 µs. docs/tracing.md has the figures.
package chantrace
