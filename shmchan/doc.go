// Package shmchan replaces a Go channel across process boundaries: a
// Sender[T] in one process, a Receiver[T] in another, and shared memory
// between them. Messages never pass through the kernel, which is asked only to
// park and to wake.
//
//	tx, err := shmchan.OpenSender[Tick]("ticks")     // in one process
//	err = tx.Send(ctx, tick)
//
//	rx, err := shmchan.OpenReceiver[Tick]("ticks")   // in another
//	tick, err := rx.Recv(ctx)
//
// The idioms are those of chan: blocking calls (with a context), select
// (through Ready, or Select for any number), range (All), close. Either side may
// come first. There is one sender and one receiver; messages come in order, each
// once.
//
// # What may travel
//
// T has no pointers at any depth: no string, slice, map, func, interface or
// chan, no uintptr, nothing of package sync. Anything else gives ErrType with
// the path of the field. Both sides must have the same layout of T, else
// ErrMismatch shows both. T must be smaller than 64 KiB (65,536 bytes), as what a
// chan carries must be: a Receiver has the method Chan, so the compiler refuses a
// larger T, whether Chan is called or not.
//
// # Messages of any size
//
// A BufSender lends blocks of shared memory, which are filled in place and sent
// by their handles; a BufReceiver gets them, and releases them when it is done.
//
//	tx, err := shmchan.OpenBufSender("frames", shmchan.WithPool(slabpool.Class{Size: 4 << 20, Count: 8}))
//	b, err := tx.Loan(ctx, 3<<20)
//	n, err := io.ReadFull(camera, b.Bytes())
//	err = tx.Send(ctx, b)
//
// Nothing is copied. What a dead process held comes back to the pool.
//
// # When a process dies
//
// At any instruction: what was sent stays and is received, what was not
// finished is never seen, and the survivor's blocked call returns ErrPeerDied,
// normally within a few milliseconds. A new process can take the dead one's
// role and goes on exactly where it stopped. A message that Recv has returned
// is gone with the receiver; Peek and Release keep it until it is done with.
//
// # When a peer is hostile
//
// Everything in shared memory is checked before it is used: a peer that
// writes garbage causes ErrCorrupt or wrong payload bytes, not a panic or an
// access outside. It can of course stop sending, or make calls return for no
// reason. A T with a bool may hold a byte that is neither 0 nor 1.
//
// # From outside
//
// Observe looks at a named channel: how full it is, who is at its ends, what
// they have waited for, what passes. It can change nothing and delays nobody.
// The tool shmctl is made of it.
//
// # What it does not do
//
// One sender, one receiver: no fan-in or fan-out in one channel. No network, no
// persistence across a reboot, no rendezvous (capacity 0). Elsewhere than on
// Linux only Pair works, within one process.
package shmchan
