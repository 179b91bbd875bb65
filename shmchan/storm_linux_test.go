package shmchan_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
)

func init() {
	// storm SEED TIME NAME: sends in bad weather, then says how many.
	children["storm"] = func(args []string) {
		var seed uint64
		fmt.Sscan(args[0], &seed)
		d, err := time.ParseDuration(args[1])
		if err != nil {
			panic(err)
		}
		tx, err := shmchan.OpenSender[int](args[2])
		if err != nil {
			panic(err)
		}
		w := newWeather(seed)
		sent, err := w.sendIn(tx, time.Now().Add(d))
		if err != nil {
			panic(err)
		}
		fmt.Println(sent)
		fmt.Println(w.report())
	}
}

// The same between two processes, on several channels at once, beside each other.
func TestStormBetweenProcesses(t *testing.T) {
	needsFiles(t)
	dir(t)
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprint("storm", i)
			rx, err := shmchan.OpenReceiver[int](name, shmchan.WithCapacity(1<<i))
			must(t, err)
			defer rx.Close()
			seed := rand.Uint64()
			t.Log("seed", seed)
			c := start(t, nil, "storm", fmt.Sprint(seed), (*storm / 2).String(), name)
			w := newWeather(seed + 1)
			got, err := w.receiveIn(rx)
			must(t, err)
			c.want(fmt.Sprint(got))
			t.Logf("%d messages; sender: %s", got, c.line())
			t.Logf("receiver: %s", w.report())
		})
	}
}
