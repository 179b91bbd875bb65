package region

import (
	"fmt"
	"sync"

	"github.com/shmkit/shm/internal/fault"
)

// The file of a named region can be cut off by whoever may write to it: it
// cannot be sealed. An access to the memory is a SIGBUS then, which ends a Go
// program, or, where the goroutine has asked for it, a panic. So every function
// here that touches memory on a goroutine of the library's own, and every one
// that begins or ends an attachment, asks for it (survive). What users do with
// the memory they put under Guard.
//
// Invariants:
//   - a mapping is in mapped.regions from newRegion to Unmap;
//   - cut goes from 0 to 1 and stays;
//   - mem, base, header and roles go to nil with life and fds held, before the
//     memory is unmapped: who holds either, and finds them, may touch it.
//
// Whoever finds the file cut makes it as long as it was. It is zeros then, and
// the region is over, but who is parked on a word of it can be woken again.

var mapped struct {
	mu      sync.Mutex
	regions map[*Region]span
	past    past
}

// A span is where a mapping lies.
type span struct{ base, size uintptr }

func (s span) has(addr uintptr) bool { return addr-s.base < s.size }

// enroll makes r known to Guard.
func (r *Region) enroll() {
	mapped.mu.Lock()
	defer mapped.mu.Unlock()
	if mapped.regions == nil {
		mapped.regions = make(map[*Region]span)
	}
	mapped.regions[r] = span{uintptr(r.base), uintptr(len(r.mem))}
}

// strike undoes that, and ends the mapping, which r itself has forgotten.
func (r *Region) strike(mem []byte) error {
	keep := r.backing == BackingNamed && mapped.past.wanted() && vacate(mem) == nil
	mapped.mu.Lock()
	s := mapped.regions[r]
	delete(mapped.regions, r)
	if keep {
		mapped.past.add(former{s, r, mem})
	}
	mapped.mu.Unlock()
	if keep {
		return nil
	}
	return unmap(mem)
}

// at returns the attachment whose memory the address is, or was when a Guard that
// is under way began, nil if it is nobody's; and whether it is mapped.
func at(addr uintptr) (r *Region, live bool) {
	mapped.mu.Lock()
	defer mapped.mu.Unlock()
	for r, s := range mapped.regions {
		if s.has(addr) {
			return r, true
		}
	}
	return mapped.past.at(addr), false
}

// Guard runs f. If the memory of a region goes away under f, on this goroutine,
// f ends there: its deferred functions run, and Guard returns the attachment
// whose memory it is, and ErrCorrupt. They, and other goroutines, may unmap it
// meanwhile. Otherwise Guard returns nil, nil; a panic of f for any other reason
// goes on. Without Guard the process ends (SIGBUS).
//
// Memory goes away when a named region's file is cut off, or when somebody has
// given pages of it back and the file system is too full to replace them. It
// does not happen to a memfd that this package made or checked, nor on the heap.
// The use of a named region's memory after Unmap cannot be told from it if there has
// been a Guard all the time since, and is ErrCorrupt then.
//
// Guard costs some 30 ns, and what f does costs what it did before. For the
// addresses that it keeps taken see past.go.
func Guard(f func()) (*Region, error) {
	mapped.past.begin()
	defer mapped.past.end()
	return Catch(f)
}

// Catch is Guard where no region that f touches is unmapped before it returns. It
// costs some 10 ns, and may go on for as long as the process does.
func Catch(f func()) (*Region, error) {
	var r *Region
	live := false
	if _, gone := fault.Catch(f, func(addr uintptr) bool { r, live = at(addr); return r != nil }); !gone {
		return nil, nil
	}
	if !live {
		return r, fmt.Errorf("region: %s: was cut off while in use, or was used after its end: %w", r.name, ErrCorrupt)
	}
	r.lost()
	return r, r.cutError()
}

// survive runs f, which touches nothing but memory of regions, and reports
// whether that was gone. It is Guard for mappings that may end with f.
func survive(f func()) (gone bool) {
	_, gone = fault.Catch(f, nil)
	return gone
}

// Cut tells whether the memory was found to have gone away, here or by another
// process. It is found by a Guard, and by the watch within a moment. What other
// processes say is believed for a named region only. The memory must still be
// mapped. Any goroutine may call it. It costs some 50 ns; Retired costs less, and
// is true whenever this is, but for a moment in the beginning.
func (r *Region) Cut() bool {
	return r.cut.Load() != 0 || survive(func() { // pairs with the store in lost
		if r.backing == BackingNamed && r.header.state.Load() == stateCut { // pairs with the store in lost
			r.cut.Store(1)
		}
	}) || r.cut.Load() != 0
}

func (r *Region) cutError() error { return cutError(r.name) }

func cutError(name string) error {
	if name == "" {
		name = "memory"
	}
	return fmt.Errorf("region: %s: was cut off while in use, or the file system is full; remove it, and share memory with those you do not trust by descriptor: %w", name, ErrCorrupt)
}

// lost notes that the memory was gone and makes the best of it: the file is as
// long again as it was, and whoever looks finds out. The mark is left before and
// after, since a file that was cut off behind the header keeps the first one.
func (r *Region) lost() {
	r.cut.Store(1) // pairs with the load in Cut
	r.mark()
	r.lengthen()
	r.mark()
}

// mark does nothing after Unmap, which another goroutine may call.
func (r *Region) mark() {
	r.fds.RLock()
	defer r.fds.RUnlock()
	if h := r.header; h != nil {
		survive(func() { h.state.Store(stateCut) }) // pairs with the loads in Retired and wiped
	}
}

// wiped tells whether somebody else found the memory gone and made the best of
// it.
func (r *Region) wiped() bool {
	return r.backing == BackingNamed && (r.header.magic != magic || r.header.state.Load() == stateCut) // pairs with the store in lost
}
