package main

import (
	"context"
	"net"
	"path/filepath"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// pool has room for four frames. Both sides say so, since either may come first
// and make the channel.
var pool = shmchan.WithPool(slabpool.Class{Size: frameSize, Count: 4})

// sendBufs draws each frame straight into a block and sends that.
func sendBufs(ctx context.Context, dir string, src source, n int) (copied uint64, err error) {
	tx, err := shmchan.OpenBufSender(filepath.Join(dir, "frames"), pool)
	if err != nil {
		return 0, err
	}
	defer tx.Close()
	for range n {
		b, err := tx.Loan(ctx, frameSize) // waits while the screen has all four
		if err != nil {
			return 0, err
		}
		if err := src.next(b.Bytes()); err != nil {
			return 0, err
		}
		if err := tx.Send(ctx, b); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// sendSocket draws each frame into memory of its own and writes that.
func sendSocket(ctx context.Context, dir string, src source, n int) (copied uint64, err error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", filepath.Join(dir, "socket"))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	frame := make([]byte, frameSize)
	for range n {
		if err := src.next(frame); err != nil {
			return copied, err
		}
		k, err := c.Write(frame) // copies into the kernel
		copied += uint64(k)
		if err != nil {
			return copied, err
		}
	}
	return copied, nil
}
