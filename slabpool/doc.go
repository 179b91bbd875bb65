// Package slabpool hands out blocks of shared memory: fixed-size blocks in a few
// size classes, taken and freed by any process in a few nanoseconds, named by
// handles of 16 bytes that travel through channels.
//
//	pool, err := slabpool.Open("frames", slabpool.Class{Size: 4 << 20, Count: 8})
//	h, err := pool.Alloc(ctx, 3<<20)      // a block with room for 3 MiB
//	b, err := pool.Bytes(h)               // filled in place
//	err = pool.Give(h, seat)              // now it is another endpoint's
//	err = tx.Send(ctx, h)                 // who learns so through a Sender[slabpool.Handle]
//
// Package shmchan builds its Buf channels on it, which do all this by
// themselves between one sender and one receiver. A [Pool] of its own is for
// blocks that go to several processes; a [Raw] is one over memory of the
// caller's.
//
// # Blocks and handles
//
// Every block has a state word with its owners and its generation, and changes
// hands by one compare-and-swap of that word. So a handle that was freed, given
// away, or made up is an error, never somebody else's data, and whose a block is
// is known whenever a process dies. The words lie outside of the blocks:
// whatever is written to a block harms nobody but its readers.
//
// Blocks are aligned to 64 bytes, and to a page of 4096 if the size of their class
// is a multiple of that, as direct I/O wants it. An allocation takes the smallest
// class that fits, and the next larger one when that has no block left.
//
// # Death
//
// A process may be killed at any instruction. What it held, and what it had
// cached, comes back to the pool, each block once, when somebody sweeps after
// it: a [Pool] does so by itself. A block with several holders stays until the
// last has freed it or has died. A stopped process is not dead, and keeps what
// it has.
//
// # What it does not do
//
// It does not clear blocks: what a user leaves in one, the next one sees. It
// does not return memory to the system while the pool lives, and does not move
// or join blocks. At most 16 endpoints are attached to a pool at once. It trusts
// its peers with the contents: who can attach can read and write every block, and
// a hostile one can make allocations fail or hand one block out twice. It cannot
// make this process read or write outside of the pool. Counts that wrap: the
// generation, after 2⁴⁰ uses of one block (some 15 hours of nothing else), and
// the tag of a free list, after 2⁴⁰ changes; a process that was stopped within a
// call for exactly that long could be misled.
package slabpool
