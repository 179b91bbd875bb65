package shmchan_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// Many goroutines wait at pollers, others come and go, and the file of a channel
// that only the library's goroutine works with is cut off all the time.
func TestPollersWhenCutOff(t *testing.T) {
	needsFiles(t)
	d := dir(t)
	ctx, cancel := context.WithCancel(bg)
	var others []<-chan error
	for i := range 80 {
		tx, rx, err := shmchan.Pair[int](shmchan.WithWait(waiter.Park))
		must(t, err)
		defer tx.Close()
		defer rx.Close()
		others = append(others, goes(func() error {
			if i < 40 {
				_, err := rx.Recv(ctx)
				return err
			}
			for ctx.Err() == nil {
				moment, stop := context.WithTimeout(ctx, time.Millisecond)
				shmchan.Select(moment, rx)
				stop()
			}
			return ctx.Err()
		}))
	}
	for i := range n(30) {
		name := filepath.Join(d, fmt.Sprint("name", i))
		rx, err := shmchan.OpenReceiver[int](name, shmchan.WithWait(waiter.Park))
		must(t, err)
		rx.Ready()
		doze()
		for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
			must(t, os.Truncate(name, 0))
		}
		token(t, rx.Ready())
		rx.Close()
		for _, f := range []string{name, name + ".lock"} { // if it was cut off between
			if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	cancel()
	for _, o := range others {
		wantErr(t, result(t, o), context.Canceled)
	}
}
