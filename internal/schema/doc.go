// Package schema says which types may travel through a channel, and describes
// their layout as data.
//
// A value of T is copied into shared memory byte by byte, so T may hold no
// pointer at any depth, nor anything that has no meaning once copied, such as
// a lock. [Of] checks that and, where T will not do, names the offending field
// and what to use instead:
//
//	type cannot travel between processes: Order.Legs[].Note is a string; use [N]byte and a length, or a Buf channel
//
// A [Layout] is the result. Two programs compare its Fingerprint before they
// share memory, print its String when the two differ, and keep its Encode in
// the header of the region, from which a tool that has never seen the Go type
// decodes it again and prints values with AppendText.
//
// # What is compared
//
// The fingerprint covers the kind, size and alignment of T and of everything
// in it, the offsets of fields and the lengths of arrays, in order of the
// structure. It does not cover names: the two programs may name types and
// fields as they like, because the layout is all that the bytes depend on. So
// two fields of one kind that one program has swapped go unnoticed. An int is
// an integer of 8 bytes on a 64-bit machine and equals int64 there; likewise
// uint and uint64. A defined type equals the type that it is made from:
// time.Duration is an int64. A struct of one field differs from that field.
//
// # What it does not do
//
// It knows nothing of methods: AppendText prints what fmt prints with %+v for
// a type without methods, so a time.Duration appears as a number. It does not
// convert between layouts. It does not guard against values: a peer may write
// any bytes, and Go code that reads a bool which is neither 0 nor 1 may behave
// strangely. AppendText takes any bytes and shows such a bool as true.
//
// # Death and hostility
//
// Nothing here touches shared memory except [Decode] and AppendText, which
// read what they are given. Decode copies its input before it looks at it, so
// a peer that changes the bytes meanwhile, or dies half-way through writing
// them, causes an error at worst. Its time and memory, and the recursion of
// all that is done with its result, are bounded whatever the bytes are. Names
// in a decoded layout are printable, so they can go to a terminal.
package schema
