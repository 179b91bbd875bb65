// Package modelcheck runs a small concurrent program on shared memory under
// every schedule that can make a difference, with the weak memory, the crashes
// and the lost wake-ups that go with it.
//
// The program is the library itself: with the build tag modelcheck every
// operation of internal/word is a step of this explorer. What is checked is
// the source that ships.
//
//	func TestRing(t *testing.T) { // in a file with //go:build modelcheck
//		setup := func(w *modelcheck.World) {
//			r := modelcheck.Alloc[ring](w, "ring")
//			w.Go("sender", func() { r.send(1) })
//			w.Go("receiver", func() { r.recv() })
//		}
//		modelcheck.Check(t, "ring", modelcheck.Explore(modelcheck.Config{Model: modelcheck.TSO}, setup))
//		modelcheck.Check(t, "ring, sender dies", modelcheck.Sweep(modelcheck.Config{}, "sender", setup))
//	}
//
// # What it finds
//
//   - A [Deadlock]: a thread is parked on a futex and nobody is left to wake it.
//   - A [Livelock]: a thread spins and nobody is left to change what it looks
//     at, or an execution does not end within Config.MaxSteps.
//   - A [Race]: two accesses to payload, announced by word.Reads and
//     word.Writes, in no order with each other.
//   - A [Panic] in a thread: an assertion of the test, or of the library.
//   - A wrong last state: what [World.Final] returns.
//
// A failure comes with a numbered trace of its execution, and with a seed that
// [Replay] runs again.
//
// # What a test may do
//
// Setup makes shared memory and threads, anew for each execution. A thread is
// an ordinary function; it runs alone up to its next operation on a word, so
// what it does in between is free, and need not be synchronized, as long as it
// does not depend on time, chance, map order, other goroutines or what earlier
// executions left. (If it does, the explorer says so: [Nondeterminism].) Loops
// must end: those that spin must call word.Pause, which waits until something
// that the thread has read has changed. Explorations take turns, for the
// running thread is a global variable: no goroutine may use words while another
// goroutine explores.
//
// # The search
//
// [DPOR] is source-DPOR with sleep sets: Abdulla, Aronis, Jonsson and Sagonas,
// "Optimal dynamic partial order reduction", POPL 2014. It runs at least one
// execution of each class of executions that differ only in the order of
// independent steps. Reads of a word are independent, so are steps on
// different words, and a CompareAndSwap that fails is a read. [DFS] runs all,
// and [Bounded] all with few preemptions (Musuvathi and Qadeer, PLDI 2007).
// TestReduction compares DPOR with DFS on tens of thousands of random programs.
//
// An exhausted DPOR or DFS search is a proof, for these threads, these bounds
// on faults, and this memory model.
//
// # Memory models
//
// Under [SC] every operation takes effect at once. Under [TSO], which is what
// x86 does (Sewell et al., CACM 2010), a StoreRelease goes through a FIFO store
// buffer, and its own thread's loads see it before others do. Everything else
// that writes is a locked instruction and waits until the buffer is empty, as
// do fences and system calls. Membarrier waits until all that registered
// threads had buffered when it was called has reached memory, which is a
// little less than the kernel promises.
//
// # arm64
//
// On arm64, whose memory is much weaker, SC is the model to explore, and it is
// complete there. Go compiles Load to LDAR and Store to STLR, read-modify-writes
// to LDADDAL and its like (or LDAXR and STLXR), and word.StoreRelease is
// atomic.Store there. Among themselves these are sequentially consistent: an
// LDAR is never performed before an earlier STLR. (LDAPR, which is, is not
// used.) Payload is accessed by ordinary loads and stores, which the machine
// may reorder at will, but not across an LDAR to before it or across an STLR
// to after it. So if each two conflicting accesses to payload are ordered by
// the words, then every execution on the machine has the same values as a
// sequentially consistent one: this is DRF-SC (Adve and Hill, 1990), which is
// also what Go's memory model promises. Whether they are so ordered is a
// property of the sequentially consistent executions alone, and [Race] reports
// if in one of them they are not. So an exhausted search under SC that found no
// race covers arm64; the same holds for every build that uses atomic.Store.
//
// Two things are outside of it. A futex call is a system call: the kernel's
// look at the word is a load with a full barrier before it, so it is another
// sequentially consistent access. And payload that is raced on purpose, as in
// a seqlock, needs an argument of its own.
//
// # Death and time
//
// A [Crash] ends a thread in place of its k-th step, or after its last one;
// [Sweep] tries each k. Its buffered stores still reach memory: a dying
// process's store buffer drains. [World.AwaitDeath] returns once it has. A
// [Crash] with Stop is a SIGSTOP: the thread goes on when nothing else can
// happen ([SweepStop]).
//
// What no sweep needs to try: a thread killed while it is parked has had no
// effect on others, as if it had died before its Wait, or has had a wake-up
// spent on it, as if it had died before its next step. All threads of one
// process die at once; [SweepPair] lets two die independently, which includes
// that.
//
// A Wait with a limit may end early, as often as Config.Timeouts says, and
// whenever nothing else can happen. So a thread that polls is never lost, and
// one that polls in vain is a Livelock. [WaitAny] is futex_waitv: a step for
// each word on the way in and on the way out, as in the kernel, so a Wake(1) may
// be spent on a thread that another word has woken already.
//
// # What it does not do
//
// It does not bound the age of a load: under SC and TSO a load sees the last
// store. It does not interleave inside announced payload accesses, because
// without a race nobody can see the difference. It knows nothing of goroutines,
// channels and locks of Go: threads must not block on them. At most six
// threads.
package modelcheck
