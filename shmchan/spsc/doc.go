// Package spsc is the raw ring under a channel: lock-free and wait-free, one
// producer, one consumer, over memory that the caller owns, which may be
// shared between processes.
//
// The flag travels with the data: each slot has a 64-bit sequence beside the
// message, and both ends tell full and empty from it alone. A message costs one
// cache line each way, the capacity is exact, and a successor of a dead end
// finds its position in the sequences. The scheme is that of D. Vyukov's
// bounded queue (1024cores.net, 2010) with one end each, so that no
// compare-and-swap is left; that the flag lies in the slot is from FastForward
// (Giacomoni, Moseley, Vachharajani, PPoPP 2008).
//
// A typed channel that blocks, wakes, and notices death is package shmchan;
// this package does none of that. It never blocks: Slot returns nil on a full
// or empty ring. It does not see to it that there is one producer and one
// consumer, and it does not know of types: the caller reads and writes Size
// bytes at the pointer that Slot returns.
//
// # Death
//
// A process may be killed at any instruction. A message is published by one
// store, and taken by one store: what was published stays, what was not stays
// invisible, and what was not released is there for the successor.
//
// # Hostile memory
//
// Positions and geometry are private copies. What the other end writes is
// compared, never used as an index: a sequence that cannot be gives ErrCorrupt.
package spsc
