package region

import "github.com/shmkit/shm/internal/word"

// A fault under Guard is looked at after the deferred functions of f have run, and
// they, or other goroutines, may have unmapped the region by then. So while there is
// a Guard, the place of a named region that is unmapped stays taken, without memory:
// nothing else can come to lie there, and its addresses are those of that region.
//
// Invariants:
//   - kept is the number of entries of last that are set; each has its place
//     taken, by nobody else;
//   - at the end of the last Guard kept is 0, and at most pastSize before: the place
//     of the oldest is given back then.
//
// Ownership: last and next are under mapped.mu.

// pastSize is how many regions can be unmapped between a fault and the Guard's look
// at it. After more the fault is nobody's, and goes on, or is that of the region that
// lies there by then.
const pastSize = 256

type past struct {
	guards word.U32 // under way
	kept   word.U32

	last [pastSize]former
	next int
}

// A former is an attachment that was unmapped.
type former struct {
	span
	r   *Region
	mem []byte // the place
}

func (p *past) begin() { p.guards.Add(1) } // pairs with the loads in wanted and give

func (p *past) end() {
	if p.guards.Add(^uint32(0)) == 0 && p.kept.Load() != 0 { // pairs with the store in add
		mapped.mu.Lock()
		defer mapped.mu.Unlock()
		p.give()
	}
}

// wanted tells whether there is a Guard that may have to know a region that is
// unmapped now.
func (p *past) wanted() bool { return p.guards.Load() != 0 } // pairs with begin

func (p *past) add(f former) {
	old := &p.last[p.next]
	p.next = (p.next + 1) % pastSize
	if old.r != nil {
		unmap(old.mem)
	} else {
		p.kept.Store(p.kept.Load() + 1) // pairs with the load in end
	}
	*old = f
	p.give() // the last Guard may have ended since wanted
}

// give gives all places back if there is no Guard.
func (p *past) give() {
	if p.guards.Load() != 0 { // pairs with begin and end
		return
	}
	for i := range p.last {
		if f := &p.last[i]; f.r != nil {
			unmap(f.mem)
			*f = former{}
		}
	}
	p.kept.Store(0)
}

// at returns the attachment whose place has the address, nil if none.
func (p *past) at(addr uintptr) *Region {
	for i := range p.last {
		if f := &p.last[i]; f.has(addr) {
			return f.r
		}
	}
	return nil
}
