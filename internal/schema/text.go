package schema

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName = 255 // bytes of a type's name in a layout
	maxClip = 64  // bytes of a name in a message
	maxPath = 256 // bytes of a path in a message
	dots    = "..."
)

// clip shortens s to fit a message.
func clip(s string) string {
	if len(s) <= maxClip {
		return s
	}
	return head(s, maxClip-len(dots)) + dots
}

// clipMiddle shortens a path, and keeps both of its ends.
func clipMiddle(s string) string {
	if len(s) <= maxPath {
		return s
	}
	tail := s[len(s)-maxPath/2:]
	for !utf8.RuneStart(tail[0]) {
		tail = tail[1:]
	}
	return head(s, maxPath/2-len(dots)) + dots + tail
}

// head returns at most n bytes of s, and no part of a rune.
func head(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// printable makes s a name that isPrintable accepts.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	return head(s, maxName)
}

func isPrintable(s string) bool {
	return len(s) <= maxName && s == printable(s)
}

// isFieldName reports whether s could name a field in Go, which also makes it
// safe to print.
func isFieldName(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return s != ""
}
