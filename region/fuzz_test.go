package region

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"
)

// FuzzEndpoints claims, asks for and leaves roles whose words are what a peer has
// left there, or changes in between: no state is one that there is not, no call
// turns in circles, and who has the lock gets the role, unless it says closed.
//
// Each nine bytes of work are an operation and a word.
func FuzzEndpoints(f *testing.F) {
	for phase := range uint64(8) {
		w := binary.LittleEndian.AppendUint64(nil, phase|7<<8|3<<40)
		f.Add(append([]byte{0}, w...), append(append([]byte{1}, w...), append([]byte{2}, w...)...))
	}
	f.Add([]byte{1, 1, 255, 255, 255, 255, 255, 255, 255}, []byte{0, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, first, work []byte) {
		if len(work) > 9*32 {
			return
		}
		hang := time.AfterFunc(patience, func() { panic("hangs") })
		defer hang.Stop()
		r, err := Heap(config())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Unmap()
		word := func(b []byte) uint64 {
			var w [8]byte
			copy(w[:], b)
			return binary.LittleEndian.Uint64(w[:])
		}
		for i := range r.roles {
			r.roles[i].word.Store(word(first) + uint64(i))
		}
		var own *Region
		for ; len(work) >= 9; work = work[9:] {
			role := int(work[0]>>4) % r.Roles()
			was := unpack(r.roles[role].word.Load())
			s := r.Probe(role)
			if s.Phase > Dead || s != r.State(role) {
				t.Fatalf("probed %+v, recorded %+v", s, r.State(role))
			}
			held := own != nil && own.Role() == role
			if was.Phase == Attached && (s.Phase == Attached) != held || s.Phase == Transit { // nobody has a transit lock
				t.Fatalf("%+v, held %v", s, held)
			}
			switch work[0] % 8 {
			case 0, 1:
				r.roles[role].word.Store(word(work[1:]))
			case 2, 3:
				if own != nil {
					break
				}
				own, err = r.Attach(role)
				switch {
				case err == nil:
					if got := r.State(role); s.Phase == Closed || got.Phase != Attached || got.Epoch != s.Epoch+1 || got.Deaths != s.Deaths {
						t.Fatalf("claimed from %+v to %+v", s, got)
					}
				case !errors.Is(err, ErrRoleClosed) || s.Phase != Closed:
					t.Fatalf("claim from %+v: %v", s, err)
				}
			case 4, 5, 6:
				if own == nil {
					break
				}
				role, leave, want := own.Role(), own.Detach, Detached
				if work[0]%8 == 5 {
					leave, want = func() error { return own.Close(nil) }, Closed
				}
				if err := leave(); err != nil {
					t.Fatal(err)
				}
				if got := r.Probe(role); got.Phase != want {
					t.Fatalf("left as %v, is %+v", want, got)
				}
				if err := own.Unmap(); err != nil {
					t.Fatal(err)
				}
				own = nil
			case 7:
				if own == nil {
					break
				}
				role := own.Role()
				own.Unmap() // without leaving
				if got := r.Probe(role); got.Phase == Attached || got.Phase == Transit {
					t.Fatalf("gone, and still %+v", got)
				}
				own = nil
			}
		}
		if own != nil {
			own.Unmap()
		}
	})
}
