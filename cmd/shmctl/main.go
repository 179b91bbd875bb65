//go:build linux

// Shmctl shows from outside what channels in shared memory do: what there is,
// how full it is, who is at the ends, what passes, and what is wrong.
//
//	shmctl ls
//	shmctl top
//	shmctl stat NAME
//	shmctl tail NAME
//	shmctl doctor [NAME]
//
// It attaches for reading only, holds no lock, and so can neither change a
// channel nor stand in anybody's way; only rm does something.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/shmkit/shm/internal/bench"
)

func main() {
	bench.Child() // does not return in a process that bench has started
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "shmctl:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "shmctl",
		Short: "Look at channels in shared memory from outside",
		Long: `Shmctl shows what channels in shared memory do, without disturbing them: it
attaches for reading only and holds no lock.

A bare NAME is a file in /dev/shm, in $SHMCHAN_DIR, or in the directory given
with --dir; an absolute path is used as it is.`,
		Example: `  shmctl ls
  shmctl top
  shmctl stat ticks --watch`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if dir == "" {
				return nil
			}
			return useDir(dir)
		},
	}
	c.PersistentFlags().StringVar(&dir, "dir", "", "`directory` of bare names, instead of $SHMCHAN_DIR or /dev/shm")
	c.AddCommand(lsCommand(), statCommand(), topCommand(), tailCommand(), doctorCommand(), rmCommand(), benchCommand(), traceCommand())
	return c
}
