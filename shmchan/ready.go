package shmchan

import (
	"context"
	"runtime"

	"github.com/shmkit/shm/region"
)

// Ready is level-triggered: one goroutine an endpoint, started by the first
// call, parks until an operation could succeed and then offers tokens for as
// long as that is so.
//
// Invariant: while canProceed is true, a token lies in the channel, or the
// goroutine is about to put one there. After each it lets others run, and looks
// again: so whoever waited for the token has used it by then, mostly, and
// the next one is no lie. If the answer is the same, the goroutine is blocked on
// putting the next token, and whoever takes one finds another at once. The price
// is, at times, a spurious token or two after the last operation.

// readyChan returns the channel of tokens.
func (e *end) readyChan(canProceed func() bool) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ready == nil {
		e.ready = make(chan struct{}, 1)
		if e.gone.Load() != 0 {
			offer(e.ready)
		} else {
			e.others++
			go e.offerTokens(e.ready, canProceed)
		}
	}
	return e.ready
}

func (e *end) offerTokens(ready chan<- struct{}, canProceed func() bool) {
	defer e.giveBack()
	for {
		guarded(func() error {
			return e.sleep.Await(context.Background(), func() bool { return e.gone.Load() != 0 || canProceed() })
		}) // cut off: calls return at once
		select {
		case <-e.stop:
			return
		default:
		}
		select {
		case <-e.stop:
			return
		case ready <- struct{}{}:
			runtime.Gosched()
		}
	}
}

// offer leaves a last token: a closed endpoint's operations end at once.
func offer(ready chan struct{}) {
	select {
	case ready <- struct{}{}:
	default:
	}
}

// settled tells whether the peer's state alone makes a call return at once.
func (e *end) settled() bool {
	st := e.reg.State(e.peer())
	return st.Phase == region.Closed || e.reg.Retired() || !e.await && st.Deaths != e.told.Load()
}
