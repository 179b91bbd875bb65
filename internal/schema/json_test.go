package schema

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// asJSON is AppendJSON of a value.
func asJSON[T any](t *testing.T, v T) string {
	t.Helper()
	b := unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))
	got := string(of(t, reflect.TypeFor[T]()).AppendJSON(nil, b))
	if !json.Valid([]byte(got)) {
		t.Errorf("not JSON: %s", got)
	}
	return got
}

func TestJSON(t *testing.T) {
	type leg struct {
		Qty int8
		_   [3]byte
		Px  float32
	}
	type order struct {
		ID    uint64
		Ok    bool
		Legs  [2]leg
		C     complex64
		Äpfel int16
		None  struct{}
		Zero  [0]int
	}
	v := order{ID: math.MaxUint64, Ok: true, Legs: [2]leg{{Qty: -1, Px: 1.5}, {Px: float32(math.Inf(-1))}}, C: complex(1, float32(math.NaN())), Äpfel: -300}
	want := `{"ID":18446744073709551615,"Ok":true,"Legs":[{"Qty":-1,"Px":1.5},{"Qty":0,"Px":"-Inf"}],"C":[1,"NaN"],"Äpfel":-300,"None":{},"Zero":[]}`
	if got := asJSON(t, v); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := asJSON(t, 1e100); got != "1e+100" {
		t.Error(got)
	}
	if got := asJSON(t, uint8(7)); got != "7" {
		t.Error(got)
	}
}

func TestJSONIsBounded(t *testing.T) {
	got := asJSON(t, [100][100][10]uint8{})
	if len(got) > 2*maxPath || !strings.HasPrefix(got, `"[[[0 0`) || !strings.HasSuffix(got, `..."`) {
		t.Errorf("%d bytes: %.80s", len(got), got)
	}
	l := of(t, reflect.TypeFor[[1 << 30][1 << 30]struct{}]())
	if got := l.AppendJSON(nil, nil); len(got) > 2*maxPath || !json.Valid(got) {
		t.Errorf("%d bytes", len(got))
	}
	if got := string(of(t, reflect.TypeFor[uint32]()).AppendJSON([]byte("x"), []byte{1})); got != `x"%!(T of 1 bytes, expected 4)..."` {
		t.Error(got)
	}
}
