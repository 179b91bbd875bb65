package shmchan_test

import (
	"context"
	"fmt"

	"github.com/shmkit/shm/shmchan"
)

// An observer sees what passes, and takes nothing.
func ExampleObserve() {
	ctx := context.Background()
	tx, err := shmchan.OpenSender[[2]int32]("example-observed-channel")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tx.Close()
	defer shmchan.Remove("example-observed-channel")
	tx.Send(ctx, [2]int32{3, 4})

	o, err := shmchan.Observe("example-observed-channel")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer o.Close()
	s, err := o.Stats()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(o.Info().Type, s.Len, s.Sender.Phase, s.Receiver.Phase)
	tail, err := o.Tail(true)
	if err != nil {
		fmt.Println(err)
		return
	}
	m, ok, err := tail.Next()
	fmt.Println(string(o.AppendText(nil, m.Bytes)), ok, err)
	// Output:
	// [2]int32 size 8 align 4 1 attached free
	// [3 4] true <nil>
}
