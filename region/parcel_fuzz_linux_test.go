package region

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"
)

// FuzzParcel decodes a hand-over datagram that may come from anybody.
func FuzzParcel(f *testing.F) {
	id := [16]byte{1, 2, 3}
	for _, name := range []string{"", "/dev/shm/a", "/a/../b", "a", "/x.lock", "/a\x00b"} {
		b := (&parcel{1, id, name}).encode()
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeParcel(b)
		if err != nil {
			if p != nil || !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, ErrMismatch) && !errors.Is(err, ErrCorrupt) {
				t.Fatal(p, err)
			}
			return
		}
		if p.name != "" {
			if path, err := resolve(p.name); err != nil || path != p.name {
				t.Fatalf("passed the name %q: %q, %v", p.name, path, err)
			}
		}
		if !bytes.Equal(p.encode(), b) {
			t.Fatalf("%q comes out as %q", b, p.encode())
		}
	})
}
