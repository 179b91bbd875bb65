package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"syscall"
	"unsafe"
)

// kernel is a transport through descriptors that are read and written. It does
// not look at contexts: when one ends, the second process is killed, and that
// ends every read and write here.
type kernel struct {
	title string
	open  func() (ours, theirs duplex, err error)
	batch int // records a write
}

// A duplex is one end of a way there and back. A socket is both files.
type duplex struct{ r, w *os.File }

func (d duplex) Close() error {
	if d.r == d.w {
		return d.w.Close()
	}
	return errors.Join(d.w.Close(), d.r.Close())
}

func pipes() (ours, theirs duplex, err error) {
	if theirs.r, ours.w, err = os.Pipe(); err != nil {
		return ours, theirs, err
	}
	if ours.r, theirs.w, err = os.Pipe(); err != nil {
		return ours, theirs, errors.Join(err, theirs.r.Close(), ours.w.Close())
	}
	return ours, theirs, nil
}

// socket makes a pair that blocks in the kernel, which is faster for one
// goroutine than Go's poller.
func socket() (ours, theirs duplex, err error) {
	syscall.ForkLock.RLock() // no child may inherit them before they close on exec
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return ours, theirs, os.NewSyscallError("socketpair", err)
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	a, b := os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket")
	return duplex{a, a}, duplex{b, b}, nil
}

// inheritedDuplex is theirs, in the second process.
func inheritedDuplex() duplex { return duplex{r: inherited(0), w: inherited(1)} }

func (k kernel) name() string { return k.title }

func (k kernel) pings() bool { return k.batch == 1 }

func (k kernel) openStream() (recordSender, []*os.File, error) {
	ours, theirs, err := k.open()
	if err != nil {
		return nil, nil, err
	}
	return &recordWriter{end: ours, batch: make([]record, k.batch)}, []*os.File{theirs.r, theirs.w}, nil
}

func (kernel) attachStream() (recordReceiver, error) {
	return &recordReader{end: inheritedDuplex(), batch: make([]record, batched)}, nil
}

func (k kernel) openPing() (pinger, []*os.File, error) {
	ours, theirs, err := k.open()
	if err != nil {
		return nil, nil, err
	}
	return &numberFile{duplex: ours}, []*os.File{theirs.r, theirs.w}, nil
}

func (kernel) attachPing() (pinger, error) {
	return &numberFile{duplex: inheritedDuplex()}, nil
}

const recordSize = int(unsafe.Sizeof(record{}))

// batched is 32 KiB: half of what a pipe holds, so that both sides can work at
// the same time, and about the fastest for pipe and socket here.
const batched = 32 << 10 / recordSize

// bytesOf is the memory of records, which have no padding and no pointers.
func bytesOf(batch []record) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(batch))), len(batch)*recordSize)
}

// A recordWriter fills a batch in place and writes it whole.
type recordWriter struct {
	end   duplex
	batch []record
	n     int // filled
}

func (w *recordWriter) Reserve(context.Context) (*record, error) { return &w.batch[w.n], nil }

func (w *recordWriter) Commit() error {
	if w.n++; w.n < len(w.batch) {
		return nil
	}
	return w.flush()
}

func (w *recordWriter) flush() error {
	if w.n == 0 {
		return nil
	}
	_, err := w.end.w.Write(bytesOf(w.batch[:w.n]))
	w.n = 0
	return err
}

func (w *recordWriter) Close() error { return errors.Join(w.flush(), w.end.Close()) }

// A recordReader reads as much as there is, up to a batch.
type recordReader struct {
	end   duplex
	batch []record
	have  int // bytes of batch that are filled
	next  int // the record that Peek gives
}

func (r *recordReader) Peek(context.Context) (*record, error) {
	if (r.next+1)*recordSize > r.have {
		room := bytesOf(r.batch)
		r.have = copy(room, room[r.next*recordSize:r.have]) // the part of a record that came
		r.next = 0
		n, err := io.ReadAtLeast(r.end.r, room[r.have:], recordSize-r.have)
		if r.have += n; err != nil {
			if r.have > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return &r.batch[r.next], nil
}

func (r *recordReader) Release() error {
	r.next++
	return nil
}

func (r *recordReader) Close() error { return r.end.Close() }

// A numberFile sends and receives eight bytes at a time.
type numberFile struct {
	duplex
	buf [8]byte
}

func (p *numberFile) Send(_ context.Context, v uint64) error {
	binary.NativeEndian.PutUint64(p.buf[:], v)
	_, err := p.w.Write(p.buf[:])
	return err
}

func (p *numberFile) Recv(context.Context) (uint64, error) {
	_, err := io.ReadFull(p.r, p.buf[:])
	return binary.NativeEndian.Uint64(p.buf[:]), err
}
