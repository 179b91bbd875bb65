package shmchan_test

import (
	"context"
	"fmt"

	"github.com/shmkit/shm/shmchan"
)

func Example() {
	type Tick struct {
		Symbol [8]byte
		Price  float64
	}
	ctx := context.Background()
	tx, rx, err := shmchan.Pair[Tick]()
	if err != nil {
		panic(err)
	}
	defer rx.Close()

	go func() {
		defer tx.Close()
		for i := range 3 {
			if err := tx.Send(ctx, Tick{Price: float64(i)}); err != nil {
				panic(err)
			}
		}
	}()
	for t, err := range rx.All(ctx) {
		if err != nil {
			panic(err)
		}
		fmt.Println(t.Price)
	}
	// Output:
	// 0
	// 1
	// 2
}
