package preview

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/filters"
)

// VisibleName makes visible what hides in a name, a subject or an address: controls, line ends,
// characters without width, and those that turn the order of the letters around stand as
// ⟦U+202E⟧. The result is one line.
func VisibleName(s string) string {
	out, _ := visible(s, func(r rune) bool {
		return unicode.IsControl(r) || filters.IsDirection(r) || unhonest(r) || r == '\u2028' || r == '\u2029'
	})
	return out
}

// VisibleText does the same for a text of many lines. Line ends and tabs stay, and so do the
// characters without width that some scripts need. marked tells whether there was anything.
func VisibleText(s string) (out string, marked bool) {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return visible(s, func(r rune) bool {
		return r != '\n' && r != '\t' && (unicode.IsControl(r) || unhonest(r))
	})
}

// unhonest reports characters that turn text around over what stands beside them (UAX 9 2.1 to
// 2.4), tags, and variation selectors beyond those of emoji, which can carry hidden text.
func unhonest(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r >= 0xfff9 && r <= 0xfffb || r >= 0xe0000 && r <= 0xe0fff
}

func visible(s string, hidden func(rune) bool) (string, bool) {
	i := strings.IndexFunc(s, hidden)
	if i < 0 && utf8.ValidString(s) {
		return s, false
	}
	s = strings.ToValidUTF8(s, "\ufffd")
	var b strings.Builder
	marked := false
	for _, r := range s {
		if hidden(r) {
			marked = true
			fmt.Fprintf(&b, "⟦U+%04X⟧", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String(), marked
}
