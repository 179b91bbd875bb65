package chaos

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/shmkit/shm/shmchan"
)

// patience is for what should take milliseconds: longer is a hang.
const patience = 30 * time.Second

var bg = context.Background()

func init() { childMain() }

var _ = register("produce", produce)
var _ = register("consume", consume)

func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		fail("%v", err)
	}
	return n
}

// A role is how a child gets its end of a channel.
type role struct {
	k     *kind
	where string // "" for the descriptor roleFD
	opts  []shmchan.Option
}

func roleOf(kind, where, policy string, more ...shmchan.Option) role {
	return role{kindOf(kind), where, ends(policy, more...)}
}

func (r role) sender() (sender, error) {
	if r.where == "" {
		return r.k.takeSender(os.NewFile(roleFD, "role"), r.opts...)
	}
	return r.k.openSender(r.where, r.opts...)
}

func (r role) receiver() (receiver, error) {
	if r.where == "" {
		return r.k.takeReceiver(os.NewFile(roleFD, "role"), r.opts...)
	}
	return r.k.openReceiver(r.where, r.opts...)
}

// produce KIND WHERE POLICY LIFE: sends until it is told to stop, in all the ways
// that there are, and closes.
func produce(c *control, args []string) {
	life := number(args[3])
	r := roleOf(args[0], args[1], args[2])
	tx, err := r.sender()
	if err != nil {
		fail("sender: %v", err)
	}
	next := c.acked.Load() + 1
	for c.stop.Load() == 0 {
		n := uint64(1)
		switch next % 8 {
		case 0:
			vs := make([]message, burst)
			for i := range vs {
				vs[i] = sealed(next+uint64(i), life)
			}
			var k int
			k, err = tx.SendBatch(bg, vs)
			n = uint64(k)
			c.acked.Store(next + n - 1)
			next += n
			n = 0
		case 1, 2:
			var p *message
			if p, err = tx.Reserve(bg); err == nil {
				*p = sealed(next, life)
				err = tx.Commit()
			}
		case 3:
			if err = tx.TrySend(sealed(next, life)); errors.Is(err, shmchan.ErrFull) {
				err = tx.Send(bg, sealed(next, life))
			}
		default:
			err = tx.Send(bg, sealed(next, life))
		}
		switch {
		case err == nil:
			c.acked.Store(next + n - 1)
			next += n
		case !errors.Is(err, shmchan.ErrPeerDied):
			fail("send: %v", err)
		case r.where == "": // nobody can follow
			if err := accounted(tx); err != nil {
				fail("told of the death: %v", err)
			}
			os.Exit(0)
		}
	}
	if err := tx.Close(); err != nil {
		fail("close: %v", err)
	}
}

// burst is how many messages a batch has.
const burst = 3

// consume KIND WHERE POLICY LIFE MODE: writes down what it gets, until the sender
// closes.
func consume(c *control, args []string) {
	life := number(args[3])
	r := roleOf(args[0], args[1], args[2])
	rx, err := r.receiver()
	if err != nil {
		fail("receiver: %v", err)
	}
	buf := make([]message, burst)
	for {
		switch args[4] {
		case "peek":
			var p *message
			if p, err = rx.Peek(bg); err == nil {
				c.append(delivery{*p, life})
				err = rx.Release()
			}
		case "recv":
			var m message
			if m, err = rx.Recv(bg); err == nil {
				c.append(delivery{m, life})
			}
		case "batch":
			var n int
			n, err = rx.RecvBatch(bg, buf)
			for _, m := range buf[:n] {
				c.append(delivery{m, life})
			}
		}
		switch {
		case err == nil:
		case err == io.EOF:
			if err := rx.Close(); err != nil {
				fail("close: %v", err)
			}
			return
		case !errors.Is(err, shmchan.ErrPeerDied):
			fail("receive: %v", err)
		case r.where == "":
			if err := accounted(rx); err != nil {
				fail("told of the death: %v", err)
			}
			os.Exit(0)
		}
	}
}

// spawn starts a child that is not traced.
func spawn(t testing.TB, name string, files []*os.File, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	return cmd
}

// reap waits for a child, and tells whether it was killed as we wished (or ended
// well just before). One that does not end is asked for its stacks, and killed.
func reap(cmd *exec.Cmd, killed bool) error { return reapWithin(patience, cmd, killed) }

func reapWithin(d time.Duration, cmd *exec.Cmd, killed bool) error {
	hang := time.AfterFunc(d, func() {
		cmd.Process.Signal(syscall.SIGQUIT)
		time.Sleep(time.Second) // to say them
		cmd.Process.Kill()
	})
	err := cmd.Wait()
	if !hang.Stop() {
		return errors.New("the child hung; its stacks are above")
	}
	var ee *exec.ExitError
	if killed && errors.As(err, &ee) && ee.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return nil
	}
	return err
}
