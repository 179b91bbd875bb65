package schema

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the corpus of FuzzDecode")

const (
	u8  = "\x03\x01\x01"
	u64 = "\x03\x08\x08"
)

// encoding is one of n nodes, without a name.
func encoding(n byte, nodes string) string { return "\x01\x00" + string(n) + nodes }

// doubling is depth structs, each of two of the one before, around node zero:
// a tree of 2^depth leaves.
func doubling(zero string, depth int) string {
	var b strings.Builder
	b.WriteString(zero)
	for i := range depth {
		b.WriteString("\x07\x00\x01\x02")
		b.WriteString(string([]byte{byte(i), 0, 1, 'A', byte(i), 0, 1, 'B'}))
	}
	return encoding(byte(depth+1), b.String())
}

// chain is depth arrays of one within each other, around a byte.
func chain(depth int) string {
	var b strings.Builder
	b.WriteString(u8)
	for i := range depth {
		b.WriteString(string([]byte{6, 1, byte(i)}))
	}
	return encoding(byte(depth+1), b.String())
}

func varint(v uint64) string { return string(binary.AppendUvarint(nil, v)) }

var hostile = []struct{ name, in, want string }{
	{"empty", "", "ends early"},
	{"unwritten", "\x00\x00\x00\x00", "version 0"},
	{"later version", "\x02\x00\x01" + u8, "version 2, of which this program knows only 1"},
	{"version only", "\x01", "ends early"},
	{"name beyond the end", "\x01\x09ab", "ends early"},
	{"name of huge length", "\x01" + varint(1<<62) + "ab", "ends early"},
	{"name with an escape", "\x01\x03\x1b[m\x01" + u8, "name cannot be printed"},
	{"name not UTF-8", "\x01\x01\xff\x01" + u8, "name cannot be printed"},
	{"no nodes", encoding(0, ""), "no nodes"},
	{"more nodes announced than there are", encoding(2, u8), "ends early"},
	{"huge count of nodes", "\x01\x00" + varint(1<<62) + u8, "ends early"},
	{"number too big", "\x01\x00" + varint(1<<63) + u8, "a number is too big"},
	{"number without end", "\x01\x00" + strings.Repeat("\xff", 20), "a number is too big"},
	{"number longer than need be", "\x01\x00\x81\x00" + u8, "longer than it need be"},
	{"kind 0", encoding(1, "\x00\x01\x01"), "unknown kind 0"},
	{"kind 8", encoding(1, "\x08\x01\x01"), "unknown kind 8"},
	{"bool of 2 bytes", encoding(1, "\x01\x02\x02"), "bool of 2 bytes"},
	{"int of 3 bytes", encoding(1, "\x02\x03\x01"), "int of 3 bytes"},
	{"int of 0 bytes", encoding(1, "\x02\x00\x01"), "int of 0 bytes"},
	{"float of 1 byte", encoding(1, "\x04\x01\x01"), "float of 1 bytes"},
	{"complex of 32 bytes", encoding(1, "\x05\x20\x08"), "complex of 32 bytes"},
	{"scalar aligned to 0", encoding(1, "\x02\x04\x00"), "int32 aligned to 0"},
	{"scalar aligned to 3", encoding(1, "\x02\x04\x03"), "int32 aligned to 3"},
	{"scalar aligned beyond its size", encoding(1, "\x02\x04\x08"), "int32 aligned to 8"},
	{"array of itself", encoding(1, "\x06\x01\x00"), "node 0 refers to node 0, which is not before it"},
	{"array of a later node", encoding(2, "\x06\x01\x01"+u8), "node 0 refers to node 1"},
	{"array too big", encoding(2, u64+"\x06"+varint(1<<60)+"\x00"), "is too big"},
	{"array whose size wraps", encoding(2, u64+"\x06"+varint(1<<61+1)+"\x00"), "is too big"},
	{"struct of itself", encoding(1, "\x07\x01\x01\x01\x00\x00\x01A"), "which is not before it"},
	{"struct aligned to 0", encoding(1, "\x07\x00\x00\x00"), "struct of 0 bytes aligned to 0"},
	{"struct aligned to 128", encoding(1, "\x07\x00"+varint(128)+"\x00"), "aligned to 128"},
	{"struct size not a multiple", encoding(1, "\x07\x05\x04\x00"), "struct of 5 bytes aligned to 4"},
	{"field overlaps", encoding(2, u8+"\x07\x02\x01\x02\x00\x00\x01A\x00\x00\x01B"), "field B at 0 overlaps"},
	{"field out of order", encoding(2, u8+"\x07\x02\x01\x02\x00\x01\x01A\x00\x00\x01B"), "field B at 0 overlaps"},
	{"field beyond the size", encoding(2, u8+"\x07\x01\x01\x01\x00\x01\x01A"), "exceeds a struct of 1"},
	{"field at a huge offset", encoding(2, u8+"\x07\x01\x01\x01\x00"+varint(1<<63-1)+"\x01A"), "exceeds a struct of 1"},
	{"field not aligned", encoding(2, u64+"\x07\x10\x08\x01\x00\x04\x01A"), "field A at 4 is not aligned to 8"},
	{"field aligned more than its struct", encoding(2, u64+"\x07\x08\x04\x01\x00\x00\x01A"), "not aligned to 8"},
	{"field without a name", encoding(2, u8+"\x07\x01\x01\x01\x00\x00\x00"), "not one in Go"},
	{"field with an escape", encoding(2, u8+"\x07\x01\x01\x01\x00\x00\x02A\x1b"), "not one in Go"},
	{"field with a digit first", encoding(2, u8+"\x07\x01\x01\x01\x00\x00\x021A"), "not one in Go"},
	{"field not UTF-8", encoding(2, u8+"\x07\x01\x01\x01\x00\x00\x02A\xff"), "not one in Go"},
	{"huge count of fields", encoding(1, "\x07\x00\x01"+varint(1<<62)), "ends early"},
	{"node in no use", encoding(2, u8+u64), "node 0 belongs to nothing"},
	{"bytes after the root", encoding(1, u8) + "\x00\x01", "more follows the root"},
	{"too deep", chain(maxDepth), "nested more than 64 deep"},
	{"too long", encoding(1, u8) + strings.Repeat("\x00", MaxEncoded), "at most 16384 expected"},
}

func TestDecodeRefusesWhatNoTypeHas(t *testing.T) {
	needs64(t)
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			l, err := Decode([]byte(c.in))
			if l != nil || !errors.Is(err, ErrEncoding) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v; want %q", l, err, c.want)
			}
		})
	}
}

var sound = []struct{ name, in, want string }{
	{"byte", encoding(1, u8), "uint8 size 1 align 1"},
	{"padded", encoding(1, u8) + "\x00\x00\x00", "uint8 size 1 align 1"},
	{"named", "\x01\x02Px\x01\x04\x08\x08", "Px float64 size 8 align 8"},
	{"fields", encoding(2, u8+"\x07\x03\x01\x02\x00\x00\x01A\x00\x02\x01_"), "{A uint8 @0; _ uint8 @2} size 3 align 1"},
	{"as deep as can be", chain(maxDepth - 1), strings.Repeat("[1]", maxDepth-1) + "uint8 size 1 align 1"},
	{"nothing many times", encoding(2, "\x07\x00\x01\x00"+"\x06"+varint(1<<62)+"\x00"), "[4611686018427387904]{} size 0 align 1"},
	{"doubled", doubling("\x07\x00\x01\x00", 2), "{A {A {} @0; B {} @0} @0; B {A {} @0; B {} @0} @0} size 0 align 1"},
}

func TestDecodeTakesWhatATypeCouldHave(t *testing.T) {
	needs64(t)
	for _, c := range sound {
		l, err := Decode([]byte(c.in))
		if err != nil || l.String() != c.want {
			t.Errorf("%s: got %v, %v; want %s", c.name, l, err, c.want)
		}
	}
}

// A few hundred bytes can describe a tree of 2^60 leaves. Whatever walks it
// must not visit them all.
func TestSharedNodesAreNotWalkedOneByOne(t *testing.T) {
	l, err := Decode([]byte(doubling("\x07\x00\x01\x00", 60)))
	if err != nil {
		t.Fatal(err)
	}
	checkSound(t, l)
}

func TestDecodeSeesEachByteOnce(t *testing.T) {
	l := of(t, reflect.TypeFor[flags]())
	b := encode(t, l)
	d, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if !reflect.DeepEqual(d, l) {
		t.Errorf("got %v, want %v", d, l)
	}
}

func TestEveryTruncationIsAnError(t *testing.T) {
	b := encode(t, of(t, reflect.TypeFor[pair[flags, [4]base]]()))
	for n := range b {
		if l, err := Decode(b[:n]); !errors.Is(err, ErrEncoding) {
			t.Errorf("%d of %d bytes: %v, %v", n, len(b), l, err)
		}
	}
}

func TestEncodeRefusesWhatDoesNotFit(t *testing.T) {
	var fields []reflect.StructField
	for i := range 3000 {
		fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%04d", i), Type: reflect.TypeFor[int8]()})
	}
	l := of(t, reflect.StructOf(fields))
	if b, err := l.Encode(); err == nil || !strings.Contains(err.Error(), "layout of T takes 2") {
		t.Errorf("got %d bytes, %v", len(b), err)
	}
}

func TestEqualNodesAreWrittenOnce(t *testing.T) {
	type a struct{ X, Y int32 }
	type b struct{ X, Y int32 }
	n := len(encode(t, of(t, reflect.TypeFor[struct {
		A a
		B a
	}]())))
	m := len(encode(t, of(t, reflect.TypeFor[struct {
		A a
		B b
	}]())))
	if n != m {
		t.Errorf("%d bytes with one type, %d with two alike", n, m)
	}
}

// checkSound holds a decoded layout against the rules, by other means than
// those of the decoder where it can, and does all that can be done with it.
func checkSound(t *testing.T, l *Layout) {
	t.Helper()
	seen := make(map[*Node]bool)
	var check func(n *Node, depth int)
	check = func(n *Node, depth int) {
		if depth > maxDepth {
			t.Fatal("too deep")
		}
		if seen[n] {
			return
		}
		seen[n] = true
		at := uintptr(0)
		for _, f := range n.Fields {
			if f.Offset < at || f.Offset%f.Type.Align != 0 || f.Offset+f.Type.Size > n.Size {
				t.Fatalf("field %s at %d", f.Name, f.Offset)
			}
			at = f.Offset + f.Type.Size
			check(f.Type, depth+1)
		}
		if n.Kind == Array {
			if e := n.Elem.Size; e != 0 && n.Size/e != n.Len {
				t.Fatalf("[%d] of %d bytes is %d", n.Len, e, n.Size)
			}
			check(n.Elem, depth+1)
		}
	}
	check(l.Root, 1)

	b := encode(t, l)
	again, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if again.Fingerprint() != l.Fingerprint() || again.String() != l.String() {
		t.Fatalf("decoded again as %v, want %v", again, l)
	}
	if c := encode(t, again); !bytes.Equal(b, c) {
		t.Fatalf("encoded again as %q, want %q", c, b)
	}
	if s := l.String(); len(s) > 3<<10 {
		t.Fatalf("a line of %d bytes", len(s))
	}
	if l.Size <= 1<<20 {
		text := l.AppendText(nil, bytes.Repeat([]byte{0xa5}, int(l.Size)))
		if len(text) > maxText+MaxEncoded+1024 {
			t.Fatalf("a text of %d bytes", len(text))
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Decode(b)
		if err != nil {
			if l != nil || !errors.Is(err, ErrEncoding) {
				t.Fatalf("%v, %v", l, err)
			}
			return
		}
		checkSound(t, l)
		if got := encode(t, l); len(got) > len(b) {
			t.Fatalf("%d bytes from %d", len(got), len(b))
		}
	})
}

// The corpus has every hostile and every sound encoding of the tables above,
// but for the one that is too long.
func TestCorpusIsComplete(t *testing.T) {
	dir := filepath.Join("testdata", "fuzz", "FuzzDecode")
	all := append(append(sound[:0:0], sound...), hostile...)
	all = append(all,
		struct{ name, in, want string }{name: "deep sharing", in: doubling("\x07\x00\x01\x00", 60)},
		struct{ name, in, want string }{name: "order", in: goldenEncoding})
	for _, c := range all {
		if len(c.in) > MaxEncoded {
			continue // nothing but its length counts
		}
		file := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-"))
		want := fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", c.in)
		if *update {
			if err := os.MkdirAll(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(want), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != want {
			t.Errorf("%s is not current (%v); run go test -run %s -update", file, err, t.Name())
		}
	}
}
