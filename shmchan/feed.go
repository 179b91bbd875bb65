package shmchan

import (
	"io"
	"sync"
)

// A feed is how the goroutine of a Chan has ended, for any goroutine.
type feed struct {
	mu  sync.Mutex
	err error
}

// begin says that there is a new one.
func (f *feed) begin() { f.set(nil) }

// end says why it ends; the end of the messages is no error.
func (f *feed) end(err error) {
	if err == io.EOF {
		err = nil
	}
	f.set(err)
}

func (f *feed) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *feed) why() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
