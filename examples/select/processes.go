package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// producerVar has the number of a producer in the environment of its process.
const producerVar = "SHM_SELECT_PRODUCER"

// parent starts the producers, each with one end of a channel, and merges what
// they say.
func parent(ctx context.Context) (err error) {
	if *producers < 1 || *count < 0 || *every <= 0 || *report <= 0 || flag.NArg() > 0 {
		usage()
		return errors.New("-producers, -every and -report must be positive, -n must not be negative, and there are no other arguments")
	}
	atx, arx, err := shmchan.Pair[Line]()
	if err != nil {
		return err
	}
	defer arx.Close()
	alarms, err := atx.File()
	if err != nil {
		return err
	}
	rxs := make([]*shmchan.Receiver[Line], *producers)
	cmds := make([]*exec.Cmd, *producers)
	defer func() {
		interrupted := ctx.Err() != nil
		for i, cmd := range cmds {
			if rxs[i] != nil {
				rxs[i].Close() // if it is still sending, it stops
			}
			if cmd == nil {
				continue
			}
			if status := cmd.Wait(); status != nil && !interrupted {
				err = errors.Join(err, fmt.Errorf("producer %d (pid %d) ended with: %w", i, cmd.Process.Pid, status))
			}
		}
	}()
	for i := range rxs {
		tx, rx, err := shmchan.Pair[Line]()
		if err != nil {
			return err
		}
		rxs[i] = rx
		end, err := tx.File()
		if err != nil {
			return err
		}
		files := []*os.File{end}
		if i == 0 { // raises the alarms too
			files = append(files, alarms)
		}
		cmds[i], err = start(ctx, i, files)
		for _, f := range files {
			f.Close() // the process has a copy
		}
		if err != nil {
			return fmt.Errorf("cannot start producer %d: %w", i, err)
		}
	}
	all, err := multiplex(ctx, rxs, arx, os.Stdin, os.Stdout)
	if err == nil {
		fmt.Println("in all:", all)
	}
	return err
}

func start(ctx context.Context, i int, files []*os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), producerVar+"="+strconv.Itoa(i))
	cmd.ExtraFiles = files // descriptors 3 and up over there
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return cmd, nil
}

// produce is what a producer's process does.
func produce(ctx context.Context) (err error) {
	tx, err := shmchan.SenderFromFile[Line](os.NewFile(3, "lines"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Close()) }()
	var alarms *shmchan.Sender[Line]
	if os.Getenv(producerVar) == "0" {
		if alarms, err = shmchan.SenderFromFile[Line](os.NewFile(4, "alarms")); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, alarms.Close()) }()
	}
	for i := range *count {
		select {
		case <-time.After(time.Duration(rand.Int64N(int64(2 * *every)))):
		case <-ctx.Done():
			return nil
		}
		if err := tx.Send(ctx, newLine(fmt.Sprint("line ", i))); err != nil {
			return err
		}
		if alarms != nil && i%10 == 9 {
			if err := alarms.Send(ctx, newLine(fmt.Sprint("already ", i+1, " lines"))); err != nil {
				return err
			}
		}
	}
	return nil
}
