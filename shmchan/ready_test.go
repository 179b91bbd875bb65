package shmchan_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// token waits for one.
func token(t *testing.T, ready <-chan struct{}) {
	t.Helper()
	select {
	case _, ok := <-ready:
		if !ok {
			t.Fatal("Ready is closed")
		}
	case <-time.After(patience):
		t.Fatal("no token")
	}
}

// quiet takes spurious tokens, of which there must be few.
func quiet(t *testing.T, ready <-chan struct{}) {
	t.Helper()
	for end, tokens := time.After(20*time.Millisecond), 0; ; tokens++ {
		if tokens > 10 {
			t.Fatal("tokens without end")
		}
		select {
		case <-ready:
		case <-end:
			return
		}
	}
}

func TestReadyIsLevelTriggered(t *testing.T) {
	onEachPolicy(t, func(t *testing.T, o options) {
		tx, rx := pair[int](t, o.cap(4))
		quiet(t, rx.Ready())
		for range 100 {
			token(t, tx.Ready()) // there is room all the time
		}
		for i := range 4 {
			must(t, tx.TrySend(i))
		}
		quiet(t, tx.Ready())
		for i := range 4 {
			for range 10 {
				token(t, rx.Ready()) // tokens alone use nothing up
			}
			if v, err := rx.TryRecv(); v != i || err != nil {
				t.Fatal(v, err)
			}
		}
		quiet(t, rx.Ready())
		token(t, tx.Ready())

		must(t, tx.TrySend(4))
		must(t, tx.Close())
		for range 10 {
			token(t, rx.Ready())
		}
		if v, err := rx.TryRecv(); v != 4 || err != nil {
			t.Fatal(v, err)
		}
		for range 10 { // the end can be received for ever
			token(t, rx.Ready())
			if _, err := rx.TryRecv(); err != io.EOF {
				t.Fatal(err)
			}
		}
		token(t, tx.Ready()) // the last one
		must(t, rx.Close())
		token(t, rx.Ready())
	})
}

func TestReadyTellsThatTheReceiverClosed(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		tx, rx := pair[int](t, o.cap(1))
		must(t, tx.TrySend(1))
		quiet(t, tx.Ready())
		must(t, rx.Close())
		token(t, tx.Ready())
		wantErr(t, tx.TrySend(2), shmchan.ErrClosed)
	})
}

func TestReadyAfterClose(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		tx, rx := pair[int](t, o.cap(1))
		first := rx.Ready()
		must(t, rx.Close())
		must(t, tx.Close())
		token(t, first)
		if rx.Ready() != first {
			t.Fatal("another channel")
		}
		token(t, tx.Ready()) // the first call comes after Close
	})
}

// Both loops of the documentation end with every message, at every capacity.
func TestSelectLoops(t *testing.T) {
	loops := map[string]func(rx *shmchan.Receiver[int], take func(int)) error{
		"drain": func(rx *shmchan.Receiver[int], take func(int)) error {
			for {
				<-rx.Ready()
				for {
					v, err := rx.TryRecv()
					if errors.Is(err, shmchan.ErrEmpty) {
						break
					}
					if err != nil {
						return err
					}
					take(v)
				}
			}
		},
		"one a token": func(rx *shmchan.Receiver[int], take func(int)) error {
			for range rx.Ready() {
				v, err := rx.TryRecv()
				switch {
				case errors.Is(err, shmchan.ErrEmpty):
				case err != nil:
					return err
				default:
					take(v)
				}
			}
			return errors.New("Ready is closed")
		},
	}
	onEach(t, func(t *testing.T, o options) {
		for name, loop := range loops {
			t.Run(name, func(t *testing.T) {
				for _, c := range []int{1, 2, 64} {
					tx, rx := pair[int](t, o.cap(c))
					next := 0
					done := goes(func() error {
						return loop(rx, func(v int) {
							if v != next {
								t.Errorf("got %d, want %d", v, next)
							}
							next++
						})
					})
					for i := 0; i < n(3000); {
						<-tx.Ready()
						switch err := tx.TrySend(i); {
						case err == nil:
							i++
						case !errors.Is(err, shmchan.ErrFull):
							t.Fatal(err)
						}
					}
					must(t, tx.Close())
					if err := result(t, done); err != io.EOF {
						t.Fatal(err)
					}
					if next != n(3000) {
						t.Fatal(next)
					}
				}
			})
		}
	})
}

// One goroutine serves several channels and a ticker by select.
func TestSelectOverSeveral(t *testing.T) {
	onEach(t, func(t *testing.T, o options) {
		ctx := within(t)
		atx, arx := pair[int](t, o.cap(2))
		btx, brx := pair[int](t, o.cap(8))
		for i, tx := range []*shmchan.Sender[int]{atx, btx} {
			go func() {
				defer tx.Close()
				for k := range n(2000) {
					if tx.Send(ctx, 2*k+i) != nil {
						return
					}
				}
			}()
		}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		sums := [2]int{}
		take := func(i int, rx *shmchan.Receiver[int]) (end bool) {
			v, err := rx.TryRecv()
			switch {
			case err == io.EOF:
				return true
			case errors.Is(err, shmchan.ErrEmpty):
			case err != nil || v != 2*sums[i]+i:
				t.Fatal(i, v, err)
			default:
				sums[i]++
			}
			return false
		}
		a, b := arx.Ready(), brx.Ready()
		for a != nil || b != nil {
			select {
			case <-a:
				if take(0, arx) {
					a = nil
				}
			case <-b:
				if take(1, brx) {
					b = nil
				}
			case <-tick.C:
			case <-ctx.Done():
				t.Fatal(ctx.Err())
			}
		}
		if sums != [2]int{n(2000), n(2000)} {
			t.Fatal(sums)
		}
	})
}
