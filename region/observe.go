package region

import (
	"fmt"
	"sync"
	"time"
	"unsafe"
)

// An Observer is a look at a named region from outside.
//
// Invariants:
//   - the mapping and every descriptor are for reading only, and no lock is
//     ever taken: an observer can neither change a byte, nor pass for a living
//     endpoint, nor stand in the way of a claim, a takeover or a Remove;
//   - the memory is touched only inside Read, which survives a file that its
//     owner cuts off meanwhile;
//   - what is read is hostile input.
//
// Ownership: everything belongs to others. An observer owns its mapping.
//
// Who may die where: anybody anywhere, the observer included; it leaves
// nothing.
//
// All methods may be called from any goroutine.
type Observer struct {
	layout *Layout
	name   string // absolute

	mu      sync.RWMutex // held for reading while the memory is read
	mem     []byte       // nil after Close
	data    int          // descriptor of the memory
	lock    *ofdLocks    // for asking only; nil if the lock file cannot be read
	lockErr error        // why
}

// A Life is what an observer can tell of the holder of a role.
type Life uint8

// The lives.
const (
	LifeUnknown Life = iota // nobody holds the role, or it cannot be told
	Alive
	Gone // the process has ended; its word may not say so yet
)

func (l Life) String() string {
	names := [...]string{"unknown", "alive", "gone"}
	if int(l) < len(names) {
		return names[l]
	}
	return fmt.Sprintf("life %d", uint8(l))
}

// An Endpoint is what an observer sees of a role.
type Endpoint struct {
	State        // as recorded: a death that nobody has noticed yet does not show
	Start uint64 // when the holder's process started, in clock ticks since boot; for people

	// Life tells whether the holder of an Attached or Transit role lives.
	Life Life
	// Sure tells that Life was asked of the kernel's lock, which alone decides.
	// Otherwise it is a hint from the process id and its start time, wrong
	// where the two processes do not see the same ids.
	Sure bool
}

// Vacant tells whether no living process has or carries the role, as far as
// can be told.
func (e Endpoint) Vacant() bool {
	return e.Phase != Attached && e.Phase != Transit || e.Life == Gone
}

// Name returns the absolute path of the region.
func (o *Observer) Name() string { return o.name }

// Layout returns the checked, private copy of the immutable header. The
// caller must not change it.
func (o *Observer) Layout() *Layout { return o.layout }

// Age returns how long ago the region was made, by the wall clock.
func (o *Observer) Age() time.Duration { return time.Since(time.Unix(0, o.layout.Created)) }

// Stale tells whether the region was made before the last reboot, so that the
// next Open makes it anew. False where a boot id is unknown.
func (o *Observer) Stale() bool {
	now := bootID()
	return o.layout.Boot != now && o.layout.Boot != [16]byte{} && now != [16]byte{}
}

// Read calls f, which may read the sections and nothing else of the region's
// memory, and must not keep the pointers. at returns the section of a kind, as
// (*Region).Section does; its memory cannot be written, and a try ends f.
//
// It does not block; a Close waits for it. Errors: fs.ErrClosed after Close;
// ErrCorrupt if f ended early because the file was cut off.
func (o *Observer) Read(f func(at func(Kind) (mem unsafe.Pointer, size uint64, version uint16, ok bool))) error {
	return o.read(func(base unsafe.Pointer) {
		f(func(k Kind) (unsafe.Pointer, uint64, uint16, bool) {
			s, ok := o.layout.section(k)
			if !ok {
				return nil, 0, 0, false
			}
			return unsafe.Add(base, s.Offset), s.Size, s.Version, true
		})
	})
}

// Retired tells whether the region was removed or replaced: whoever opens the
// name now gets another one. Errors are those of Read.
func (o *Observer) Retired() (yes bool, err error) {
	err = o.read(func(base unsafe.Pointer) {
		yes = (*header)(base).state.Load() != stateLive // pairs with the store in retire
	})
	return yes || err == nil && o.unlinked(), err
}

// Endpoint returns the state of a role, and whether its holder lives. A role
// that the region does not have is Free. Errors are those of Read.
func (o *Observer) Endpoint(role int) (e Endpoint, err error) {
	if role < 0 || role >= o.layout.Roles {
		return Endpoint{}, nil
	}
	for range 8 { // more turns than a sound holder can cause
		if e, err = o.record(role); err != nil {
			return e, err
		}
		e.Life, e.Sure = o.life(role, e)
		if e.Life != Gone {
			return e, nil
		}
		// A holder stores its last word before it lets the lock go, so the lock
		// tells of the word that was read before only if that is still there.
		again, err := o.record(role)
		if err != nil || again.pack() == e.pack() {
			return e, err
		}
	}
	return e, nil
}

// record reads the record of a role.
func (o *Observer) record(role int) (e Endpoint, err error) {
	table, _ := o.layout.section(KindEndpoints)
	err = o.read(func(base unsafe.Pointer) {
		ep := (*endpoint)(unsafe.Add(base, table.Offset+uint64(role)*endpointSize))
		e.State = unpack(ep.word.Load()) // pairs with the swaps in claim, leave and probe
		e.PID = int(ep.pid.Load())
		e.Start = ep.start.Load()
	})
	return e, err
}
