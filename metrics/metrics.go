package metrics

import (
	"encoding/json"
	"expvar"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/shmkit/shm/region"
	"github.com/shmkit/shm/shmchan"
	"github.com/shmkit/shm/slabpool"
)

// A Source looks at channels and pools. It keeps an observer of each, so a look
// opens no file unless one is new.
//
// All methods may be called from any goroutine; they wait for each other.
type Source struct {
	names []string // none: all that there are

	mu   sync.Mutex
	open map[string]watched
}

// A watched is what a name leads to: a channel, or a pool.
type watched struct {
	ch   *shmchan.Observer
	pool *slabpool.Observer
}

// A Reading is what a look at one channel or pool has found.
type Reading struct {
	Name     string  `json:"name"`
	Error    string  `json:"error,omitempty"` // why there is nothing else
	Kind     string  `json:"kind,omitempty"`  // "channel", "buf channel", or "pool", which has nothing but Bytes and Pool
	Capacity int     `json:"capacity"`        // messages
	Bytes    uint64  `json:"bytes"`
	Fill     int     `json:"fill"` // messages
	High     int     `json:"high_water"`
	Sent     uint64  `json:"sent"`
	Received uint64  `json:"received"`
	Lost     uint64  `json:"lost"`
	Sender   End     `json:"sender"`
	Receiver End     `json:"receiver"`
	Pool     []Class `json:"pool,omitempty"` // of a pool, or of a Buf channel
}

// A Class is one class of a pool; see slabpool.Stats.
type Class struct {
	Size      int    `json:"block_bytes"`
	Count     int    `json:"blocks"`
	InUse     int    `json:"in_use"`
	Cached    int    `json:"cached"`
	HighWater int    `json:"high_water"`
	Failed    uint64 `json:"failed"`
}

// An End is what one end is and has done; see shmchan.EndStats.
type End struct {
	Alive   bool   `json:"alive"` // a living process has the role, as far as can be told
	PID     int    `json:"pid"`
	Claims  uint32 `json:"claims"`
	Deaths  uint32 `json:"deaths"`
	Waits   uint64 `json:"waits"`
	Slept   uint64 `json:"slept"`
	Parks   uint64 `json:"parks"`
	Wakes   uint64 `json:"wakes"`
	Refused uint64 `json:"refused"`
}

// NewSource makes a source of the channels and pools with these names; without any, of
// all that lie in $SHMCHAN_DIR or /dev/shm at the time of each look. It opens
// nothing yet.
func NewSource(names ...string) *Source {
	return &Source{names: names, open: map[string]watched{}}
}

// Look looks at every name now. One that cannot be read has an Error; where
// no names were given, what is neither channel nor pool is left out. It does not block but
// for other calls. The error is that of listing the directory.
func (s *Source) Look() ([]Reading, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.names
	if len(names) == 0 {
		paths, _, err := region.List("")
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		names = paths
	}
	all := len(s.names) == 0
	readings := make([]Reading, 0, len(names))
	there := make(map[string]bool, len(names))
	for _, name := range names {
		there[name] = true
		r, err := s.look(name)
		switch {
		case err == nil:
		case all:
			continue
		default:
			r.Error = err.Error()
		}
		if r.Name = name; all {
			r.Name = filepath.Base(name)
		}
		readings = append(readings, r)
	}
	for name, w := range s.open {
		if !there[name] {
			w.close()
			delete(s.open, name)
		}
	}
	return readings, nil
}

// look looks at one name; twice, where it leads elsewhere now.
func (s *Source) look(name string) (Reading, error) {
	for again := false; ; again = true {
		w, ok := s.open[name]
		if !ok {
			var err error
			if w, err = watch(name); err != nil {
				return Reading{}, err
			}
			s.open[name] = w
		}
		r, retired, err := w.reading()
		if err == nil && (!retired || again) {
			return r, nil
		}
		w.close()
		delete(s.open, name)
		if again {
			return Reading{}, err
		}
	}
}

// watch begins to look at a name.
func watch(name string) (watched, error) {
	r, err := region.Observe(name)
	if err != nil {
		return watched{}, fmt.Errorf("metrics: %w", err)
	}
	if pool, err := slabpool.ObserverOf(r); err == nil {
		return watched{pool: pool}, nil
	}
	ch, err := shmchan.ObserverOf(r)
	if err != nil {
		r.Close()
		return watched{}, fmt.Errorf("metrics: %s: %w", name, err)
	}
	return watched{ch: ch}, nil
}

func (w watched) close() {
	if w.pool != nil {
		w.pool.Close()
		return
	}
	w.ch.Close()
}

func (w watched) reading() (r Reading, retired bool, err error) {
	if w.pool != nil {
		l, err := w.pool.Look()
		return Reading{Kind: "pool", Bytes: w.pool.Region().Layout().Size, Pool: classesOf(l.Classes)}, l.Retired, err
	}
	s, err := w.ch.Stats()
	if err != nil {
		return Reading{}, false, err
	}
	pool, err := w.ch.Pool()
	i := w.ch.Info()
	r = Reading{Kind: "channel", Capacity: i.Cap, Bytes: i.Bytes, Fill: s.Len, High: s.High, Sent: s.Sent, Received: s.Received, Lost: s.Lost,
		Sender: endOf(s.Sender), Receiver: endOf(s.Receiver), Pool: classesOf(pool)}
	if i.Classes != nil {
		r.Kind = "buf channel"
	}
	return r, s.Retired, err
}

func classesOf(all []slabpool.Stats) []Class {
	var list []Class
	for _, s := range all {
		list = append(list, Class{s.Size, s.Count, s.InUse, s.Cached, s.HighWater, s.Failed})
	}
	return list
}

func endOf(e shmchan.EndStats) End {
	return End{Alive: e.Life == region.Alive, PID: e.PID, Claims: e.Epoch, Deaths: e.Deaths,
		Waits: e.Waits, Slept: e.Slept, Parks: e.Parks, Wakes: e.Wakes, Refused: e.Refused}
}

// Var returns the source as a variable for expvar.Publish: a JSON object with a
// Reading for each name. It looks whenever it is read.
func (s *Source) Var() expvar.Var { return variable{s} }

type variable struct{ s *Source }

// String returns JSON, as expvar wants it.
func (v variable) String() string {
	readings, err := v.s.Look()
	if err != nil {
		b, _ := json.Marshal(map[string]string{"error": err.Error()}) // of strings: no error
		return string(b)
	}
	byName := make(map[string]Reading, len(readings))
	for _, r := range readings {
		byName[r.Name] = r
	}
	b, _ := json.Marshal(byName) // of strings and numbers: no error
	return string(b)
}

// Close lets go of every channel. The source can be used again.
func (s *Source) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, w := range s.open {
		w.close()
		delete(s.open, name)
	}
}
