package schema

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

func TestFingerprintCoversLayoutAndNotNames(t *testing.T) {
	type a struct {
		X int32
		Y [2]float64
	}
	typ := reflect.TypeFor[a]()
	for _, c := range []struct {
		name  string
		a, b  reflect.Type
		equal bool
	}{
		{"names", typ, reflect.TypeFor[struct {
			Qty int32
			_   [2]float64
		}](), true},
		{"defined types", reflect.TypeFor[time.Duration](), reflect.TypeFor[int64](), true},
		{"embedding", reflect.TypeFor[struct{ base }](), reflect.TypeFor[struct{ B struct{ N uint32 } }](), true},
		{"padding by a zero-size array", reflect.TypeFor[struct {
			_ [0]int64
			X int32
		}](), reflect.TypeFor[struct{ X int32 }](), false},
		{"order", typ, reflect.TypeFor[struct {
			Y [2]float64
			X int32
		}](), false},
		{"kind", reflect.TypeFor[int32](), reflect.TypeFor[uint32](), false},
		{"kind of equal bytes", reflect.TypeFor[uint8](), reflect.TypeFor[bool](), false},
		{"kind inside", typ, reflect.TypeFor[struct {
			X int32
			Y [2]int64
		}](), false},
		{"size", reflect.TypeFor[int32](), reflect.TypeFor[int64](), false},
		{"array length", reflect.TypeFor[[3]int8](), reflect.TypeFor[[4]int8](), false},
		{"array length of nothing", reflect.TypeFor[[3]struct{}](), reflect.TypeFor[[4]struct{}](), false},
		{"array and fields", reflect.TypeFor[[2]int8](), reflect.TypeFor[struct{ A, B int8 }](), false},
		{"array of arrays", reflect.TypeFor[[2][3]int8](), reflect.TypeFor[[3][2]int8](), false},
		{"a struct of one", reflect.TypeFor[struct{ A int8 }](), reflect.TypeFor[int8](), false},
		{"a field of no size", reflect.TypeFor[struct{ A int8 }](), reflect.TypeFor[struct {
			_ struct{}
			A int8
		}](), false},
	} {
		if got := of(t, c.a).Fingerprint() == of(t, c.b).Fingerprint(); got != c.equal {
			t.Errorf("%s: equal fingerprints %v, want %v", c.name, got, c.equal)
		}
	}
}

func TestIntCountsAsTheIntOfItsSize(t *testing.T) {
	needs64(t)
	if of(t, reflect.TypeFor[int]()).Fingerprint() != of(t, reflect.TypeFor[int64]()).Fingerprint() {
		t.Error("int and int64 differ")
	}
	if of(t, reflect.TypeFor[uint]()).Fingerprint() != of(t, reflect.TypeFor[uint64]()).Fingerprint() {
		t.Error("uint and uint64 differ")
	}
}

// Fingerprints and encodings lie in memory that other builds read. If this
// fails, the version of the header has to change.
func TestFingerprintAndEncodingStayAsTheyAre(t *testing.T) {
	needs64(t)
	type leg struct {
		Qty int32
		Px  float64
	}
	type Order struct {
		ID   uint64
		Side bool
		Legs [300]leg
	}
	l := of(t, reflect.TypeFor[Order]())
	if got, want := fmt.Sprintf("%x", l.Fingerprint()), goldenFingerprint; got != want {
		t.Errorf("fingerprint %s, want %s", got, want)
	}
	if got := string(encode(t, l)); got != goldenEncoding {
		t.Errorf("encoding\n got %q\nwant %q", got, goldenEncoding)
	}
}

const (
	goldenFingerprint = "5524c6bfe7e24acb73886cdb14ad189c"
	goldenEncoding    = "\x01" + "\x05Order" + "\x07" + // version, name, nodes
		"\x03\x08\x08" + // 0: uint64
		"\x01\x01\x01" + // 1: bool
		"\x02\x04\x04" + // 2: int32
		"\x04\x08\x08" + // 3: float64
		"\x07\x10\x08\x02" + "\x02\x00\x03Qty" + "\x03\x08\x02Px" + // 4: leg
		"\x06\xac\x02\x04" + // 5: [300]leg
		"\x07\xd0\x25\x08\x03" + "\x00\x00\x02ID" + "\x01\x08\x04Side" + "\x05\x10\x04Legs" // 6: Order
)
