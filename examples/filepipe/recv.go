package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/shmkit/shm/shmchan"
)

// write is the other process: it writes the files that come into dir, until the
// sender closes.
func write(ctx context.Context, name, dir string) error {
	rx, err := shmchan.OpenBufReceiver(name, pool())
	if err != nil {
		return err
	}
	defer rx.Close()
	done, err := shmchan.OpenSender[Done](name + "-done")
	if err != nil {
		return err
	}
	defer done.Close()
	for {
		b, err := rx.Recv(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.Base(string(b.Bytes()))) // a name, wherever it came from
		if err := b.Release(); err != nil {
			return err
		}
		d, err := writeFile(ctx, rx, path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := done.Send(ctx, d); err != nil {
			return err
		}
	}
}

// writeFile writes blocks to a file until an empty one comes, and reads the
// file again for its sum.
func writeFile(ctx context.Context, rx *shmchan.BufReceiver, path string) (d Done, err error) {
	f, err := os.Create(path)
	if err != nil {
		return d, err
	}
	defer f.Close()
	for more := true; more; {
		b, err := rx.Recv(ctx)
		if err != nil {
			return d, err
		}
		more = b.Len() > 0
		n, err := b.WriteTo(f) // straight from the block into the file
		if rerr := b.Release(); err == nil {
			err = rerr
		}
		if err != nil {
			return d, err
		}
		d.Size += n
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return d, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return d, err
	}
	d.Sum = [32]byte(sum.Sum(nil))
	return d, f.Sync()
}
