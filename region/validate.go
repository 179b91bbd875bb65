package region

import (
	"fmt"
	"math"
	"unsafe"
)

// Validate checks everything about the header of a region. b is a copy of its
// first 4096 bytes (of all, if the file is shorter), fileSize the size of the
// file. It never panics, whatever the bytes are, and looks at nothing else.
//
// The error wraps [ErrMismatch] where a region is of another version or byte
// order or requires what this version does not know, otherwise [ErrCorrupt].
//
// b must be private: what was checked in shared memory may be different when
// it is used.
func Validate(b []byte, fileSize uint64) (*Layout, error) {
	return validate(b, fileSize, Kind.known)
}

// validate is Validate where known says which sections may be required.
func validate(b []byte, fileSize uint64, known func(Kind) bool) (*Layout, error) {
	bad := func(format string, args ...any) (*Layout, error) {
		return nil, fmt.Errorf("region: header: "+format+": %w", append(args, ErrCorrupt)...)
	}
	if len(b) < headerSize {
		return bad("%d bytes, want at least %d", len(b), headerSize)
	}
	var h header // a copy has the alignment that b may lack
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), headerSize), b)

	if h.magic != magic {
		return bad("starts with %q, want %q", h.magic[:], magic[:])
	}
	switch h.order {
	case nativeOrder:
	case swappedOrder:
		return nil, fmt.Errorf("region: header: made by a program of the other byte order: %w", ErrMismatch)
	default:
		return bad("byte order mark %#x, want %#x", h.order, uint32(nativeOrder))
	}
	if h.version != layoutVersion {
		return nil, fmt.Errorf("region: header: layout version %d, this program has %d; run the same version on both sides, or remove the region: %w",
			h.version, layoutVersion, ErrMismatch)
	}
	if h.headerLen != headerSize {
		return bad("length %d, want %d", h.headerLen, headerSize)
	}
	if h.sections < 1 || h.sections > maxSections {
		return bad("%d sections, want 1 to %d", h.sections, maxSections)
	}
	if got := h.sum(); got != h.checksum {
		return bad("checksum %#x, want %#x", got, h.checksum)
	}
	if h.size != fileSize {
		return bad("says %d bytes, the file has %d", h.size, fileSize)
	}
	if h.size < headerSize || h.size > maxSize || h.size > math.MaxInt {
		return bad("%d bytes in all, want %d to %d", h.size, headerSize, min(uint64(maxSize), math.MaxInt))
	}

	l := &Layout{
		Size: h.size, ID: h.id, Boot: h.boot, Created: h.created, Creator: int(h.creator), LockInode: h.lockInode,
		HugePages: h.options&optHuge != 0,
		Sections:  make([]SectionInfo, 0, h.sections),
	}
	end := uint64(headerSize)
	for i := range h.table[:h.sections] {
		e := &h.table[i]
		s := SectionInfo{Kind(e.kind), e.version, e.flags&flagRequired != 0, e.offset, e.size}
		switch {
		case s.Kind == 0:
			return bad("section %d has no kind", i)
		case e.flags&^flagRequired != 0 || e.reserved != 0:
			return bad("section %d (%v): reserved bits are set", i, s.Kind)
		case s.Offset%minAlign != 0:
			return bad("section %d (%v): offset %d, want a multiple of %d", i, s.Kind, s.Offset, minAlign)
		case s.Offset < end:
			return bad("section %d (%v): offset %d lies before the end %d of what comes before it", i, s.Kind, s.Offset, end)
		case s.Size == 0 || s.Offset > h.size || s.Size > h.size-s.Offset:
			return bad("section %d (%v): %d bytes at offset %d, the region has %d", i, s.Kind, s.Size, s.Offset, h.size)
		case s.Required && !known(s.Kind):
			return nil, fmt.Errorf("region: header: requires a section of kind %d, unknown to this version; use a newer one: %w",
				e.kind, ErrMismatch)
		}
		if _, twice := l.section(s.Kind); twice {
			return bad("section %v comes twice", s.Kind)
		}
		end = s.Offset + s.Size
		l.Sections = append(l.Sections, s)
	}

	ep, ok := l.section(KindEndpoints)
	switch {
	case !ok:
		return bad("no endpoint table")
	case ep.Version != endpointVersion:
		return nil, fmt.Errorf("region: header: endpoint table of version %d, this program has %d: %w", ep.Version, endpointVersion, ErrMismatch)
	case ep.Offset%endpointSize != 0 || ep.Size%endpointSize != 0 || ep.Size > maxRoles*endpointSize:
		return bad("endpoint table of %d bytes at offset %d, want 1 to %d records of %d", ep.Size, ep.Offset, maxRoles, endpointSize)
	}
	l.Roles = int(ep.Size / endpointSize)
	return l, nil
}
