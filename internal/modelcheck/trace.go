package modelcheck

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unsafe"
)

// Traces, names and seeds.
//
// A failing execution is run again with a tracer, so the search itself pays
// nothing for traces.
type tracer struct {
	lines   []string
	n       int
	line    string
	results []string
}

var kindNames = [...]string{"?", "Load", "Store", "StoreRelease", "Add", "Swap", "CompareAndSwap", "Fence", "Pause", "Wait", "Wake", "WaitAny", "leaves",
	"Membarrier begins", "Membarrier ends", "RegisterMembarrier", "Await", "flush", "limit ends", "goes on after a stop", "CRASHES"}

func (k kind) String() string { return kindNames[k] }

func (r *tracer) put(who, what string) {
	r.flush()
	r.line = fmt.Sprintf("%4d  %-12s %s", r.n, who, what)
}

func (r *tracer) flush() {
	if r.line == "" {
		return
	}
	if len(r.results) > 0 {
		r.line = fmt.Sprintf("%-60s %s", r.line, strings.Join(r.results, ", "))
	}
	r.lines = append(r.lines, r.line)
	r.line, r.results = "", nil
}

// step begins a line; result adds to it, and end says how the step ended.
func (r *tracer) step(w *World, p int, o *op) {
	r.n++
	t := w.thread(p)
	name := ""
	if o.word >= 0 {
		name = w.wordName(o.word) + "."
	}
	switch o.kind {
	case opStore, opStoreRelease, opSwap:
		r.put(t.name, fmt.Sprintf("%s%v(%s)", name, o.kind, value(o.a)))
	case opAdd:
		d := int64(o.a)
		if w.words[o.word].size == 4 {
			d = int64(int32(o.a))
		}
		r.put(t.name, fmt.Sprintf("%sAdd(%d)", name, d))
	case opCompareAndSwap:
		r.put(t.name, fmt.Sprintf("%s%v(%s, %s)", name, o.kind, value(o.a), value(o.b)))
	case opWait, opWake, opQueue:
		r.put(t.name, fmt.Sprintf("%s%v(%s)", name, o.kind, value(o.a)))
	case opUnqueue:
		r.put(t.name, "leaves "+strings.TrimSuffix(name, "."))
	case opFlush:
		r.put("  "+t.name+" ~", fmt.Sprintf("%s = %s", strings.TrimSuffix(name, "."), value(o.a)))
		r.result("reaches memory")
	case opAwait:
		r.put(t.name, [...]string{"learns of the death", "learns of the end", "learns of the stop"}[o.b]+" of "+w.threads[o.a].name)
	default:
		r.put(t.name, name+o.kind.String())
	}
}

func (r *tracer) result(format string, args ...any) {
	r.results = append(r.results, fmt.Sprintf(format, args...))
}

func (r *tracer) end(o *op, t *thread) {
	switch o.kind {
	case opLoad:
		r.result("= %s", value(t.res))
		if t.buffered(o.word) != nil {
			r.result("from its own buffer")
		}
	case opAdd, opSwap:
		r.result("= %s", value(t.res))
	case opCompareAndSwap:
		r.result("= %v", t.res == 1)
	case opWake:
		if t.res == 0 {
			r.result("wakes nobody")
		}
	case opUnqueue:
		if t.res == 1 {
			r.result("was woken there")
		}
	case opStoreRelease:
		if t.w.tso {
			r.result("buffered")
		}
	}
}

// note adds an unnumbered line.
func (r *tracer) note(t *thread, format string, args ...any) {
	r.flush()
	name := ""
	if t != nil {
		name = t.name
	}
	r.lines = append(r.lines, fmt.Sprintf("      %-12s . %s", name, fmt.Sprintf(format, args...)))
}

func (r *tracer) String() string {
	r.flush()
	if n := len(r.lines); n > 500 { // a livelock
		r.lines = append(append(r.lines[:200:200], fmt.Sprintf("      ... %d lines ...", n-400)), r.lines[n-200:]...)
	}
	return strings.Join(r.lines, "\n") + "\n"
}

// value shows small numbers in decimal and packed ones in hexadecimal.
func value(v uint64) string {
	if v < 1<<16 {
		return strconv.FormatUint(v, 10)
	}
	return "0x" + strconv.FormatUint(v, 16)
}

// An object is named memory: of a type, or of size bytes.
type object struct {
	ptr  unsafe.Pointer
	typ  reflect.Type
	size uintptr
	name string
}

// Name names what ptr points to, a word or a structure of words, for traces.
func (w *World) Name(ptr any, name string) {
	v := reflect.ValueOf(ptr)
	w.names = append(w.names, object{ptr: v.UnsafePointer(), typ: v.Type().Elem(), size: v.Type().Elem().Size(), name: name})
}

func (w *World) wordName(i int32) string {
	m := &w.words[i]
	return w.name(m.ptr, uintptr(m.size))
}

// name returns a name for the n bytes at p: of the last object named that
// holds them, and of the fields on the way to them.
func (w *World) name(p unsafe.Pointer, n uintptr) string {
	for i := len(w.names) - 1; i >= 0; i-- {
		o := &w.names[i]
		off := uintptr(p) - uintptr(o.ptr)
		if uintptr(p) < uintptr(o.ptr) || off >= o.size {
			continue
		}
		if o.typ == nil {
			return fmt.Sprintf("%s[%d:%d]", o.name, off, off+n)
		}
		return o.name + path(o.typ, off, n)
	}
	for i := range w.words {
		if w.words[i].ptr == p {
			return fmt.Sprintf("word%d", i)
		}
	}
	return fmt.Sprintf("%d bytes without a name", n)
}

// path names the part of a T of n bytes at off.
func path(t reflect.Type, off, n uintptr) string {
	switch {
	case t.Name() == "U32" || t.Name() == "U64": // ours, or internal/word's around it
		return ""
	case t.Kind() == reflect.Array && n < t.Size():
		size := t.Elem().Size()
		return fmt.Sprintf("[%d]", off/size) + path(t.Elem(), off%size, n)
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); off >= f.Offset && off+n <= f.Offset+f.Type.Size() {
				return "." + f.Name + path(f.Type, off-f.Offset, n)
			}
		}
	}
	if off != 0 {
		return fmt.Sprintf("+%d", off)
	}
	return ""
}

func (w *World) parkedNames(t *thread) string {
	var s []string
	for _, p := range w.queue {
		if p.thread == t {
			s = append(s, w.wordName(p.word))
		}
	}
	return strings.Join(s, ", ")
}

func (w *World) lookedNames(t *thread) string {
	var s []string
	for _, l := range t.looked {
		s = append(s, w.wordName(l.word))
	}
	return strings.Join(s, ", ")
}

// A seed is a schedule: for each step a letter, small for a thread and capital
// for its flusher, with ! after it if a Wait returned early and a count before
// it if it repeats.

func (s *search) seed() string {
	var b strings.Builder
	for i := 0; i < len(s.stack); {
		c := s.stack[i].choice
		n := i
		for n < len(s.stack) && s.stack[n].choice == c {
			n++
		}
		if n-i > 1 {
			b.WriteString(strconv.Itoa(n - i))
		}
		b.WriteByte("abcdefABCDEF"[c.proc])
		if c.alt > 0 {
			b.WriteByte('!')
		}
		i = n
	}
	return b.String()
}

func parseSeed(seed string) ([]choice, error) {
	script := []choice{}
	for s := seed; s != ""; {
		digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
		n := 1
		if digits > 0 {
			n, _ = strconv.Atoi(s[:digits])
		}
		s = s[digits:]
		p := -1
		if s != "" {
			p = strings.IndexByte("abcdefABCDEF", s[0])
		}
		if p < 0 || n > 1e6 {
			return nil, fmt.Errorf("modelcheck: bad seed %q", seed)
		}
		c := choice{proc: uint8(p)}
		if s = s[1:]; strings.HasPrefix(s, "!") {
			c.alt, s = 1, s[1:]
		}
		for range n {
			script = append(script, c)
		}
	}
	return script, nil
}

// Replay runs the one execution that seed names, with a trace. Where the seed
// ends it goes on in some way.
func Replay(cfg Config, seed string, setup func(*World)) Result {
	defer enter(cfg)()
	s := newSearch(cfg)
	return s.retrace(seed, setup)
}

func (s *search) retrace(seed string, setup func(*World)) Result {
	script, err := parseSeed(seed)
	if err != nil {
		return Result{Failure: &Failure{Kind: Nondeterminism, Reason: err.Error(), Err: err}}
	}
	r := newSearch(s.cfg)
	defer r.close()
	r.script, r.cfg.Search, r.trace = script, DFS, &tracer{}
	r.execute(setup)
	res := r.res
	if f := r.failure; f != nil {
		f.Seed = r.seed()
		r.trace.note(nil, "%v: %s", f.Kind, f.Reason)
		if f.stack != nil {
			r.trace.note(nil, "%s", f.stack)
		}
		res.Failure, res.Failures = f, 1
	}
	res.Trace = r.trace.String()
	if res.Failure != nil {
		res.Failure.Trace = res.Trace
	}
	return *res
}
