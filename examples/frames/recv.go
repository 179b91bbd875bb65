package main

import (
	"context"
	"hash/crc32"
	"io"
	"net"
	"path/filepath"

	"github.com/shmkit/shm/shmchan"
)

// show is the screen: it looks at all frames of the channel, then at all of the
// socket, and reports after each.
func show(ctx context.Context, dir string) error {
	listener, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		return err
	}
	defer listener.Close()
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	reports, err := shmchan.OpenSender[Report](filepath.Join(dir, "reports"))
	if err != nil {
		return err
	}
	defer reports.Close()

	r, err := recvBufs(ctx, dir)
	if err == nil {
		err = reports.Send(ctx, r)
	}
	if err != nil {
		return err
	}
	if r, err = recvSocket(ctx, listener); err != nil {
		return err
	}
	return reports.Send(ctx, r)
}

// recvBufs looks at each frame where it lies, and gives the block back.
func recvBufs(ctx context.Context, dir string) (r Report, err error) {
	rx, err := shmchan.OpenBufReceiver(filepath.Join(dir, "frames"), pool)
	if err != nil {
		return r, err
	}
	defer rx.Close()
	for b, err := range rx.All(ctx) {
		if err != nil {
			return r, err
		}
		r.look(b.Bytes())
		if err := b.Release(); err != nil {
			return r, err
		}
	}
	return r, nil
}

// recvSocket reads each frame into memory of its own.
func recvSocket(ctx context.Context, l net.Listener) (r Report, err error) {
	c, err := l.Accept()
	if err != nil {
		return r, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	frame := make([]byte, frameSize)
	for {
		n, err := io.ReadFull(c, frame) // copies out of the kernel
		r.Copied += uint64(n)
		if err == io.EOF {
			return r, nil
		}
		if err != nil {
			return r, err
		}
		r.look(frame)
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// look adds a frame to the report.
func (r *Report) look(frame []byte) {
	r.Frames++
	r.Sum = crc32.Update(r.Sum, castagnoli, frame)
	var h [8]uint64
	for _, y := range frame[:lumaSize] {
		h[y>>5]++
	}
	for i, n := range h {
		r.Histogram[i] += n
	}
}
