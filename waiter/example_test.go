package waiter_test

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/shmkit/shm/waiter"
)

func Example() {
	var (
		event waiter.Event // in a program: in the memory that both processes see
		data  atomic.Int64
	)
	go func() {
		w := waiter.NewWaker(&event)
		data.Store(42)
		w.Notify()
	}()

	s := waiter.NewSleeper(&event, waiter.Adaptive)
	defer s.End()
	err := s.Wait(context.Background(), false, func() bool { return data.Load() != 0 })
	fmt.Println(data.Load(), err)
	// Output: 42 <nil>
}
