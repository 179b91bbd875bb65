// Package word is the only place of the library with atomic operations,
// fences and futex calls on shared memory.
//
// It comes twice. The ordinary build calls sync/atomic, three short assembly
// stubs and the kernel, and inlines to exactly that. With the build tag
// modelcheck every operation is a step of the explorer in
// internal/modelcheck, so that the algorithms above run under it from the
// source that ships. No other package may import sync/atomic for shared words
// or call futex or membarrier.
//
// # Orders
//
// Load acquires. Store, Add, Swap and CompareAndSwap are sequentially
// consistent. StoreRelease only releases: everything before it in program
// order is visible to whoever loads the value, but a later Load may be
// performed before it (x86-TSO's store buffer). Where such a Load must come
// later there is [Fence], or, on the other side, [Membarrier], which makes
// every registered process pass a fence.
//
// # Parking
//
// [U32.Wait] parks on one word (futex), [Waiters.Wait] on up to 128 at once
// (futex_waitv). Where the kernel has neither, or refuses them, both look every
// so often instead; [CanWaitAny] tells so of the second.
//
// # Death
//
// No operation holds anything: a process may be killed before or after each.
package word
