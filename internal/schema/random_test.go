package schema

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"unsafe"
)

// of is Of for a type that may travel.
func of(t testing.TB, typ reflect.Type) *Layout {
	t.Helper()
	l, err := Of(typ)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// encode is Encode for a layout that fits.
func encode(t testing.TB, l *Layout) []byte {
	t.Helper()
	b, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// needs64 skips a test whose figures are those of a 64-bit machine.
func needs64(t *testing.T) {
	t.Helper()
	if strconv.IntSize != 64 {
		t.Skip("figures are for 64-bit machines")
	}
}

var scalars = []reflect.Type{
	reflect.TypeFor[bool](),
	reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
	reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](),
	reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[complex64](), reflect.TypeFor[complex128](),
}

// randomType returns a type that may travel, with at most depth types within
// each other.
func randomType(r *rand.Rand, depth int) reflect.Type {
	kind := r.IntN(4)
	switch {
	case depth > 1 && kind == 0:
		return reflect.ArrayOf(r.IntN(5), randomType(r, depth-1))
	case depth > 1 && kind <= 2:
		fields := make([]reflect.StructField, r.IntN(6))
		for i := range fields {
			fields[i] = reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: randomType(r, depth-1)}
			switch r.IntN(6) {
			case 0:
				fields[i].Name, fields[i].PkgPath = "_", "p"
			case 1:
				fields[i].Name, fields[i].PkgPath = fmt.Sprintf("f%dé", i), "p"
			}
		}
		return reflect.StructOf(fields)
	default:
		return scalars[r.IntN(len(scalars))]
	}
}

// randomValue returns a value of t and the memory that it lies in.
func randomValue(r *rand.Rand, t reflect.Type) (any, []byte) {
	v := reflect.New(t)
	b := unsafe.Slice((*byte)(v.UnsafePointer()), t.Size())
	for i := range b {
		b[i] = byte(r.Uint32() >> r.IntN(9))
	}
	mendBools(t, b)
	return v.Elem().Interface(), b
}

// mendBools makes every bool of a t in b false or true.
func mendBools(t reflect.Type, b []byte) {
	switch t.Kind() {
	case reflect.Bool:
		b[0] &= 1
	case reflect.Array:
		for i := range t.Len() {
			mendBools(t.Elem(), b[uintptr(i)*t.Elem().Size():])
		}
	case reflect.Struct:
		for i := range t.NumField() {
			mendBools(t.Field(i).Type, b[t.Field(i).Offset:])
		}
	}
}

// checkType holds for every type that may travel: the layout is that of
// package reflect, it survives encoding, and values look as fmt shows them.
func checkType(t *testing.T, r *rand.Rand, typ reflect.Type) {
	t.Helper()
	l := of(t, typ)
	if l.Size != typ.Size() || l.Align != uintptr(typ.Align()) {
		t.Fatalf("%v: %v, want size %d align %d", typ, l, typ.Size(), typ.Align())
	}
	b := encode(t, l)
	d, err := Decode(append(b, 0, 0, 0))
	if err != nil {
		t.Fatalf("%v: %v", typ, err)
	}
	if !reflect.DeepEqual(d, l) || d.Fingerprint() != l.Fingerprint() || d.String() != l.String() {
		t.Fatalf("%v: decoded as\n%v, want\n%v", typ, d, l)
	}
	v, memory := randomValue(r, typ)
	want := fmt.Sprintf("%+v", v)
	if len(want) > maxText {
		return
	}
	if got := string(d.AppendText([]byte("v="), memory)); got != "v="+want {
		t.Fatalf("%v:\n got %s\nwant v=%s", typ, got, want)
	}
}

func TestRandomTypesSurviveEncodingAndPrintLikeFmt(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		checkType(t, r, randomType(r, 1+r.IntN(5)))
	}
}

func FuzzTypes(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 2))
		checkType(t, r, randomType(r, 1+r.IntN(5)))
	})
}

func TestDeclaredTypesSurviveEncodingAndPrintLikeFmt(t *testing.T) {
	r := rand.New(rand.NewPCG(0, 3))
	for _, typ := range append(scalars,
		reflect.TypeFor[base](),
		reflect.TypeFor[flags](),
		reflect.TypeFor[struct{}](),
		reflect.TypeFor[[0][5]flags](),
		reflect.TypeFor[pair[flags, [2]pair[int8, complex128]]](),
		reflect.TypeFor[[maxElems]int16](),
	) {
		for range 20 {
			checkType(t, r, typ)
		}
	}
}
