package chantrace

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/waiter"
)

// A Place is what a word is to people.
type Place struct {
	Path    string      // of the file, as the system shows it; "" if it is not known
	Channel string      // the name; "anonymous" and an id for a region without one; "" if the file is no region
	Section region.Kind // of the region, in which the word lies; 0 in none
	Role    string      // who sleeps there: "sender", "receiver", or "role" and a number; "" if nobody should
}

// String is the channel and role, as far as they are known, or the path.
func (p Place) String() string {
	switch {
	case p.Channel == "":
		return p.Path
	case p.Role == "":
		return fmt.Sprintf("%s, in its section %v", p.Channel, p.Section)
	}
	return p.Channel + " " + p.Role
}

// A Resolver tells which channel and role a word belongs to. It keeps what it
// found, so that a channel keeps its name here when it has gone. The zero value
// is ready. One goroutine at a time may use it.
type Resolver struct {
	// Dirs are where named channels lie; if it is nil, $SHMCHAN_DIR, or
	// /dev/shm if that is not set. Channels elsewhere and anonymous ones are found
	// as long as the processes that sleep on them live.
	Dirs []string

	known map[file]found
}

// A file is one, whatever its name.
type file struct{ device, inode uint64 }

// found is what is known of a file. layout is nil if it is no region, or one
// that may not be read.
type found struct {
	path, channel string
	layout        *region.Layout
}

// Resolve sets Place in each word. It looks at the files in Dirs and, for words
// that it does not find there, at /proc/PID/map_files and /proc/PID/fd of those
// who slept and woke, which needs the right to trace them. It maps nothing: it
// reads the first 4096 bytes of files that it has found by their inode, and
// believes what [region.Validate] accepts. Where it finds nothing, Place stays
// empty, and WordStats.String tells device, inode and offset.
//
// It has no time limit. To open a file, and to look at what a process has mapped,
// can wait for a file system in user space (FUSE): who serves one, and sleeps on
// a word in a file of it, can hold Resolve for as long as it likes. Where not all
// users are trusted, call it in a goroutine that the program can do without.
func (r *Resolver) Resolve(words []WordStats) {
	if r.known == nil {
		r.known = map[file]found{}
	}
	scanned := false
	for i := range words {
		w := &words[i]
		id := file{w.Device, w.Inode}
		f, ok := r.known[id]
		if !ok && !scanned {
			for _, d := range r.dirs() {
				r.scan(d, "")
			}
			scanned = true
			f, ok = r.known[id]
		}
		if !ok {
			f, ok = r.search(w)
		}
		if ok {
			r.known[id] = f
			w.Place = f.place(w.Offset)
		}
	}
}

// dirs returns where named channels lie.
func (r *Resolver) dirs() []string {
	if r.Dirs != nil {
		return r.Dirs
	}
	if d := os.Getenv("SHMCHAN_DIR"); d != "" {
		return []string{d}
	}
	return []string{"/dev/shm"}
}

// scan learns the files in a directory. Their channels are called by their name
// in it, after prefix.
func (r *Resolver) scan(dir, prefix string) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return // nothing to be found there
	}
	for _, n := range names {
		if !n.Type().IsRegular() || strings.HasSuffix(n.Name(), ".lock") {
			continue
		}
		path := filepath.Join(dir, n.Name())
		if id, f, err := look(path, path); err == nil {
			f.channel = nameIf(f.layout, prefix+printable(n.Name()))
			r.known[id] = f
		}
	}
}

// search finds the file of a word through the processes that used it.
func (r *Resolver) search(w *WordStats) (found, bool) {
	for _, pid := range [...]int{w.Waiter.PID, w.Waker.PID} {
		f, ok := mappedBy(pid, w)
		if !ok {
			continue
		}
		anonymous := strings.HasPrefix(f.path, "/memfd:")
		if strings.HasSuffix(f.path, " (deleted)") && !anonymous {
			// A file that got its name after it was made, as channels do, looks so in
			// the process that made it.
			dir := filepath.Dir(f.path)
			r.scan(dir, dir+"/")
			if named, ok := r.known[file{w.Device, w.Inode}]; ok {
				return named, true
			}
		}
		f.channel = nameIf(f.layout, f.path)
		if anonymous && f.layout != nil {
			f.channel = "anonymous " + hex.EncodeToString(f.layout.ID[:4])
		}
		return f, true
	}
	return found{}, false
}

// nameIf returns name for a region.
func nameIf(l *region.Layout, name string) string {
	if l == nil {
		return ""
	}
	return name
}

// place tells what lies at an offset.
func (f found) place(offset uint64) Place {
	p := Place{Path: f.path, Channel: f.channel}
	if f.layout == nil {
		return p
	}
	lane := false
	for _, s := range f.layout.Sections {
		lane = lane || s.Kind == region.KindLane
		if offset >= s.Offset && offset-s.Offset < s.Size {
			p.Section = s.Kind
			if s.Kind == region.KindEvents && (offset-s.Offset)%waiter.Size == 0 {
				p.Role = fmt.Sprintf("role %d", (offset-s.Offset)/waiter.Size)
			}
		}
	}
	if lane { // a channel
		switch p.Role {
		case "role 0":
			p.Role = "sender"
		case "role 1":
			p.Role = "receiver"
		}
	}
	return p
}
