package shmchan_test

import (
	"fmt"
	"testing"

	"github.com/shmkit/shm/shmchan"
)

// Another mode, or huge pages that are not there, are a mismatch for who asks.
func TestModeAndHugePagesMismatch(t *testing.T) {
	dir(t)
	tx := sender(t, "name", shmchan.WithMode(0o640))
	_, err := shmchan.OpenReceiver[int]("name", shmchan.WithMode(0o600))
	wantErr(t, err, shmchan.ErrMismatch, "0640", "0600", "WithMode")
	_, err = shmchan.OpenReceiver[int]("name", shmchan.WithHugePages())
	wantErr(t, err, shmchan.ErrMismatch, "WithHugePages")
	must(t, receiver(t, "name", shmchan.WithMode(0o640)).Detach())
	must(t, receiver(t, "name").Detach()) // left out
	f, err := tx.File()
	must(t, err)
	_, err = shmchan.SenderFromFile[int](f, shmchan.WithMode(0o600))
	wantErr(t, err, shmchan.ErrMismatch, "0640", "0600")
	tx, err = shmchan.SenderFromFile[int](f, shmchan.WithMode(0o640))
	must(t, err)
	must(t, tx.Close())

	tx = sender(t, "huge", shmchan.WithHugePages())
	must(t, receiver(t, "huge", shmchan.WithHugePages()).Detach())
	must(t, receiver(t, "huge").Detach())
	must(t, tx.Detach())
	rx := receiver(t, "huge", shmchan.WithMode(0o660)) // dead and empty: made anew
	must(t, rx.Close())

	tx, _ = pair[int](t, nil)
	f, err = tx.File()
	must(t, err)
	defer f.Close()
	_, err = shmchan.SenderFromFile[int](f, shmchan.WithMode(0o600))
	wantErr(t, err, shmchan.ErrMismatch, "no name")
	_, err = shmchan.SenderFromFile[int](f, shmchan.WithHugePages())
	wantErr(t, err, shmchan.ErrMismatch)
}

// Who is refused for a damaged ring has not used up the descriptor.
func TestDescriptorOfADamagedChannel(t *testing.T) {
	needsFiles(t)
	name := dir(t) + "/name"
	for _, side := range []string{"sender", "receiver"} {
		tx, rx := sender(t, name, shmchan.WithCapacity(4)), receiver(t, name)
		end := tx.File
		if side == "receiver" {
			end = rx.File
		}
		f, err := end()
		must(t, err)
		mem := mapFile(t, name)
		mem[5120+3*16] += 77 // the last slot
		attach := func() (err error) {
			if side == "sender" {
				tx, err = shmchan.SenderFromFile[int](f)
			} else {
				rx, err = shmchan.ReceiverFromFile[int](f)
			}
			return err
		}
		wantErr(t, attach(), shmchan.ErrCorrupt)
		mem[5120+3*16] -= 77
		must(t, attach())
		must(t, tx.TrySend(1))
		recvs(t, rx, 1, 2)
		must(t, tx.Close())
		must(t, rx.Close())
	}
}

// The news of a death names the channel, and the process as long as the record
// has it.
func TestDeathNamesTheProcess(t *testing.T) {
	dir(t)
	rx := receiver(t, "name")
	one := open(t, "s", "name")
	one.kill()
	wantErr(t, recvErr(rx)(within(t)), shmchan.ErrPeerDied, "the sender of", "/name", fmt.Sprintf("process %d, ended", one.pid()))
	open(t, "s", "name").kill()
	two := open(t, "s", "name")
	two.kill()
	three := open(t, "s", "name")
	err := recvErr(rx)(within(t))
	wantErr(t, err, shmchan.ErrPeerDied, "2 times", fmt.Sprint("process ", three.pid()))
	three.kill()
	four := open(t, "s", "name")
	err = recvErr(rx)(within(t))
	wantErr(t, err, shmchan.ErrPeerDied, "in its place", fmt.Sprint("process ", four.pid()))
}
