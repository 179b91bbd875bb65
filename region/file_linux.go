package region

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A role on its way between processes is one end of a socket pair, in whose
// queue lie a datagram and two descriptors: the memory, and a description of
// the lock inode that holds the role's transit lock. The other end is closed.
//
// Invariants:
//   - the transit lock is taken before the word says Transit, and goes when
//     the datagram goes: taken by an attacher, or dropped by the kernel with
//     the last copy of the socket;
//   - an attacher has the role's lock and has stored Attached before it takes
//     the datagram.
//
// Who may die where: the sender before Transit: then it died as Attached.
// After: the socket is gone with it, or the child has it. The attacher
// between its lock and the datagram: Attached and no lock, a death; copies of
// the socket still lead to the region then, as to one with a dead role.

// A parcel is the datagram.
//
//	0   magic "shmrole\n"
//	8   version, 4 bytes little-endian
//	12  role, 4 bytes
//	16  id of the region
//	32  name, to the end; empty for a memfd
type parcel struct {
	role int
	id   [16]byte
	name string
}

const (
	parcelVersion = 1
	parcelHead    = 32
)

var parcelMagic = []byte("shmrole\n")

func (p *parcel) encode() []byte {
	b := append(make([]byte, 0, parcelHead+len(p.name)), parcelMagic...)
	b = binary.LittleEndian.AppendUint32(b, parcelVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(p.role))
	b = append(b, p.id[:]...)
	return append(b, p.name...)
}

func decodeParcel(b []byte) (*parcel, error) {
	if len(b) < parcelHead || !bytes.Equal(b[:len(parcelMagic)], parcelMagic) {
		return nil, fmt.Errorf("region: the descriptor carries no role; want one made by File: %w", fs.ErrInvalid)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != parcelVersion {
		return nil, fmt.Errorf("region: the descriptor was made by version %d, this program has %d: %w", v, parcelVersion, ErrMismatch)
	}
	p := &parcel{role: int(int32(binary.LittleEndian.Uint32(b[12:]))), name: string(b[parcelHead:])}
	copy(p.id[:], b[16:])
	if p.name != "" {
		if path, err := resolve(p.name); err != nil || path != p.name {
			return nil, fmt.Errorf("region: the descriptor carries the name %q, want an absolute path: %w", p.name, ErrCorrupt)
		}
	}
	return p, nil
}

// File sends the role on its way to another process: the state becomes
// Transit, and the attachment ends but for its mapping. The descriptor can be
// inherited (exec.Cmd.ExtraFiles) or sent (SCM_RIGHTS); FromFile makes it an
// attachment again, in this process or another one. The caller owns the
// *os.File and closes it when the other process has it; if every copy is
// closed and none was attached, peers find a death.
//
// On an error nothing has changed: fs.ErrInvalid without a role,
// fs.ErrClosed after the end, errors.ErrUnsupported for heap regions,
// fs.ErrNotExist for a named region whose name is gone or leads elsewhere, ErrBusy
// while copies of an earlier descriptor of the role still hold its transit
// lock. It does not block.
func (r *Region) File() (*os.File, error) {
	if r.heap != nil {
		return nil, fmt.Errorf("region: a heap region cannot leave its process: %w", errors.ErrUnsupported)
	}
	r.life.Lock()
	defer r.life.Unlock()
	switch {
	case r.locks == nil:
		return nil, fmt.Errorf("region: file: %w", fs.ErrClosed)
	case r.role < 0:
		return nil, fmt.Errorf("region: file: no role is claimed: %w", fs.ErrInvalid)
	}
	fd, err := reopen(r.locks.(*ofdLocks).fd)
	if err != nil {
		return nil, err
	}
	// Closed without unlocking: the description lives on in the socket.
	defer unix.Close(fd)
	transit := &ofdLocks{fd}
	ok, err := transit.try(transitByte(r.role))
	if err != nil {
		return nil, fmt.Errorf("region: lock role %d for its way: %w", r.role, err)
	}
	if !ok {
		return nil, fmt.Errorf("region: a copy of an earlier descriptor of role %d is still open; close it: %w", r.role, ErrBusy)
	}
	p := parcel{r.role, r.layout.ID, r.name}
	data, err := r.memory()
	if err != nil {
		transit.unlock(transitByte(r.role))
		return nil, err
	}
	defer unix.Close(data)
	sock, err := post(p.encode(), data, fd)
	if err != nil {
		transit.unlock(transitByte(r.role))
		return nil, err
	}
	r.unwatch()
	r.quit(Transit)
	what := r.name
	if what == "" {
		what = "memfd"
	}
	f := os.NewFile(uintptr(sock), fmt.Sprintf("%s:role%d", what, r.role))
	return f, r.release()
}

// post makes a socket with a datagram and copies of descriptors in it.
func post(b []byte, fds ...int) (sock int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("region: socketpair: %w", err)
	}
	defer unix.Close(pair[1])
	for {
		err = unix.Sendmsg(pair[1], b, unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		unix.Close(pair[0])
		return -1, fmt.Errorf("region: send descriptors: %w", err)
	}
	return pair[0], nil
}

// receive looks at the datagram of post without taking it, and makes copies
// of its descriptors, which the caller closes.
func receive(sock int) (b []byte, fds []int, err error) {
	domain, err := unix.GetsockoptInt(sock, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_UNIX {
		return nil, nil, fmt.Errorf("region: the descriptor is no Unix socket; want one made by File: %w", fs.ErrInvalid)
	}
	if typ, err := unix.GetsockoptInt(sock, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || typ != unix.SOCK_DGRAM {
		return nil, nil, fmt.Errorf("region: the descriptor is another kind of socket; want one made by File: %w", fs.ErrInvalid)
	}
	b = make([]byte, parcelHead+maxPath+1)
	oob := make([]byte, unix.CmsgSpace(8*4))
	n, oobn, flags := 0, 0, 0
	for {
		n, oobn, flags, _, err = unix.Recvmsg(sock, b, oob, unix.MSG_PEEK|unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			break
		}
	}
	if err == unix.EAGAIN {
		return nil, nil, fmt.Errorf("region: the descriptor carries nothing any more: another copy of it was attached: %w", ErrBusy)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("region: receive descriptors: %w", err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range msgs {
		if got, e := unix.ParseUnixRights(&msgs[i]); e == nil {
			fds = append(fds, got...)
		}
	}
	if err != nil || len(fds) != 2 || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		closeAll(fds)
		return nil, nil, fmt.Errorf("region: the descriptor carries %d descriptors and %d bytes, want 2 and a role: %w", len(fds), n, fs.ErrInvalid)
	}
	return b[:n], fds, nil
}

// take takes the datagram, and drops it with its descriptors.
func take(sock int) {
	var b [1]byte
	for {
		if _, _, _, _, err := unix.Recvmsg(sock, b[:], nil, unix.MSG_DONTWAIT); err != unix.EINTR {
			return
		}
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// FromFile attaches through a descriptor that File made, and claims the role
// that it carries. check (nil: nothing) sees the region after validation and
// before the claim; an error of it is returned as it is; it must not claim,
// close or unmap.
//
// f is closed on success and left as it was on failure, so that another call
// may still succeed. Errors: fs.ErrInvalid if f is no such descriptor or
// carries another role, ErrBusy if another copy was attached already,
// ErrMismatch, ErrCorrupt (which includes a memfd that is not sealed),
// fs.ErrPermission for a named region that neither this user nor root owns.
// It waits up to 5 s for the lock of a region's name, and up to 1 s for another
// copy that is being attached; otherwise it does not block.
//
// The descriptor may come from somebody who is not trusted: a memfd is
// verified to be sealed, so that nobody can cut it off under its users.
func FromFile(f *os.File, role int, check func(*Region) error) (*Region, error) {
	if f == nil {
		return nil, fmt.Errorf("region: no file: %w", fs.ErrInvalid)
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("region: file: %w", err)
	}
	var r *Region
	cerr := conn.Control(func(fd uintptr) { r, err = fromSocket(int(fd), role, check) })
	if cerr != nil { // the only reason there is
		return nil, fmt.Errorf("region: file: %w", fs.ErrClosed)
	}
	if err != nil {
		return nil, err
	}
	f.Close()
	return r, nil
}

func fromSocket(sock, role int, check func(*Region) error) (r *Region, err error) {
	b, fds, err := receive(sock)
	if err != nil {
		return nil, err
	}
	data, transit := fds[0], fds[1]
	defer unix.Close(transit) // not by hand: the socket has the same description
	defer func() {
		if r == nil { // a panic of check included
			unix.Close(data)
		}
	}()
	p, err := decodeParcel(b)
	if err != nil {
		return nil, err
	}
	if p.role != role {
		return nil, fmt.Errorf("region: the descriptor carries role %d, not %d; attach the other end: %w", p.role, role, fs.ErrInvalid)
	}

	lock, inode, err := reopenLocks(transit)
	if err != nil {
		return nil, err
	}
	locks := &ofdLocks{lock}
	defer func() {
		if r == nil {
			locks.close()
		}
	}()
	x, err := mapReceived(data, p)
	if err != nil {
		return nil, err
	}
	defer func() {
		if r == nil {
			x.locks, x.data = nil, -1
			x.Unmap()
		}
	}()
	if x.layout.ID != p.id || x.layout.LockInode != inode {
		return nil, fmt.Errorf("region: the descriptor carries memory and locks of different regions: %w", ErrCorrupt)
	}
	x.locks = locks
	if check != nil {
		if survive(func() { err = check(x) }) {
			err = x.cutError()
		}
		if err != nil {
			return nil, err
		}
	}
	x.life.Lock()
	defer x.life.Unlock()
	unlock, err := x.lockOwnName(nameTimeout)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := x.take(role, &ofdLocks{transit}); err != nil {
		return nil, err
	}
	take(sock)
	if x.name != "" {
		x.letGo()
	}
	return x, nil
}

// reopenLocks makes a description of our own of received locks, which may be
// anything.
func reopenLocks(fd int) (own int, inode uint64, err error) {
	var st unix.Stat_t
	var sfs unix.Statfs_t
	if err := fstat(fd, &st); err != nil {
		return -1, 0, fmt.Errorf("region: received locks: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG { // before opening has an effect
		return -1, 0, fmt.Errorf("region: received locks are no regular file: %w", ErrCorrupt)
	}
	if err := fstatfs(fd, &sfs); err != nil {
		return -1, 0, fmt.Errorf("region: received locks: %w", err)
	}
	if err := checkLocal("received locks", int64(sfs.Type)); err != nil {
		return -1, 0, err
	}
	own, err = reopen(fd)
	return own, st.Ino, err
}

// mapReceived maps received memory, which may be anything.
func mapReceived(fd int, p *parcel) (*Region, error) {
	var st unix.Stat_t
	if err := fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("region: received memory: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("region: received memory is no regular file: %w", ErrCorrupt)
	}
	if p.name != "" {
		// Whoever owns it can cut it off. Its mode was the creator's choice.
		if err := checkOwner(p.name, &st, &Config{}); err != nil {
			return nil, err
		}
		return mapChecked(p.name, BackingNamed, fd, &st)
	}
	var sfs unix.Statfs_t
	if err := fstatfs(fd, &sfs); err != nil {
		return nil, fmt.Errorf("region: received memory: %w", err)
	}
	if int64(uint32(sfs.Type)) != unix.TMPFS_MAGIC { // a hugetlb memfd is on another one
		return nil, fmt.Errorf("region: received memory is no memfd of normal pages: %w", ErrCorrupt)
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&wantSeals != wantSeals {
		return nil, fmt.Errorf("region: received memory has seals %#x, want %#x (shrink and grow): %w", max(seals, 0), wantSeals, ErrCorrupt)
	}
	return mapChecked("", BackingMemfd, fd, &st)
}
