package schema

import (
	"reflect"
	"strings"
	"testing"
)

func TestLongArraysAreShownByTheirStart(t *testing.T) {
	l := of(t, reflect.TypeFor[[1000]uint8]())
	got := string(l.AppendText(nil, make([]byte, 1000)))
	if want := "[" + strings.Repeat("0 ", maxElems) + "... 872 more]"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestTextIsBounded(t *testing.T) {
	l := of(t, reflect.TypeFor[[100][100][100]struct{ X, Y uint8 }]())
	got := string(l.AppendText(nil, make([]byte, l.Size)))
	if len(got) > maxText+100 || !strings.HasSuffix(got, "...}]]]") || strings.Count(got, "...") != 1 {
		t.Errorf("got %d bytes, ending in %q", len(got), got[max(0, len(got)-40):])
	}
}

func TestNothingIsWalkedWhateverItsCount(t *testing.T) {
	l := of(t, reflect.TypeFor[[1 << 30][1 << 30]struct{}]())
	if got := string(l.AppendText(nil, nil)); len(got) > maxText+100 {
		t.Errorf("got %d bytes", len(got))
	}
}

func TestMissingBytesAreReported(t *testing.T) {
	l := of(t, reflect.TypeFor[base]())
	if got, want := string(l.AppendText([]byte("> "), make([]byte, 3))), "> %!(base of 3 bytes, expected 4)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := string(l.AppendText(nil, make([]byte, 9))), "{ID:0}"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnyByteIsABool(t *testing.T) {
	l := of(t, reflect.TypeFor[[3]bool]())
	if got, want := string(l.AppendText(nil, []byte{0, 1, 0xfe})), "[false true true]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
