package chantrace_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/shmkit/shm/chantrace"
)

// Watches the channels of this machine for a second, then shows what was seen.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	t, err := chantrace.Attach(ctx, chantrace.Options{})
	if err != nil {
		fmt.Println("cannot trace:", err) // says what is needed
		return
	}
	defer t.Close()
	<-ctx.Done()
	words, err := t.Snapshot()
	if err != nil {
		fmt.Println(err)
		return
	}
	var names chantrace.Resolver
	names.Resolve(words)
	if err := chantrace.WriteText(os.Stdout, words); err != nil {
		fmt.Println(err)
	}
}

func ExampleHistogram() {
	var h chantrace.Histogram
	h[28], h[29], h[30] = 100, 400, 20 // from 16, 25 and 33 µs on
	fmt.Println("median about", h.Quantile(0.5).Round(time.Microsecond))
	for _, line := range h.Bars(20) {
		fmt.Println(line)
	}
	// Output:
	// median about 28µs
	//     16 µs |#####                100
	//     25 µs |#################### 400
	//     33 µs |#                    20
}
