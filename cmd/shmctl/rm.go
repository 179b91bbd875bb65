//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shmkit/shm/shmchan"
)

func rmCommand() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove names",
		Long: `Remove names, with what lies in them. Whoever opens the name next makes a new
channel. A name that a living process uses is not removed, unless --force is
given: then a sender gets ErrClosed at its next send, and a receiver when it has
taken what is there.

A stale lock file, which doctor shows, is removed by the name of its region.`,
		Example: `  shmctl rm ticks
  shmctl rm --force ticks /tmp/orders`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			var failed []error
			for _, name := range args {
				if err := remove(name, force); err != nil {
					failed = append(failed, err)
					continue
				}
				fmt.Fprintf(c.OutOrStdout(), "removed %s\n", name)
			}
			return errors.Join(failed...)
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "also if a living process uses it")
	return c
}

// remove removes a name, or the lock file that it has left behind.
func remove(name string, force bool) error {
	if !force {
		if users := usersOf(name); users != "" {
			return fmt.Errorf("%s is in use by %s; end it, or use --force", name, users)
		}
	}
	lock := filepath.Join(namesDir(), name) + ".lock"
	if filepath.IsAbs(name) {
		lock = name + ".lock"
	}
	_, stray := os.Lstat(lock)
	err := shmchan.Remove(name)
	if _, left := os.Lstat(lock); errors.Is(err, fs.ErrNotExist) && stray == nil && left != nil {
		return nil // there was a stray lock file, and it is gone
	}
	if errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(name, "/") {
		return explain(name, err)
	}
	return err
}

// usersOf names the living processes that use a region.
func usersOf(name string) string {
	v := open(name)
	defer v.close()
	if v.reg == nil {
		return "" // nobody can attach to what is no region
	}
	var users []string
	for role := range v.reg.Layout().Roles {
		e, err := v.reg.Endpoint(role)
		if err == nil && !e.Vacant() {
			users = append(users, "process "+end(e, false))
		}
	}
	return strings.Join(users, " and ")
}
