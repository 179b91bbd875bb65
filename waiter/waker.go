package waiter

import "github.com/shmkit/shm/internal/word"

// A Waker is the publishing side of an Event. It belongs to the goroutine that
// publishes, one at a time.
type Waker struct {
	ev     *Event
	quiet  uint32  // the flag's value that asks for nothing
	fences bool    // each publish is followed by a fence
	always bool    // because this process cannot be fenced from outside
	counts *Counts // nil if nobody wants to know
}

// NewWaker makes a Waker for e. It registers the process for membarrier; the
// first time, that may take over 10 ms.
func NewWaker(e *Event) Waker {
	always := word.NeedsFence && !word.RegisterMembarrier()
	return Waker{ev: e, fences: always, always: always}
}

// Notify wakes who is parked. Call it after each publish (or one batch of
// them). When nobody is parked it costs one load; it never blocks.
//
// The publish and the load of the flag may change places on x86. The sleeper
// pays for that: after it has raised the flag, and before it looks for the
// last time, it makes all publishers pass a fence (see Sleeper).
func (w *Waker) Notify() {
	if w.fences {
		word.Fence()
	}
	if w.ev.flag.Load() != w.quiet { // pairs with the compare-and-swap in (*Event).raise
		w.notify()
	}
}

// Quiet is Notify where it inlines: it reports true if there is nothing to do
// after a publish. If not, call Notify.
func (w *Waker) Quiet() bool {
	return !w.fences && w.ev.flag.Load() == w.quiet // pairs with the compare-and-swap in (*Event).raise
}

// Over tells whether the sleeping side has said that it is over.
func (w *Waker) Over() bool { return w.ev.flag.Load()&over != 0 }

func (w *Waker) notify() {
	f := w.ev.flag.Load()
	if f&wish != w.quiet {
		// From here on we fence as wished. The store drains what was
		// published before, so the sleeper that sees ack sees that too.
		w.quiet = f & wish
		w.fences = word.NeedsFence && (w.always || f&fence != 0)
		w.ev.ack.Store(w.quiet) // pairs with the load in (*Sleeper).barrier
	}
	if w.ev.lower() {
		if w.counts != nil {
			Bump(&w.counts.wakes)
		}
		w.ev.Kick()
	}
}
