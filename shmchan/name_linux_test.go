package shmchan_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"github.com/shmkit/shm/shmchan"
)

// What the names of closed, abandoned and removed channels lead to.

func TestLastCloseRemovesTheName(t *testing.T) {
	for _, first := range []string{"sender", "receiver"} {
		d := dir(t)
		tx, rx := sender(t, "name"), receiver(t, "name")
		names(t, d, "name", "name.lock")
		if first == "sender" {
			must(t, tx.Close())
			names(t, d, "name", "name.lock")
			must(t, rx.Close())
		} else {
			must(t, rx.Close())
			names(t, d, "name", "name.lock")
			must(t, tx.Close())
		}
		names(t, d)
	}
}

// An only end that is closed leaves nothing either, but for a sender whose
// messages somebody may still come for.
func TestLonelyClose(t *testing.T) {
	d := dir(t)
	must(t, receiver(t, "name").Close())
	names(t, d)
	must(t, sender(t, "name").Close())
	names(t, d)
	tx := sender(t, "name")
	must(t, tx.TrySend(0))
	must(t, tx.Close())
	names(t, d, "name", "name.lock")
	rx := receiver(t, "name")
	recvs(t, rx, 0, 1)
	if _, err := rx.Recv(within(t)); err != io.EOF {
		t.Fatal(err)
	}
	must(t, rx.Close())
	names(t, d)
}

func TestClosedChannelIsFinished(t *testing.T) {
	d := dir(t)
	tx := sender(t, "name", shmchan.WithCapacity(2))
	rx := receiver(t, "name")
	must(t, tx.TrySend(0))
	must(t, tx.Close())
	_, err := shmchan.OpenSender[int]("name") // receiver and message
	wantErr(t, err, shmchan.ErrClosed)
	recvs(t, rx, 0, 1)
	_, err = shmchan.OpenSender[int]("name") // receiver
	wantErr(t, err, shmchan.ErrClosed)
	must(t, rx.Close())
	names(t, d)

	tx = sender(t, "name", shmchan.WithCapacity(2))
	must(t, tx.TrySend(0))
	must(t, tx.Close())
	_, err = shmchan.OpenSender[int]("name") // message
	wantErr(t, err, shmchan.ErrClosed)
	rx = receiver(t, "name")
	recvs(t, rx, 0, 1)
	must(t, rx.Detach())
	tx = sender(t, "name", shmchan.WithCapacity(8)) // neither: a new one
	if tx.Cap() != 8 {
		t.Fatal(tx.Cap())
	}

	rx = receiver(t, "name")
	must(t, rx.Close())
	_, err = shmchan.OpenReceiver[int]("name")
	wantErr(t, err, shmchan.ErrClosed)
	must(t, tx.Detach())
	rx = receiver(t, "name", shmchan.WithCapacity(4)) // a new one
	stillWaits(t, recvErr(rx))
	must(t, rx.Close())
	names(t, d)
}

func TestRemove(t *testing.T) {
	d := dir(t)
	wantErr(t, shmchan.Remove("name"), fs.ErrNotExist)
	tx, rx := sender(t, "name", shmchan.WithCapacity(2)), receiver(t, "name")
	recv := goes(func() error { return recvErr(rx)(bg) })
	wait := goes(func() error {
		for range rx.Ready() {
			if err := tx.WaitPeer(bg); err != nil {
				return err
			}
		}
		return nil
	})
	doze()
	must(t, shmchan.Remove("name"))
	names(t, d)
	wantErr(t, result(t, recv), shmchan.ErrClosed)
	wantErr(t, result(t, wait), shmchan.ErrClosed)
	wantErr(t, tx.TrySend(0), shmchan.ErrClosed) // also with room
	wantErr(t, tx.Send(within(t), 0), shmchan.ErrClosed)
	removed(t, rx)
	wantErr(t, rx.WaitPeer(within(t)), shmchan.ErrClosed)

	// The next one is a new channel, and the old ends do not touch it.
	tx2, rx2 := sender(t, "name"), receiver(t, "name")
	must(t, tx.Close())
	must(t, rx.Close())
	names(t, d, "name", "name.lock")
	must(t, tx2.TrySend(7))
	recvs(t, rx2, 7, 8)
}

func TestRemoveEndsABlockedSend(t *testing.T) {
	dir(t)
	for range n(20) {
		tx := sender(t, "name", shmchan.WithCapacity(1))
		must(t, tx.TrySend(0))
		done := goes(func() error { return tx.Send(bg, 1) })
		doze()
		must(t, shmchan.Remove("name"))
		wantErr(t, result(t, done), shmchan.ErrClosed)
		must(t, tx.Close())
	}
}

func TestRemoveAcrossProcesses(t *testing.T) {
	d := dir(t)
	c := open(t, "s", "name")
	rx := receiver(t, "name")
	c.ask("trysend 0", "ok")
	must(t, shmchan.Remove("name"))
	names(t, d)
	c.ask("trysend 1", "closed")
	removed(t, rx)
}

// removed fails unless rx ends with ErrClosed. What was in the channel, or on
// its way, may come before that.
func removed(t *testing.T, rx *shmchan.Receiver[int]) {
	t.Helper()
	for range rx.Cap() + 1 {
		if err := recvErr(rx)(within(t)); err != nil {
			wantErr(t, err, shmchan.ErrClosed)
			return
		}
	}
	t.Fatal("more messages than there is room for")
}

type price struct {
	Symbol [8]byte
	Price  float64
}

type order struct {
	Symbol   [8]byte
	Price    float64
	Quantity int32
}

func TestMismatchShowsBothLayouts(t *testing.T) {
	d := dir(t)
	rx, err := shmchan.OpenReceiver[price]("name")
	must(t, err)
	defer rx.Close()
	_, err = shmchan.OpenSender[order]("name")
	wantErr(t, err, shmchan.ErrMismatch, "Quantity int32", "[8]uint8", "float64")
	_, err = shmchan.OpenSender[[16]byte]("name") // the size alone is not it
	wantErr(t, err, shmchan.ErrMismatch, "Price float64", "[16]uint8")
	names(t, d, "name", "name.lock")
	tx, err := shmchan.OpenSender[price]("name")
	must(t, err)
	must(t, tx.Close())

	tx, prx, err := shmchan.Pair[price]()
	must(t, err)
	defer prx.Close()
	f, err := tx.File()
	must(t, err)
	_, err = shmchan.SenderFromFile[order](f)
	wantErr(t, err, shmchan.ErrMismatch, "Quantity int32", "Price float64")
	tx, err = shmchan.SenderFromFile[price](f) // it can be used again
	must(t, err)
	must(t, tx.TrySend(price{Price: 1}))
	must(t, tx.Close())
}

func TestCapacityMismatch(t *testing.T) {
	dir(t)
	tx := sender(t, "name", shmchan.WithCapacity(5))
	_, err := shmchan.OpenReceiver[int]("name", shmchan.WithCapacity(4))
	wantErr(t, err, shmchan.ErrMismatch, "8", "4", "WithCapacity")
	rx := receiver(t, "name", shmchan.WithCapacity(7)) // the same after rounding
	if tx.Cap() != 8 || rx.Cap() != 8 {
		t.Fatal(tx.Cap(), rx.Cap())
	}
	must(t, rx.Detach())
	if rx = receiver(t, "name"); rx.Cap() != 8 { // left out
		t.Fatal(rx.Cap())
	}
	must(t, tx.Close())
}

func TestDeadChannelWithAnotherLayout(t *testing.T) {
	for _, with := range []int{0, 1} {
		for _, end := range []string{"kill", "detach"} {
			t.Run(fmt.Sprint(with, " messages, ", end), func(t *testing.T) {
				dir(t)
				c := open(t, "s", "name", "cap=4")
				c.ask("send 0 "+fmt.Sprint(with), "ok")
				if end == "kill" {
					c.kill()
				} else {
					c.ask("detach", "ok")
				}
				rx, err := shmchan.OpenReceiver[price]("name", shmchan.WithCapacity(2))
				if with == 0 { // it is made anew
					must(t, err)
					if rx.Cap() != 2 {
						t.Fatal(rx.Cap())
					}
					stillWaits(t, func(ctx context.Context) error { _, err := rx.Recv(ctx); return err })
					must(t, rx.Close())
					return
				}
				wantErr(t, err, shmchan.ErrMismatch, "int64", "Price float64")
				_, err = shmchan.OpenReceiver[int]("name", shmchan.WithCapacity(2))
				wantErr(t, err, shmchan.ErrMismatch, "4", "2")
				recvs(t, receiver(t, "name"), 0, 1) // nothing was changed
			})
		}
	}
}

// Whoever is refused has disturbed nobody: not the messages, not Len, not the
// state that the others see.
func TestRefusedOpenersDisturbNobody(t *testing.T) {
	dir(t)
	tx, rx := sender(t, "name", shmchan.WithCapacity(4)), receiver(t, "name")
	ctx, stop := context.WithCancel(bg)
	done := goes(func() error {
		for ctx.Err() == nil {
			if tx, err := shmchan.OpenSender[int]("name"); !errors.Is(err, shmchan.ErrBusy) {
				return fmt.Errorf("opened %v, %v", tx, err)
			}
			if rx, err := shmchan.OpenReceiver[price]("name"); !errors.Is(err, shmchan.ErrMismatch) {
				return fmt.Errorf("opened %v, %v", rx, err)
			}
		}
		return nil
	})
	in := 0
	for round := range n(20000) {
		for range 1 + round%4 {
			must(t, tx.TrySend(in))
			in++
		}
		recvs(t, rx, in-1-round%4, in)
	}
	stop()
	must(t, result(t, done))
	if tx.Len() != 0 || rx.Len() != 0 {
		t.Errorf("Len %d and %d of an empty channel", tx.Len(), rx.Len())
	}
	for range 4 {
		must(t, tx.TrySend(in))
	}
	if tx.Len() != 4 || rx.Len() != 4 {
		t.Errorf("Len %d and %d of a full channel of 4", tx.Len(), rx.Len())
	}
}
