package shmchan_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/waiter"
)

// documented tells whether err is one that a caller of a channel whose memory
// holds garbage may see.
func documented(err error) bool {
	for _, e := range []error{
		nil, io.EOF, shmchan.ErrFull, shmchan.ErrEmpty, shmchan.ErrClosed, shmchan.ErrPeerDied, shmchan.ErrBusy,
		shmchan.ErrMismatch, shmchan.ErrCorrupt, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// The places in a channel file of ints: see docs/memory-layout.md.
const (
	headerEnd   = 4096
	checksumAt  = 76
	sectionsAt  = 28
	tableAt     = 256
	tableEntry  = 32
	maxSections = 64
)

// sum corrects the checksum of a header, so that what lies behind it is tested.
func sum(b []byte) {
	binary.NativeEndian.PutUint32(b[checksumAt:], 0)
	n := min(binary.NativeEndian.Uint32(b[sectionsAt:]), maxSections)
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Update(0, table, b[:128])
	crc = crc32.Update(crc, table, b[tableAt:tableAt+tableEntry*n])
	binary.NativeEndian.PutUint32(b[checksumAt:], crc)
}

// A sound channel of 4 ints with 3 messages, after a lap and a half.
func soundChannel(t testing.TB, name string) []byte {
	tx := sender(t, name, shmchan.WithCapacity(4))
	rx := receiver(t, name)
	for i := range 7 {
		must(t, tx.TrySend(i))
		if i >= 3 {
			if _, err := rx.TryRecv(); err != nil {
				t.Fatal(err)
			}
		}
	}
	must(t, tx.Detach())
	must(t, rx.Detach())
	b, err := os.ReadFile(name)
	must(t, err)
	return b
}

// An edit is four bytes of fuzz input: what is done where.
//
//	0   bits 0-3: what; bits 4-7: of which place
//	1-2 offset
//	3   value
func edit(b []byte, e []byte) {
	at := int(binary.LittleEndian.Uint16(e[1:])) % len(b)
	if e[0]&0x80 != 0 { // behind the header
		at = headerEnd + at%(len(b)-headerEnd)
	}
	switch e[0] & 0x0f {
	case 0, 1:
		b[at] = e[3]
	case 2:
		b[at] ^= 1 << (e[3] & 7)
	case 3:
		b[at] += e[3]
	case 4: // a word
		at = min(at&^7, len(b)-8)
		binary.NativeEndian.PutUint64(b[at:], uint64(int64(int8(e[3]))))
	case 5:
		at = min(at&^7, len(b)-8)
		binary.NativeEndian.PutUint64(b[at:], uint64(e[3])<<56)
	case 6:
		at = min(at&^7, len(b)-8)
		binary.NativeEndian.PutUint64(b[at:], binary.NativeEndian.Uint64(b[at:])+uint64(int64(int8(e[3]))))
	case 7: // a row of bytes
		for i := range min(64, len(b)-at) {
			b[at+i] = e[3]
		}
	}
}

// FuzzOpen opens and uses a channel of which some bytes are wrong. The first
// byte of the input tells whether the checksum of the header is corrected and
// which end comes first; the others are edits.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{1})
	f.Add([]byte{0, 0, 0, 0, 'x'})
	f.Add([]byte{1, 0x84, 0, 1, 0xff})
	name := filepath.Join(f.TempDir(), "name")
	sound := soundChannel(f, name)
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 || len(in) > 1+4*64 {
			return
		}
		// The locks must stay the same inode, or nothing else is ever looked at.
		if _, err := os.Stat(name); err != nil {
			os.Remove(name + ".lock")
			sound = soundChannel(t, name)
		}
		b := append([]byte(nil), sound...)
		for e := in[1:]; len(e) >= 4; e = e[4:] {
			edit(b, e)
		}
		if in[0]&1 != 0 {
			sum(b)
		}
		must(t, os.WriteFile(name, b, 0o600))
		hang := time.AfterFunc(patience, func() { panic("hangs") })
		defer hang.Stop()

		var tx *shmchan.Sender[int]
		var rx *shmchan.Receiver[int]
		var opts options
		if in[0]&4 != 0 {
			opts = opts.cap(4)
		}
		opens := []func() error{
			func() (err error) { tx, err = shmchan.OpenSender[int](name, opts...); return err },
			func() (err error) { rx, err = shmchan.OpenReceiver[int](name, opts...); return err },
		}
		if in[0]&2 != 0 {
			opens[0], opens[1] = opens[1], opens[0]
		}
		for _, open := range opens {
			if err := open(); !documented(err) && !errors.Is(err, fs.ErrPermission) {
				t.Fatalf("open: %v", err)
			}
		}
		use := func(what string, err error) {
			if !documented(err) {
				t.Fatalf("%s: %v", what, err)
			}
		}
		for range 10 {
			if tx != nil {
				use("TrySend", tx.TrySend(1))
				if n := tx.Len(); n < 0 || n > tx.Cap() {
					t.Fatal("Len", n, "of", tx.Cap())
				}
				_, err := tx.SendBatch(cancelled(), []int{1, 2, 3})
				use("SendBatch", err)
			}
			if rx != nil {
				_, err := rx.TryRecv()
				use("TryRecv", err)
				if n := rx.Len(); n < 0 || n > rx.Cap() {
					t.Fatal("Len", n, "of", rx.Cap())
				}
				if p, err := rx.Peek(cancelled()); err == nil {
					_ = *p
					use("Release", rx.Release())
				} else {
					use("Peek", err)
				}
			}
		}
		if tx != nil {
			use("Close", tx.Close())
		}
		if rx != nil {
			use("Close", rx.Close())
		}
	})
}

// A peer moves whoever sleeps on a word of the channel to another word, where no
// wake-up finds him. Close, the death of the peer and the end of a context do.
func TestCallsThatAreMovedAway(t *testing.T) {
	for what, finish := range map[string]func(rx *shmchan.Receiver[int], cancel func(), peer *child) error{
		"Close": func(rx *shmchan.Receiver[int], _ func(), _ *child) error {
			rx.Close()
			return shmchan.ErrClosed
		},
		"cancel": func(_ *shmchan.Receiver[int], cancel func(), _ *child) error {
			cancel()
			return context.Canceled
		},
		"death": func(_ *shmchan.Receiver[int], _ func(), peer *child) error {
			peer.kill()
			return shmchan.ErrPeerDied
		},
	} {
		t.Run(what, func(t *testing.T) {
			needsFiles(t)
			name := filepath.Join(dir(t), "name")
			rx := receiver(t, name, shmchan.WithWait(waiter.Park))
			peer := start(t, nil, "end", "s", name)
			peer.want("open")
			ctx, cancel := context.WithCancel(bg)
			defer cancel()
			done := goes(func() error { _, err := rx.Recv(ctx); return err })
			mem := mapFile(t, name)
			var elsewhere uint32
			for limit, moved := time.Now().Add(patience), uintptr(0); moved == 0; {
				const requeue = 3
				for at := 0; at < len(mem) && moved == 0; at += 4 {
					var errno unix.Errno
					moved, _, errno = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&mem[at])), requeue, 0, 1, uintptr(unsafe.Pointer(&elsewhere)), 0)
					if errno != 0 || time.Now().After(limit) {
						t.Fatal("nobody sleeps there: ", errno)
					}
				}
			}
			want := finish(rx, cancel, peer)
			wantErr(t, result(t, done), want)
		})
	}
}

// mapFile maps a channel's file beside its users.
func mapFile(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	st, err := f.Stat()
	must(t, err)
	mem, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	t.Cleanup(func() { unix.Munmap(mem) })
	return mem
}

// scribble writes garbage all over [from, to) of a channel's file until it is
// stopped.
func scribble(t *testing.T, name string, from, to int, word func(r *rand.Rand) uint64) (stop func()) {
	t.Helper()
	mem := mapFile(t, name)
	var over atomic.Bool
	seed := rand.Uint64()
	t.Log("seed", seed)
	done := goes(func() error {
		r := rand.New(rand.NewPCG(seed, 0))
		for !over.Load() {
			at := (from + r.IntN(min(to, len(mem))-from)) &^ 7
			atomic.StoreUint64((*uint64)(unsafe.Pointer(&mem[at])), word(r))
			if r.IntN(64) == 0 {
				time.Sleep(time.Microsecond)
			}
		}
		return nil
	})
	return func() {
		over.Store(true)
		must(t, result(t, done))
	}
}

// Both ends work while somebody writes garbage all over the memory. Calls
// return, with errors of the documented set or as if nothing were.
func TestGarbageUnderWork(t *testing.T) {
	needsFiles(t)
	words := map[string]func(r *rand.Rand) uint64{
		"random": func(r *rand.Rand) uint64 { return r.Uint64() },
		"small":  func(r *rand.Rand) uint64 { return r.Uint64N(4) },
		"bits":   func(r *rand.Rand) uint64 { return 1 << r.IntN(64) },
	}
	parts := map[string][2]int{
		"all":    {128, 1 << 30},
		"header": {128, 256},
		"states": {4096, 4096 + 256},
		"events": {4096 + 256, 4096 + 512},
		"behind": {4096 + 512, 1 << 30},
	}
	for part, span := range parts {
		for what, word := range words {
			for _, p := range policies {
				t.Run(fmt.Sprint(part, " ", what, " ", p), func(t *testing.T) {
					name := filepath.Join(dir(t), "name")
					opts := []shmchan.Option{shmchan.WithCapacity(4), shmchan.WithWait(p)}
					tx, err := shmchan.OpenSender[int](name, opts...)
					must(t, err)
					rx, err := shmchan.OpenReceiver[int](name, opts...)
					must(t, err)
					stop := scribble(t, name, span[0], span[1], word)
					ctx, cancel := context.WithTimeout(bg, time.Duration(n(40))*time.Millisecond)
					defer cancel()
					send := goes(func() error { return abuseSender(ctx, tx) })
					recv := goes(func() error { return abuseReceiver(ctx, rx) })
					must(t, result(t, send))
					must(t, result(t, recv))
					// Close may say that the file system did not let it.
					tx.Close()
					rx.Close()
					stop()
					os.Remove(name)
					os.Remove(name + ".lock")
				})
			}
		}
	}
}

// short is a context for one call.
func short(ctx context.Context, i int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(i%8)*200*time.Microsecond)
}

func abuseSender(ctx context.Context, tx *shmchan.Sender[int]) error {
	for i := 0; ctx.Err() == nil; i++ {
		one, cancel := short(ctx, i)
		var err error
		switch i % 4 {
		case 0:
			err = tx.Send(one, i)
		case 1:
			err = tx.TrySend(i)
		case 2:
			_, err = tx.SendBatch(one, []int{1, 2, 3, 4, 5})
		case 3:
			for range 2 {
				var p *int
				if p, err = tx.Reserve(one); err == nil {
					*p = i
				}
			}
			if err == nil {
				err = tx.Commit()
			}
		}
		cancel()
		if !documented(err) && !errors.Is(err, errInvalid) {
			return err
		}
		if k := tx.Len(); k < 0 || k > tx.Cap() {
			return fmt.Errorf("Len %d of %d", k, tx.Cap())
		}
	}
	return nil
}

func abuseReceiver(ctx context.Context, rx *shmchan.Receiver[int]) error {
	sum := 0
	for i := 0; ctx.Err() == nil; i++ {
		one, cancel := short(ctx, i)
		var err error
		switch i % 4 {
		case 0:
			_, err = rx.Recv(one)
		case 1:
			_, err = rx.TryRecv()
		case 2:
			var k int
			buf := make([]int, 6)
			if k, err = rx.RecvBatch(one, buf); err == nil && k == 0 {
				err = errors.New("RecvBatch gave nothing and no error")
			}
		case 3:
			for range 2 {
				var p *int
				if p, err = rx.Peek(one); err == nil {
					sum += *p
				}
			}
			if err == nil {
				err = rx.Release()
			}
		}
		cancel()
		if !documented(err) && !errors.Is(err, errInvalid) {
			return err
		}
		if k := rx.Len(); k < 0 || k > rx.Cap() {
			return fmt.Errorf("Len %d of %d", k, rx.Cap())
		}
	}
	return nil
}

// A second Peek or Reserve gives the same pointer, whatever a peer has done to
// the slot meanwhile.
func TestLeaseUnderGarbage(t *testing.T) {
	needsFiles(t)
	name := filepath.Join(dir(t), "name")
	tx, rx := sender(t, name, shmchan.WithCapacity(4)), receiver(t, name)
	must(t, tx.TrySend(1))
	p, err := rx.Peek(bg)
	must(t, err)
	q, err := tx.Reserve(bg)
	must(t, err)
	mem := mapFile(t, name)
	for i := headerEnd + 512; i < len(mem); i++ {
		mem[i] = 0xa5
	}
	if again, err := rx.Peek(bg); again != p || err != nil {
		t.Fatal(again, err)
	}
	if again, err := tx.Reserve(bg); again != q || err != nil {
		t.Fatal(again, err)
	}
	must(t, rx.Release())
	must(t, tx.Commit())
	if _, err := rx.TryRecv(); err != nil { // what was just sent
		t.Fatal(err)
	}
	_, err = rx.TryRecv()
	wantErr(t, err, shmchan.ErrCorrupt)
	wantErr(t, tx.TrySend(1), shmchan.ErrCorrupt)
	_, err = rx.Recv(bg)
	wantErr(t, err, shmchan.ErrCorrupt)
	wantErr(t, tx.Send(bg, 1), shmchan.ErrCorrupt)
	_, err = tx.SendBatch(bg, []int{1})
	wantErr(t, err, shmchan.ErrCorrupt)
	_, err = rx.RecvBatch(bg, make([]int, 1))
	wantErr(t, err, shmchan.ErrCorrupt)
}

// A peer that changes its state all the time keeps no call from ending with
// its context.
func TestContextEndsBesideAPeerThatFlickers(t *testing.T) {
	needsFiles(t)
	for _, p := range policies {
		t.Run(p.String(), func(t *testing.T) {
			name := filepath.Join(dir(t), "name")
			opts := []shmchan.Option{shmchan.WithCapacity(1), shmchan.WithWait(p), shmchan.WithAwaitSuccessor()}
			tx, rx := sender(t, name, opts...), receiver(t, name, opts...)
			mem := mapFile(t, name)
			for call, wait := range blocked {
				peer := headerEnd // its state
				if isSend(call) {
					tx.TrySend(1)
					peer += 128
				} else {
					rx.TryRecv()
				}
				var over atomic.Bool
				stopped := goes(func() error {
					for i := uint64(0); !over.Load(); i++ {
						for k := range uint64(1000) {
							atomic.StoreUint64((*uint64)(unsafe.Pointer(&mem[peer])), (i+k)<<8) // free, by another epoch
						}
					}
					return nil
				})
				ctx, cancel := context.WithTimeout(bg, 5*time.Millisecond)
				done := goes(func() error { return wait(ctx, tx, rx) })
				wantErr(t, result(t, done), context.DeadlineExceeded)
				cancel()
				over.Store(true)
				must(t, result(t, stopped))
			}
		})
	}
}

// Whoever is refused for garbage in the ring has not been a peer that died.
func TestRefusedForGarbageChangesNothing(t *testing.T) {
	needsFiles(t)
	for _, side := range []string{"sender", "receiver"} {
		name := filepath.Join(dir(t), "name")
		var wait func(context.Context) error
		open := func() error { _, err := shmchan.OpenSender[int](name); return err }
		if side == "sender" {
			tx := sender(t, name, shmchan.WithCapacity(4))
			wait = tx.WaitPeer
			open = func() error { _, err := shmchan.OpenReceiver[int](name); return err }
		} else {
			wait = recvErr(receiver(t, name, shmchan.WithCapacity(4)))
		}
		mem := mapFile(t, name)
		mem[5120+3*16] += 77 // the last slot, which nobody looks at yet
		before := string(mem[headerEnd : headerEnd+256])
		wantErr(t, open(), shmchan.ErrCorrupt)
		if string(mem[headerEnd:headerEnd+256]) != before {
			t.Fatal(side, "the states have changed")
		}
		stillWaits(t, wait)
	}
}
