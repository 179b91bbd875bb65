//go:build linux

package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// A classReport is one class of a pool, for programs.
type classReport struct {
	Size   int    `json:"block_bytes"`
	Count  int    `json:"blocks"`
	InUse  int    `json:"in_use"`
	Cached int    `json:"cached"`
	Free   int    `json:"free"`
	High   int    `json:"high_water"`
	Failed uint64 `json:"failed"`
}

func classReports(all []slabpool.Stats) []classReport {
	var list []classReport
	for _, s := range all {
		list = append(list, classReport{s.Size, s.Count, s.InUse, s.Cached, s.Free, s.HighWater, s.Failed})
	}
	return list
}

// classesText names the classes of a pool.
func classesText(classes []slabpool.Class) string {
	var parts []string
	for _, c := range classes {
		parts = append(parts, fmt.Sprintf("%d × %s", c.Count, size(uint64(c.Size))))
	}
	return strings.Join(parts, ", ")
}

// classLines is a table of the classes of a pool.
func classLines(all []slabpool.Stats) []string {
	lines := []string{fmt.Sprintf("%-9s %10s %10s %10s %10s %10s %10s", "CLASS", "BLOCKS", "IN USE", "CACHED", "FREE", "AT MOST", "FAILED")}
	for _, s := range all {
		lines = append(lines, fmt.Sprintf("%-9s %10d %10d %10d %10d %10d %10d", size(uint64(s.Size)), s.Count, s.InUse, s.Cached, s.Free, s.HighWater, s.Failed))
	}
	return lines
}

// inUse sums what is used of a pool, in blocks and in hundredths of its bytes.
func inUse(all []slabpool.Stats) (used, blocks, part int) {
	var bytes, of float64
	for _, s := range all {
		used, blocks = used+s.InUse, blocks+s.Count
		bytes, of = bytes+float64(s.InUse)*float64(s.Size), of+float64(s.Count)*float64(s.Size)
	}
	if of > 0 {
		part = int(100 * bytes / of)
	}
	return used, blocks, part
}

// A poolReport is what stat prints of a pool as JSON.
type poolReport struct {
	Name    string        `json:"name"`
	Path    string        `json:"path"`
	Kind    string        `json:"kind"`
	Time    time.Time     `json:"time"`
	Bytes   uint64        `json:"bytes"`
	Creator int           `json:"creator_pid"`
	AgeSec  float64       `json:"age_seconds"`
	Waiting bool          `json:"waiting"`
	Retired bool          `json:"removed"`
	Classes []classReport `json:"pool"`
	Owners  []ownerReport `json:"owners"`
}

// An ownerReport is one endpoint of a pool.
type ownerReport struct {
	Seat int `json:"seat"`
	jsonEnd
	Blocks int    `json:"blocks"`
	Bytes  uint64 `json:"bytes"`
}

func (v *view) poolReport(l slabpool.Look) poolReport {
	layout := v.reg.Layout()
	r := poolReport{Name: v.name(), Path: v.path, Kind: v.kind(), Time: l.Time, Bytes: layout.Size, Creator: layout.Creator, AgeSec: v.reg.Age().Seconds(),
		Waiting: l.Waiting, Retired: l.Retired, Classes: classReports(l.Classes), Owners: []ownerReport{}}
	for seat, s := range l.Seats {
		if s.Phase != region.Free {
			r.Owners = append(r.Owners, ownerReport{seat, *endOf(s.Endpoint, false), s.Blocks, s.Bytes})
		}
	}
	return r
}

// poolLines is what stat prints of a pool for people.
func (v *view) poolLines(l slabpool.Look) []string {
	layout := v.reg.Layout()
	used, blocks, part := inUse(l.Classes)
	lines := []string{
		fmt.Sprintf("%s  (%s)", printable(v.name()), printable(v.path)),
		"kind      pool",
		fmt.Sprintf("made      %s ago by process %d, %s", age(v.reg.Age()), layout.Creator, size(layout.Size)),
		fmt.Sprintf("in use    %d of %d blocks (%d%% of the bytes)", used, blocks, part),
	}
	if l.Waiting {
		lines = append(lines, "waiting   somebody waits for a block")
	}
	if l.Retired {
		lines = append(lines, "removed   the name leads to another pool, or to none")
	}
	lines = append(append(lines, ""), classLines(l.Classes)...)
	lines = append(lines, "", fmt.Sprintf("%-9s %-30s %8s %10s  %s", "OWNER", "PROCESS", "BLOCKS", "BYTES", "STATE"))
	for seat, s := range l.Seats {
		if s.Phase != region.Free || s.Blocks > 0 {
			lines = append(lines, fmt.Sprintf("%-9d %-30s %8d %10s  %s", seat, clip(end(s.Endpoint, false), 30), s.Blocks, size(s.Bytes), state(s.Endpoint)))
		}
	}
	return lines
}

// owners says in a few words who is at a pool.
func owners(l slabpool.Look) (text string, living int) {
	lost := 0
	for _, s := range l.Seats {
		switch {
		case !s.Vacant():
			living++
		case dead(s.Endpoint):
			lost++
		}
	}
	text = fmt.Sprintf("%d owners", living)
	if living == 1 {
		text = "1 owner"
	}
	if lost > 0 {
		text += fmt.Sprintf(", %d dead", lost)
	}
	return text, living
}

// pool looks for what is wrong with a pool, twice.
func (f *findings) pool(v *view, span time.Duration) {
	a, err := v.pool.Look()
	if err == nil {
		time.Sleep(span)
		var b slabpool.Look
		if b, err = v.pool.Look(); err == nil {
			f.owners(v, b)
			f.classes(a.Classes, b.Classes)
			return
		}
	}
	f.add("FAIL", "pool", err.Error(), "end its users, then shmctl rm "+v.name())
}

func (f *findings) owners(v *view, l slabpool.Look) {
	_, living := owners(l)
	for seat, s := range l.Seats {
		what := fmt.Sprintf("owner %d", seat)
		switch {
		case s.Phase == region.Dead && s.Blocks == 0: // swept
		case dead(s.Endpoint):
			f.add("warn", what, fmt.Sprintf("process %d ended without Close and has %d blocks (%s)", s.PID, s.Blocks, size(s.Bytes)),
				"they come back with the next allocation that finds no block, or (*Pool).Recover, or when a process takes the seat")
		case s.Phase == region.Attached && stopped(s.Endpoint):
			f.add("warn", what, fmt.Sprintf("process %s is stopped, and keeps %d blocks (%s)", end(s.Endpoint, false), s.Blocks, size(s.Bytes)),
				"kill -CONT "+fmt.Sprint(s.PID)+", or end it")
		case !s.Vacant():
			f.ok(what, "%s, %s, %d blocks (%s)", end(s.Endpoint, false), state(s.Endpoint), s.Blocks, size(s.Bytes))
		}
	}
	if living == 0 {
		f.add("warn", "name", fmt.Sprintf("stale: no living process uses it, and %s stay allocated", size(v.reg.Layout().Size)), "shmctl rm "+v.name())
	}
}

// classes tells which class of a pool is too small.
func (f *findings) classes(a, b []slabpool.Stats) {
	for k, s := range b {
		what := "class " + size(uint64(s.Size))
		text := fmt.Sprintf("%d of %d blocks in use, %d cached, %d at most", s.InUse, s.Count, s.Cached, s.HighWater)
		failed := s.Failed - min(a[k].Failed, s.Failed)
		switch {
		case failed > 0:
			f.add("warn", what, fmt.Sprintf("%s; %d allocations found no block just now", text, failed),
				"whoever allocates waits for whoever holds the blocks: release sooner, or make the pool with more blocks of this class")
		case s.InUse == s.Count:
			f.add("warn", what, text+": none is free", "whoever needs one waits; shmctl stat shows who holds how many")
		default:
			f.ok(what, "%s, %d allocations failed so far", text, s.Failed)
		}
	}
}

// A bufValue is a message of a Buf channel, for programs.
type bufValue struct {
	Len    int       `json:"length"`
	Inline bool      `json:"inline"`
	Block  *bufBlock `json:"block,omitempty"`
	Bytes  *string   `json:"bytes"` // in hexadecimal, the first ones; null if they were gone
	Error  string    `json:"error,omitempty"`
}

type bufBlock struct {
	Class      int    `json:"class"`
	Size       int    `json:"class_bytes"`
	Index      int    `json:"index"`
	Generation uint64 `json:"generation"`
}

// bufJSON appends a message of a Buf channel as JSON.
func bufJSON(dst []byte, ch *shmchan.Observer, s shmchan.BufSample, err error) []byte {
	j := bufValue{Len: s.Len, Inline: s.Inline}
	if err != nil {
		j.Error = err.Error()
	} else if !s.Inline {
		j.Block = &bufBlock{s.Handle.Class(), ch.Info().Classes[s.Handle.Class()].Size, s.Handle.Index(), s.Handle.Generation()}
	}
	if s.Bytes != nil {
		text := hex.EncodeToString(s.Bytes)
		j.Bytes = &text
	}
	b, _ := json.Marshal(j) // of strings and numbers: no error
	return append(dst, b...)
}

// bufText says what a message of a Buf channel is, in one line.
func bufText(ch *shmchan.Observer, s shmchan.BufSample, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case s.Inline:
		return fmt.Sprintf("%d bytes in the slot", s.Len)
	}
	h := s.Handle
	return fmt.Sprintf("%d bytes in block %d of class %s", s.Len, h.Index(), size(uint64(ch.Info().Classes[h.Class()].Size)))
}
