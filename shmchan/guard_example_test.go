package shmchan_test

import (
	"context"
	"fmt"

	"github.com/shmkit/shm/shmchan"
)

// A loop over a channel whose file others may write to.
func ExampleGuard() {
	tx, rx, err := shmchan.Pair[int]()
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 3 {
		tx.TrySend(i)
	}
	tx.Close()
	sum := 0
	err = shmchan.Guard(func() error {
		for v, err := range rx.All(context.Background()) {
			if err != nil {
				return err
			}
			sum += v
		}
		return nil
	})
	fmt.Println(sum, err)
	rx.Close()
	// Output: 3 <nil>
}
