package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"iter"
)

// A record is one message: a piece of a file, or all of a small one.
type record struct {
	File uint32 // counts from 0
	N    uint32 // how much of Data counts
	Data [recordData]byte
}

const recordData = 1016

// A recordSender is the sending end of a way for records. A
// [shmchan.Sender] is one.
type recordSender interface {
	Reserve(context.Context) (*record, error) // the record to fill
	Commit() error                            // sends it
	Close() error
}

// A recordReceiver is the receiving end. A [shmchan.Receiver] is one.
type recordReceiver interface {
	Peek(context.Context) (*record, error) // io.EOF after the last
	Release() error                        // done with it
	Close() error
}

// A result says what a process sent or received.
type result struct {
	Files, Records, Bytes uint64
	Sum                   [sha256.Size]byte // a CRC takes the first four bytes
}

func (r result) String() string {
	return fmt.Sprintf("%s files, %s records, %s bytes, digest %x", commas(r.Files), commas(r.Records), commas(r.Bytes), r.Sum)
}

// digests are what the receiver makes of the bytes: work worth doing, or as
// little as shows that every byte was there.
var digests = map[string]func() hash.Hash{
	taskHash:  sha256.New,
	taskTouch: func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
}

// A tally adds records up to a result.
type tally struct {
	result
	last uint32
	hash hash.Hash
}

func (t *tally) add(file uint32, data []byte) {
	if t.Records == 0 || file != t.last {
		t.Files++
		t.last = file
	}
	t.Records++
	t.Bytes += uint64(len(data))
	t.hash.Write(data) // a hash.Hash never fails
}

func (t *tally) sum() result {
	copy(t.Sum[:], t.hash.Sum(nil))
	return t.result
}

// pieces cuts a file into what fits a record. An empty file is one empty piece.
func pieces(data []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(data) > recordData {
			if !yield(data[:recordData]) {
				return
			}
			data = data[recordData:]
		}
		yield(data)
	}
}

// expect gives the result that a receiver of everything must come to.
func (c *corpus) expect(h hash.Hash, bar *progress) result {
	t := tally{hash: h}
	for i, data := range c.files {
		for piece := range pieces(data) {
			t.add(uint32(i), piece)
		}
		bar.add(len(data))
	}
	return t.sum()
}

// send sends everything. It leaves out open.
func send(ctx context.Context, out recordSender, c *corpus, bar *progress) error {
	for i, data := range c.files {
		for piece := range pieces(data) {
			rec, err := out.Reserve(ctx)
			if err != nil {
				return fmt.Errorf("sending file %d: %w", i, err)
			}
			rec.File, rec.N = uint32(i), uint32(copy(rec.Data[:], piece))
			if err := out.Commit(); err != nil {
				return fmt.Errorf("sending file %d: %w", i, err)
			}
		}
		bar.add(len(data))
	}
	return nil
}

// receive takes records until the sender has closed, and tells what it got.
func receive(ctx context.Context, in recordReceiver, h hash.Hash) (result, error) {
	t := tally{hash: h}
	for {
		rec, err := in.Peek(ctx)
		if errors.Is(err, io.EOF) {
			return t.sum(), nil
		}
		if err != nil {
			return result{}, fmt.Errorf("receiving record %d: %w", t.Records, err)
		}
		n := rec.N // once: the sender could write it again
		if n > recordData {
			return result{}, fmt.Errorf("record %d claims %d bytes and has room for %d", t.Records, n, recordData)
		}
		t.add(rec.File, rec.Data[:n])
		if err := in.Release(); err != nil {
			return result{}, fmt.Errorf("receiving record %d: %w", t.Records, err)
		}
	}
}
