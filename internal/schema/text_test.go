package schema

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClippingKeepsRunesWhole(t *testing.T) {
	for pad := range 4 {
		s := strings.Repeat("x", pad) + strings.Repeat("世", 200)
		for _, c := range []struct {
			got string
			max int
		}{{clip(s), maxClip}, {clipMiddle(s), maxPath}, {head(s, 100), 100}, {printable(s), maxName}} {
			if len(c.got) > c.max || len(c.got) < c.max-4 || !utf8.ValidString(c.got) {
				t.Errorf("%d bytes of at most %d: %q", len(c.got), c.max, c.got)
			}
		}
	}
}

func TestPrintableIsWhatDecodeTakes(t *testing.T) {
	for _, s := range []string{"", "Order", "pair[int,p/q.T]", "a\nb", "\x1b[m", "\xff", "\ufffd", "\u202e"} {
		if p := printable(s); !isPrintable(p) {
			t.Errorf("%q became %q, which is refused", s, p)
		}
		if isPrintable(s) != (s == printable(s)) {
			t.Errorf("%q: taken %v", s, isPrintable(s))
		}
	}
}

func TestKindsHaveNames(t *testing.T) {
	for k, want := range map[Kind]string{Bool: "bool", Struct: "struct", 0: "Kind(0)", 8: "Kind(8)"} {
		if got := k.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
