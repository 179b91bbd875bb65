package shmchan_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// chosen wants Select and a Selector to choose one of want, and nothing else.
func chosen(t *testing.T, cases []shmchan.Case, want ...int) {
	t.Helper()
	ctx := within(t)
	sel := shmchan.NewSelector(cases...)
	for name, choose := range map[string]func() (int, error){
		"Select":   func() (int, error) { return shmchan.Select(ctx, cases...) },
		"Selector": func() (int, error) { return sel.Select(ctx) },
	} {
		seen := map[int]int{}
		for range 50 * len(want) {
			i, err := choose()
			must(t, err)
			seen[i]++
		}
		for _, i := range want {
			if seen[i] == 0 {
				t.Fatalf("%s never chooses %d: %v", name, i, seen)
			}
			delete(seen, i)
		}
		if len(seen) > 0 {
			t.Fatalf("%s chooses %v too, want %v", name, seen, want)
		}
	}
}

// blocks wants Select and a Selector to wait until their context ends.
func blocks(t *testing.T, cases ...shmchan.Case) {
	t.Helper()
	why := errors.New("the reason")
	sel := shmchan.NewSelector(cases...)
	for _, choose := range []func(context.Context) (int, error){
		func(ctx context.Context) (int, error) { return shmchan.Select(ctx, cases...) },
		sel.Select,
	} {
		ctx, cancel := context.WithTimeoutCause(bg, 5*time.Millisecond, why)
		if i, err := choose(ctx); i != -1 || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, why) {
			t.Fatal(i, err)
		}
		cancel()
		if i, err := choose(cancelled()); i != -1 || !errors.Is(err, context.Canceled) {
			t.Fatal(i, err)
		}
		if i, err := choose(nil); i != -1 || !errors.Is(err, errInvalid) {
			t.Fatal(i, err)
		}
	}
}

func TestSelectChoosesWhatCanProceed(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		atx, arx := pair[int](t, o.cap(1))
		btx, brx := pair[[3]int16](t, o.cap(2))
		ctx, crx := pair[byte](t, o.cap(1))
		all := []shmchan.Case{arx, brx, crx}
		blocks(t, all...)
		must(t, btx.TrySend([3]int16{}))
		chosen(t, all, 1)
		must(t, atx.TrySend(1))
		chosen(t, all, 0, 1)
		chosen(t, []shmchan.Case{arx, brx, crx, atx, btx, ctx}, 0, 1, 4, 5)
		chosen(t, []shmchan.Case{arx, nil, arx, (*shmchan.Sender[int])(nil), (*shmchan.Receiver[byte])(nil)}, 0, 2)
		blocks(t, crx, atx, nil)

		must(t, ctx.Close())
		chosen(t, all, 0, 1, 2) // to be told io.EOF
		if _, err := crx.TryRecv(); err != io.EOF {
			t.Fatal(err)
		}
		must(t, brx.Close())
		chosen(t, []shmchan.Case{brx, btx, atx}, 0, 1) // to be told ErrClosed, both
	})
}

func TestSelectOfNothingWaits(t *testing.T) {
	blocks(t)
	blocks(t, nil, (*shmchan.Receiver[int])(nil))
	done := make(chan error)
	ctx, cancel := context.WithCancel(bg)
	go func() {
		_, err := shmchan.Select(ctx)
		done <- err
	}()
	time.Sleep(time.Millisecond)
	cancel()
	wantErr(t, result(t, done), context.Canceled)
}

// Whatever happens to a case while Select is blocked ends it.
func TestSelectIsWoken(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		for name, happen := range map[string]func(tx *shmchan.Sender[int], rx *shmchan.Receiver[int]) (want int){
			"message":         func(tx *shmchan.Sender[int], rx *shmchan.Receiver[int]) int { must(t, tx.TrySend(7)); return 1 },
			"sender closes":   func(tx *shmchan.Sender[int], rx *shmchan.Receiver[int]) int { must(t, tx.Close()); return 1 },
			"own close":       func(tx *shmchan.Sender[int], rx *shmchan.Receiver[int]) int { must(t, rx.Close()); return 1 },
			"own detach":      func(tx *shmchan.Sender[int], rx *shmchan.Receiver[int]) int { must(t, rx.Detach()); return 1 },
			"nothing, cancel": func(tx *shmchan.Sender[int], rx *shmchan.Receiver[int]) int { return -1 },
		} {
			t.Run(name, func(t *testing.T) {
				_, quiet := pair[int](t, o.cap(1))
				full, _ := pair[int](t, o.cap(1))
				must(t, full.TrySend(0))
				tx, rx := pair[int](t, o.cap(1))
				ctx, cancel := context.WithCancel(within(t))
				defer cancel()
				got := make(chan int)
				go func() {
					i, _ := shmchan.Select(ctx, quiet, rx, full)
					got <- i
				}()
				time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
				want := happen(tx, rx)
				if want < 0 {
					cancel()
				}
				if i := result(t, got); i != want {
					t.Fatal(i)
				}
			})
		}
	})
}

// Among cases that can all proceed none starves, and a Selector is exactly fair.
func TestSelectIsFair(t *testing.T) {
	const cases = 10
	rounds := n(1_000_000)
	_, never := pair[int](t, options{shmchan.WithHeap()})
	var list []shmchan.Case
	for i := range cases {
		tx, rx := pair[int](t, options{shmchan.WithHeap()}.cap(1))
		must(t, tx.TrySend(i))
		list = append(list, rx)
		if i == 3 { // whoever follows one that cannot proceed has no advantage
			list = append(list, never, never, nil)
		}
	}
	sel := shmchan.NewSelector(list...)
	counts, turns := make([]int, len(list)), make([]int, len(list))
	last := make([]int, len(list))
	for round := range rounds {
		i, err := shmchan.Select(bg, list...)
		must(t, err)
		counts[i]++
		i, err = sel.Select(bg)
		must(t, err)
		turns[i]++
		if round >= cases && round-last[i] != cases {
			t.Fatalf("round %d: case %d was chosen %d rounds ago", round, i, round-last[i])
		}
		last[i] = round
	}
	for i := range list {
		want := rounds / cases
		if i >= 4 && i <= 6 {
			want = 0
		}
		// One deviation in 10⁵ rounds is about 95; ten of them do not happen.
		if off := counts[i] - want; off*off > 100*want {
			t.Errorf("case %d was chosen %d times of %d", i, counts[i], rounds)
		}
		if off := turns[i] - want; off < -1 || off > 1 {
			t.Errorf("case %d had %d turns of %d", i, turns[i], rounds)
		}
	}
}

// A message waits for at most as many rounds as there are cases, however busy
// the others are.
func TestSelectDoesNotStarve(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		ctx, cancel := context.WithCancel(within(t))
		defer cancel()
		var list []shmchan.Case
		var rxs []*shmchan.Receiver[int]
		for range 3 {
			tx, rx := pair[int](t, o.cap(2))
			list, rxs = append(list, rx), append(rxs, rx)
			go func() {
				for k := 0; tx.Send(ctx, k) == nil; k++ {
				}
			}()
		}
		sel := shmchan.NewSelector(list...)
		var got, waited [3]int
		for range n(100_000) {
			for i, rx := range rxs {
				if rx.Len() > 0 {
					waited[i]++
				}
			}
			i, err := sel.Select(ctx)
			must(t, err)
			if v, err := rxs[i].TryRecv(); err != nil || v != got[i] {
				t.Fatal(i, v, got[i], err)
			}
			got[i]++
			waited[i] = 0
			for i, k := range waited {
				if k > len(list) {
					t.Fatalf("channel %d had a message for %d rounds", i, k)
				}
			}
		}
	})
}

// Each message goes to exactly one of two goroutines that select over the same
// channels in turns: Go's doubleselect.
func TestSelectTakesEachMessageOnce(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		ctx := within(t)
		const channels = 4
		total := n(20_000)
		var txs []*shmchan.Sender[int]
		var rxs []*shmchan.Receiver[int]
		var list []shmchan.Case
		for range channels {
			tx, rx := pair[int](t, o.cap(2))
			txs, rxs, list = append(txs, tx), append(rxs, rx), append(list, rx)
		}
		done := goes(func() error { // sends each number once, wherever there is room
			var room []shmchan.Case
			for _, tx := range txs {
				room = append(room, tx)
			}
			for v := 0; v < total; {
				i, err := shmchan.Select(ctx, room...)
				if err != nil {
					return err
				}
				switch err := txs[i].TrySend(v); {
				case err == nil:
					v++
				case !errors.Is(err, shmchan.ErrFull):
					return err
				}
			}
			for _, tx := range txs {
				tx.Close()
			}
			return nil
		})
		seen := make([]bool, total)
		sel := shmchan.NewSelector(list...)
		for left := channels; left > 0; {
			i, err := sel.Select(ctx)
			must(t, err)
			v, err := rxs[i].TryRecv()
			switch {
			case err == io.EOF:
				sel.Set(i, nil)
				left--
			case errors.Is(err, shmchan.ErrEmpty): // with no other goroutine at work there is no reason
				t.Fatal("chosen without a message")
			case err != nil || seen[v]:
				t.Fatal(i, v, err)
			default:
				seen[v] = true
			}
		}
		must(t, result(t, done))
		for v, ok := range seen {
			if !ok {
				t.Fatal(v, "is lost")
			}
		}
	})
}

// More cases than one system call takes, more goroutines than threads.
func TestSelectOverMany(t *testing.T) {
	const channels, goroutines = 300, 60
	var list []shmchan.Case
	var txs []*shmchan.Sender[int]
	var rxs []*shmchan.Receiver[int]
	for range channels {
		tx, rx := pair[int](t, options{shmchan.WithHeap()}.cap(1))
		txs, rxs, list = append(txs, tx), append(rxs, rx), append(list, rx)
	}
	ctx := within(t)
	for round := range 3 {
		got := make(chan int, goroutines)
		for g := range goroutines {
			own := list[g%7:]
			go func() {
				i, err := shmchan.Select(ctx, own...)
				if err != nil {
					i = -100
				}
				got <- i + g%7
			}()
		}
		time.Sleep(5 * time.Millisecond)
		k := 7 + rand.IntN(channels-7)
		must(t, txs[k].TrySend(round))
		for range goroutines {
			if i := result(t, got); i != k {
				t.Fatalf("chose %d, want %d", i, k)
			}
		}
		if v, err := rxs[k].TryRecv(); v != round || err != nil {
			t.Fatal(v, err)
		}
	}
}

func TestSelectorAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	tx, rx := pair[int](t, nil)
	_, other := pair[int](t, nil)
	sel := shmchan.NewSelector(other, rx, nil)
	one := make(chan int)
	back := make(chan bool)
	go func() {
		for v := range one {
			time.Sleep(100 * time.Microsecond) // Select parks meanwhile
			tx.TrySend(v)
			back <- true
		}
	}()
	defer close(one)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	round := func() {
		one <- 3
		i, err := sel.Select(ctx)
		if v, rerr := rx.TryRecv(); i != 1 || err != nil || v != 3 || rerr != nil {
			t.Error(i, err, v, rerr)
		}
		<-back
	}
	noAllocs(t, "a call that parks", 200, round)
	must(t, tx.TrySend(1))
	noAllocs(t, "a call that does not", 200, func() { sel.Select(bg) })
}

// A watchedContext counts who waits for its end.
type watchedContext struct {
	context.Context
	watchers atomic.Int64
}

func (c *watchedContext) AfterFunc(f func()) func() bool {
	c.watchers.Add(1)
	stop := context.AfterFunc(c.Context, f)
	return func() bool { c.watchers.Add(-1); return stop() }
}

// A Selector that is dropped is forgotten by a context that lives on.
func TestDroppedSelectorIsForgotten(t *testing.T) {
	parent, cancel := context.WithCancel(bg)
	defer cancel()
	ctx := &watchedContext{Context: parent}
	tx, rx := pair[int](t, options{shmchan.WithHeap(), shmchan.WithWait(waiter.Park)})
	for i := range 20 {
		go func() {
			time.Sleep(time.Millisecond)
			tx.TrySend(i)
		}()
		var err error
		if i%2 == 0 {
			_, err = shmchan.NewSelector(rx).Select(ctx)
		} else {
			_, err = shmchan.Select(ctx, rx)
		}
		must(t, err)
		if v, err := rx.TryRecv(); v != i || err != nil {
			t.Fatal(v, err)
		}
	}
	until(t, "no Selector watches the context", func() bool {
		runtime.GC()
		return ctx.watchers.Load() == 0
	})
}

// The ends of a Buf channel are cases like those of a typed one.
func TestSelectOverBufs(t *testing.T) {
	tx, rx := bufPair(t, nil, few)
	_, other := pair[int](t, nil)
	var none *shmchan.BufReceiver
	chosen(t, []shmchan.Case{other, tx, rx, none}, 1)
	b, err := tx.Loan(bg, 100)
	must(t, err)
	must(t, tx.Send(bg, b))
	chosen(t, []shmchan.Case{other, rx}, 1)
	must(t, tx.Close())
	b, err = rx.TryRecv()
	must(t, err)
	must(t, b.Release())
	chosen(t, []shmchan.Case{other, rx}, 1) // the next call gives io.EOF
}
