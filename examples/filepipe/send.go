package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// move sends a file: its name, its contents in blocks, and an empty message.
func move(ctx context.Context, tx *shmchan.BufSender, done *shmchan.Receiver[Done], file, target string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if a, err := f.Stat(); err != nil || !a.Mode().IsRegular() {
		return errors.Join(err, errors.New("not a regular file"))
	} else if b, err := os.Stat(target); err == nil && os.SameFile(a, b) {
		return errors.New("the target is the same file")
	}
	start := time.Now()
	name, err := tx.Loan(ctx, len(filepath.Base(file)))
	if err != nil {
		return err
	}
	copy(name.Bytes(), filepath.Base(file))
	if err := tx.Send(ctx, name); err != nil {
		return err
	}
	sum := sha256.New()
	size := int64(0)
	for more := true; more; {
		b, err := tx.Loan(ctx, *block)
		if err != nil {
			return err
		}
		if err := b.SetLen(0); err != nil {
			return err
		}
		n, err := b.ReadFrom(f) // straight from the file into the block
		switch {
		case err == nil:
			more = false // the end of the file; an empty Buf says so to the writer
		case !errors.Is(err, io.ErrShortBuffer):
			return err
		}
		sum.Write(b.Bytes())
		size += n
		if n > 0 {
			if err := tx.Send(ctx, b); err != nil {
				return err
			}
		} else if err := b.Release(); err != nil {
			return err
		}
	}
	end, err := tx.Loan(ctx, 1)
	if err != nil {
		return err
	}
	if err := end.SetLen(0); err != nil {
		return err
	}
	if err := tx.Send(ctx, end); err != nil {
		return err
	}
	d, err := done.Recv(ctx)
	if err != nil {
		return err
	}
	if d.Size != size || [32]byte(sum.Sum(nil)) != d.Sum {
		return fmt.Errorf("%d bytes with SHA-256 %x left, %d with %x arrived", size, sum.Sum(nil), d.Size, d.Sum)
	}
	took := time.Since(start)
	fmt.Printf("%s: %d bytes in %v, %.2f GB/s with SHA-256 on both sides, %x\n",
		filepath.Base(file), size, took.Round(time.Millisecond), float64(size)/took.Seconds()/1e9, d.Sum)
	return nil
}
