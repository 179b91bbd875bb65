package chantrace

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// WordStats is what was seen of one word that threads sleep on. A word is a
// place in a file, whatever processes map it where.
//
// A wait is counted when its thread runs again, so one that goes on is not in
// it. The counts and histograms of a word are read one after the other while
// others add to them, so they may differ by the few waits that ended meanwhile.
type WordStats struct {
	Device uint64 // of the file, as in st_dev of stat(2)
	Inode  uint64 // of the file
	Offset uint64 // in the file, in bytes
	Place  Place  // what that is; empty until [Resolver.Resolve]

	Park     Histogram     // from asleep to woken. It lacks the wait during which a thread is first seen
	Run      Histogram     // from woken to running
	ParkTime time.Duration // sum of what is in Park
	RunTime  time.Duration // sum of what is in Run

	// How the waits in Run ended.
	Woken     uint64 // by a futex call
	TimedOut  uint64
	Signalled uint64 // by a signal; the call ends with EINTR or starts anew
	Other     uint64 // by the kernel for another reason

	// With Options.Syscalls only.
	Refused uint64 // waits that returned at once, because the word had changed (EAGAIN)
	Wakes   uint64 // calls that wake
	Wasted  uint64 // of these, those that woke nobody

	Waiter  Task   // the last thread that slept there
	Waker   Task   // the last thread that woke one
	Address uint64 // of the word in Waiter's memory; 0 if it slept on several words
}

// A Task is a thread, as the initial pid namespace sees it.
type Task struct {
	PID  int // of its process; 0: none was seen
	TID  int
	Comm string // its name, without what cannot be printed
}

func (t Task) String() string {
	switch {
	case t.PID == 0:
		return "nobody"
	case t.PID == t.TID:
		return fmt.Sprintf("%s (%d)", t.Comm, t.PID)
	}
	return fmt.Sprintf("%s (%d, thread %d)", t.Comm, t.PID, t.TID)
}

// printable replaces what a terminal or a picture could take amiss in a name:
// processes choose their own, and those of files.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// Waits returns how many waits have ended.
func (w *WordStats) Waits() uint64 { return w.Woken + w.TimedOut + w.Signalled + w.Other }

// String names the word: the channel and role if they are known, otherwise the
// place in the file.
func (w *WordStats) String() string {
	if s := w.Place.String(); s != "" {
		return s
	}
	return fmt.Sprintf("device %d:%d inode %d offset %d", major(w.Device), minor(w.Device), w.Inode, w.Offset)
}

// major and minor take st_dev apart, as Linux puts it together.
func major(dev uint64) uint64 { return dev>>8&0xfff | dev>>32&^0xfff }
func minor(dev uint64) uint64 { return dev&0xff | dev>>12&0xffffff00 }

func (w *WordStats) compare(v *WordStats) int {
	return cmp.Or(cmp.Compare(w.Device, v.Device), cmp.Compare(w.Inode, v.Inode), cmp.Compare(w.Offset, v.Offset))
}

// Since returns what happened between two snapshots of one Tracer: those words
// of now where anything did, with the counts of before taken off. The samples
// (Waiter, Waker, Address) and Place are those of now.
func Since(before, now []WordStats) []WordStats {
	sorted := slices.Clone(before)
	slices.SortFunc(sorted, func(a, b WordStats) int { return a.compare(&b) })
	var changed []WordStats
	for _, w := range now {
		if i, ok := slices.BinarySearchFunc(sorted, w, func(a, b WordStats) int { return a.compare(&b) }); ok {
			w.takeOff(&sorted[i])
		}
		if w.Waits()|w.Refused|w.Wakes != 0 {
			changed = append(changed, w)
		}
	}
	return changed
}

// takeOff subtracts counts. What is not older gives 0 instead of less.
func (w *WordStats) takeOff(old *WordStats) {
	less := func(a *uint64, b uint64) { *a -= min(*a, b) }
	for i := range w.Park {
		less(&w.Park[i], old.Park[i])
		less(&w.Run[i], old.Run[i])
	}
	w.ParkTime = max(w.ParkTime-old.ParkTime, 0)
	w.RunTime = max(w.RunTime-old.RunTime, 0)
	less(&w.Woken, old.Woken)
	less(&w.TimedOut, old.TimedOut)
	less(&w.Signalled, old.Signalled)
	less(&w.Other, old.Other)
	less(&w.Refused, old.Refused)
	less(&w.Wakes, old.Wakes)
	less(&w.Wasted, old.Wasted)
}
