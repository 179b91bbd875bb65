// Filepipe moves files from one process to another through blocks of shared
// memory, and checks that each arrives as it left.
//
//	go run ./examples/filepipe                      moves this program itself
//	go run ./examples/filepipe -to DIR FILE...      moves files into DIR
//
// This process reads the files straight into blocks; another one writes them
// straight out of the same blocks. Both compute SHA-256 on the way, and the
// second also of the files that it has written: read send.go and recv.go.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// A Done says that a file has arrived.
type Done struct {
	Size int64
	Sum  [32]byte // SHA-256 of what was written, read again
}

var (
	to      = flag.String("to", "", "`directory` for the files; one that is removed in the end if not said")
	block   = flag.Int("block", 1<<20, "size of a block in `bytes`")
	channel = flag.String("channel", "", "be the writer, at the channels with this `name` (used by the program itself)")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "filepipe:", err)
		os.Exit(1)
	}
}

// pool has eight blocks. Both sides say so, since either may come first and make
// the channel.
func pool() shmchan.Option { return shmchan.WithPool(slabpool.Class{Size: *block, Count: 8}) }

func run(ctx context.Context, files []string) (err error) {
	if *channel != "" {
		return write(ctx, *channel, *to)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if len(files) == 0 {
		files = []string{self}
	}
	dir := *to
	if dir == "" {
		if dir, err = os.MkdirTemp("", "filepipe-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}

	name := fmt.Sprintf("shm-filepipe-%d", os.Getpid())
	for _, n := range []string{name, name + "-done"} { // after a failure messages may lie there, and the name stays
		defer shmchan.Remove(n)
	}
	tx, err := shmchan.OpenBufSender(name, pool())
	if err != nil {
		return err
	}
	defer tx.Close()
	done, err := shmchan.OpenReceiver[Done](name + "-done")
	if err != nil {
		return err
	}
	defer done.Close()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	child := exec.CommandContext(ctx, self, "-channel", name, "-to", dir, "-block", fmt.Sprint(*block))
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		return fmt.Errorf("cannot start the writer: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		err := child.Wait()
		if err != nil {
			err = fmt.Errorf("the writer ended with: %w", err)
			cancel(err)
		}
		ended <- err
	}()
	for _, file := range files {
		if err = move(ctx, tx, done, file, filepath.Join(dir, filepath.Base(file))); err != nil {
			err = fmt.Errorf("%s: %w", file, err)
			cancel(err)
			break
		}
	}
	tx.Close() // the writer is done then
	if werr := <-ended; err == nil {
		err = werr
	}
	return err
}
