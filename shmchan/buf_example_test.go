package shmchan_test

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// A message is written and read in place. Usually the two ends are in two
// processes: see OpenBufSender and OpenBufReceiver.
func ExampleBufPair() {
	ctx := context.Background()
	tx, rx, err := shmchan.BufPair(shmchan.WithPool(slabpool.Class{Size: 64 << 10, Count: 4}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rx.Close()
	go func() {
		defer tx.Close()
		for i := range 3 {
			b, err := tx.Loan(ctx, 1000) // waits while all blocks are in use
			if err != nil {
				return
			}
			b.SetLen(0)
			fmt.Fprintf(b, "message %d\n", i) // straight into shared memory
			if err := tx.Send(ctx, b); err != nil {
				return
			}
		}
	}()
	for {
		b, err := rx.Recv(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		b.WriteTo(os.Stdout) // straight from it
		b.Release()
	}
	// Output:
	// message 0
	// message 1
	// message 2
}
