// Frames moves video frames of 1080p from one process to another without a copy,
// and then the same frames through a Unix socket, to compare.
//
//	go run ./examples/frames                    frames that are drawn on the way
//	go run ./examples/frames -in video.yuv      raw video: 8-bit YUV 4:2:0
//
// The camera is this process; the screen is another one, which computes a
// checksum of every byte and a histogram of the brightness. Through the channel
// a frame is drawn, or read from the file, straight into a block of shared
// memory, and looked at there: read send.go and recv.go.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// What a frame is made of.
const (
	width, height = 1920, 1080
	lumaSize      = width * height
	frameSize     = lumaSize * 3 / 2
)

// A Report is what the screen says at the end, through a channel of its own.
type Report struct {
	Frames    uint64
	Copied    uint64 // bytes that the screen copied, or the kernel for it
	Sum       uint32 // CRC-32C of all frames
	Histogram [8]uint64
}

var (
	input  = flag.String("in", "", "raw video `file`, 8-bit YUV 4:2:0; frames are drawn if it is missing")
	count  = flag.Int("n", 300, "how many `frames` to move; a file is read again from its start")
	screen = flag.String("screen", "", "be the screen, in this `directory` (used by the program itself)")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "frames:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if flag.NArg() > 0 || *count < 1 {
		return fmt.Errorf("want flags only, and at least one frame; see -help")
	}
	if *screen != "" {
		return show(ctx, *screen)
	}
	src, err := open(*input)
	if err != nil {
		return err
	}
	defer src.close()
	dir, err := os.MkdirTemp(shmDir(), "shm-frames-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.CommandContext(ctx, self, "-screen", dir, "-n", strconv.Itoa(*count))
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		return fmt.Errorf("cannot start the screen: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		err := child.Wait()
		if err != nil {
			err = fmt.Errorf("the screen ended with: %w", err)
			cancel(err)
		}
		ended <- err
	}()
	err = compare(ctx, dir, src)
	if err != nil {
		cancel(err)
	}
	return errorOf(err, <-ended)
}

// compare moves the frames both ways and prints what that took.
func compare(ctx context.Context, dir string, src source) error {
	reports, err := shmchan.OpenReceiver[Report](filepath.Join(dir, "reports"))
	if err != nil {
		return err
	}
	defer reports.Close()
	var first Report
	for i, way := range []struct {
		name string
		send func(ctx context.Context, dir string, src source, n int) (copied uint64, err error)
	}{{"shared memory", sendBufs}, {"Unix socket", sendSocket}} {
		if err := src.rewind(); err != nil {
			return err
		}
		start := time.Now()
		copied, err := way.send(ctx, dir, src, *count)
		if err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		r, err := reports.Recv(ctx)
		if err != nil {
			return fmt.Errorf("%s: the screen's report: %w", way.name, err)
		}
		took := time.Since(start).Seconds()
		fmt.Printf("%-14s %7.0f frames/s %7.2f GB/s %12d bytes copied, checksum %08x\n", way.name+":",
			float64(r.Frames)/took, float64(r.Frames)*frameSize/took/1e9, copied+r.Copied, r.Sum)
		if i == 0 {
			first = r
			fmt.Printf("%-14s %v\n", "brightness:", r.Histogram)
		} else if r.Sum != first.Sum || r.Histogram != first.Histogram || r.Frames != first.Frames {
			return fmt.Errorf("the two ways brought different frames: %+v, then %+v", first, r)
		}
	}
	return nil
}

func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// shmDir is where the socket and the channels lie.
func shmDir() string {
	if d := os.Getenv("SHMCHAN_DIR"); d != "" {
		return d
	}
	return "/dev/shm"
}
