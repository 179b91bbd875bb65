package region

import (
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"unsafe"

	"github.com/shmkit/shm/internal/word"
)

// This file holds every offset of the layout, and the only code that writes
// an immutable byte of it. validate.go reads it back.
//
// Invariants:
//   - the header fills the first headerSize bytes; everything in it but the
//     state word is written before anybody else can see the region, and never
//     again;
//   - the first 16 bytes (magic, version, byte order) have the same place and
//     meaning in every version to come;
//   - sections lie behind the header in the order of the table, aligned to at
//     least 64, and do not overlap;
//   - no two words that different processes write share a cache line.
//
// Ownership: the creator writes the header and the table. The state word is
// written by whoever retires the region, under the name's lock. An endpoint
// record is written by the holder of the role's lock; its word, besides, by
// observers, by one compare-and-swap into Dead.
//
// Who may die where: the creator anywhere, since nobody sees an unfinished
// region; for the records see state.go.

const (
	layoutVersion = 1
	headerSize    = 4096
	maxSections   = 64
	maxRoles      = 64
	minAlign      = 64
	maxAlign      = 4096
	hugePage      = 2 << 20
	maxSize       = 1 << 46 // half of what a process can map on the smallest 64-bit systems

	nativeOrder  = 0x01020304 // as the creator stores it
	swappedOrder = 0x04030201

	flagRequired = 1 << 0

	optHuge = 1 << 0 // the creator asked for huge pages

	stateLive    = 0
	stateRetired = 1 // and, from hostile hands, anything else that is not 0
	stateCut     = 2 // retired because the file was cut off
)

var magic = [8]byte{'s', 'h', 'm', 'k', 'i', 't', '\r', '\n'}

// A header lies at the start of a region.
type header struct {
	magic     [8]byte  // "shmkit\r\n"
	version   uint32   // layoutVersion
	order     uint32   // nativeOrder, in the creator's byte order
	size      uint64   // of the whole region, in bytes
	headerLen uint32   // headerSize
	sections  uint32   // entries used in table
	id        [16]byte // random
	boot      [16]byte // the kernel's boot id; zero if unknown
	created   int64    // nanoseconds since 1970
	creator   uint32   // process id, as the creator sees itself
	checksum  uint32   // CRC32-C of [0, 128) and the used table, itself as 0
	lockInode uint64   // inode number of the locks; 0 on the heap
	options   uint32   // optHuge
	_         [36]byte

	state word.U32 // stateLive, stateRetired or stateCut; on lines of its own
	_     [124]byte

	table [maxSections]sectionEntry
	_     [headerSize - 256 - maxSections*32]byte
}

// headerFixed is how many bytes of the header the checksum covers, besides
// the table.
const headerFixed = 128

// A sectionEntry describes one section.
type sectionEntry struct {
	kind     uint32
	version  uint16
	flags    uint16 // flagRequired
	offset   uint64 // from the start of the region
	size     uint64
	reserved uint64 // 0
}

// An endpoint is the record of one role. Two cache lines, because the
// prefetcher of the usual CPUs fetches pairs.
type endpoint struct {
	word  word.U64 // see state.go
	start word.U64 // when the holder's process started, in clock ticks since boot; for people
	pid   word.U32 // the holder's process id, as it sees itself; for people
	_     [128 - 20]byte
}

const (
	endpointSize    = 128
	endpointVersion = 1
)

// These do not compile if a struct above has another size.
var (
	_ [headerSize]byte   = [unsafe.Sizeof(header{})]byte{}
	_ [endpointSize]byte = [unsafe.Sizeof(endpoint{})]byte{}
	_ [32]byte           = [unsafe.Sizeof(sectionEntry{})]byte{}
)

// A Kind tells what a section holds.
type Kind uint32

// The well-known kinds.
const (
	KindEndpoints Kind = 1 // who holds which role; of this package
	KindEvents    Kind = 2 // event counts for parking and waking
	KindLane      Kind = 3 // a ring of messages
	KindSchema    Kind = 4 // describes the messages, for tools
	KindCounters  Kind = 5 // what each role has done, for tools; nothing rests on it
	KindPool      Kind = 6 // blocks for messages of any size
	KindDoorbell  Kind = 7 // reserved
)

func (k Kind) String() string {
	names := [...]string{"none", "endpoints", "events", "lane", "schema", "counters", "pool", "doorbell"}
	if int64(k) < int64(len(names)) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

// known tells whether this version of the library understands a section of
// kind k, so that it may be required.
func (k Kind) known() bool {
	switch k {
	case KindEndpoints, KindEvents, KindLane, KindSchema, KindPool:
		return true
	}
	return false
}

// A Section asks for one section of a new region.
type Section struct {
	Kind     Kind
	Version  uint16 // of what it holds; for its users
	Required bool   // whoever does not know the kind must not attach
	Size     uint64 // bytes, not 0
	Align    uint64 // a power of two up to 4096; 64 if less
}

// A SectionInfo is a section that is there.
type SectionInfo struct {
	Kind     Kind
	Version  uint16
	Required bool
	Offset   uint64 // from the start of the region
	Size     uint64 // bytes
}

// A Layout is the immutable part of a header, checked.
type Layout struct {
	Size      uint64 // bytes
	ID        [16]byte
	Boot      [16]byte // boot id of the creator's system; zero if unknown
	Created   int64    // nanoseconds since 1970
	Creator   int      // process id
	LockInode uint64
	HugePages bool // the creator asked for them
	Roles     int
	Sections  []SectionInfo
}

// section returns the first section of kind k.
func (l *Layout) section(k Kind) (SectionInfo, bool) {
	for _, s := range l.Sections {
		if s.Kind == k {
			return s, true
		}
	}
	return SectionInfo{}, false
}

// plan places the sections of a new region. It is where a Config is checked.
func (c *Config) plan() (*Layout, error) {
	bad := func(format string, args ...any) (*Layout, error) {
		return nil, fmt.Errorf("region: config: "+format+": %w", append(args, fs.ErrInvalid)...)
	}
	if c.Roles < 1 || c.Roles > maxRoles {
		return bad("%d roles, want 1 to %d", c.Roles, maxRoles)
	}
	if len(c.Sections) >= maxSections {
		return bad("%d sections, want at most %d", len(c.Sections), maxSections-1)
	}
	if c.Mode&^fs.ModePerm != 0 || c.Mode != 0 && c.Mode&0o600 != 0o600 {
		return bad("mode %#o, want permission bits that let the owner read and write", uint32(c.Mode))
	}

	all := make([]Section, 0, len(c.Sections)+1)
	all = append(all, Section{KindEndpoints, endpointVersion, true, uint64(c.Roles) * endpointSize, endpointSize})
	all = append(all, c.Sections...)
	l := &Layout{Roles: c.Roles, HugePages: c.HugePages}
	end := uint64(headerSize)
	for _, s := range all {
		align := max(s.Align, minAlign)
		if s.Align > maxAlign || s.Align&(s.Align-1) != 0 {
			return bad("section %v: alignment %d, want a power of two up to %d", s.Kind, s.Align, maxAlign)
		}
		if s.Kind == 0 || s.Required && !s.Kind.known() {
			return bad("section %v cannot be required", s.Kind)
		}
		if _, twice := l.section(s.Kind); twice {
			return bad("section %v comes twice", s.Kind)
		}
		if s.Size == 0 || s.Size > maxSize {
			return bad("section %v: %d bytes, want 1 to %d", s.Kind, s.Size, uint64(maxSize))
		}
		end = roundUp(end, align)
		l.Sections = append(l.Sections, SectionInfo{s.Kind, s.Version, s.Required, end, s.Size})
		end += s.Size // at most 64 times maxSize: no overflow
	}
	page := uint64(headerSize)
	if c.HugePages {
		page = hugePage
	}
	l.Size = roundUp(end, page)
	if l.Size > maxSize || l.Size > math.MaxInt {
		return bad("%d bytes in all, want at most %d", l.Size, min(uint64(maxSize), math.MaxInt))
	}
	return l, nil
}

func roundUp(n, align uint64) uint64 { return (n + align - 1) &^ (align - 1) }

// write fills the immutable part of a zeroed header.
func (h *header) write(l *Layout) {
	h.magic = magic
	h.version = layoutVersion
	h.order = nativeOrder
	h.size = l.Size
	h.headerLen = headerSize
	h.sections = uint32(len(l.Sections))
	h.id = l.ID
	h.boot = l.Boot
	h.created = l.Created
	h.creator = uint32(l.Creator)
	h.lockInode = l.LockInode
	if l.HugePages {
		h.options = optHuge
	}
	for i, s := range l.Sections {
		e := &h.table[i]
		e.kind, e.version, e.offset, e.size = uint32(s.Kind), s.Version, s.Offset, s.Size
		if s.Required {
			e.flags = flagRequired
		}
	}
	h.checksum = h.sum()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the checksum of the immutable part. It needs h.sections to be in
// range and h to be private or not shared yet.
func (h *header) sum() uint32 {
	saved := h.checksum
	h.checksum = 0
	crc := crc32.Update(0, castagnoli, unsafe.Slice((*byte)(unsafe.Pointer(h)), headerFixed))
	crc = crc32.Update(crc, castagnoli,
		unsafe.Slice((*byte)(unsafe.Pointer(&h.table)), uintptr(h.sections)*unsafe.Sizeof(sectionEntry{})))
	h.checksum = saved
	return crc
}
