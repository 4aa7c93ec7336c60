package digest

import (
	"strings"
	"unicode"
)

// plain makes one harmless line of what a stranger wrote, of at most max characters: nothing in
// it draws over other text or turns its direction, and no mail program makes a link of it. Dots
// and colons that such a program would look for stand in brackets, as "example[.]org".
func plain(s string, max int) string {
	r := bare(s)
	if len(r) > max {
		r = append(r[:max-1], '…')
	}
	var b strings.Builder
	for i, c := range r {
		switch {
		case isDot(c) && joins(r, i) && !isNumber(r, i):
			b.WriteString("[.]")
		case isColon(c) && i > 0 && r[i-1] != ' ' && i+1 < len(r) && r[i+1] != ' ' && !isTime(r, i):
			b.WriteString("[:]")
		case c == '/' && i > 0 && r[i-1] == '/', c == '\\' && i > 0 && r[i-1] == '\\':
			b.WriteString(" " + string(c)) // a path that names a machine
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// marks is how many marks one letter may carry.
const marks = 3

// bare is text without line ends, controls, invisible characters and towers of marks.
func bare(s string) []rune {
	var out []rune
	stacked := 0
	for _, c := range strings.ToValidUTF8(s, "\uFFFD") {
		if unicode.In(c, unicode.Mn, unicode.Me) {
			stacked++
		} else {
			stacked = 0
		}
		switch {
		case stacked > marks:
		case unicode.IsSpace(c) || unicode.IsControl(c) || unicode.In(c, unicode.Zl, unicode.Zp, unicode.Zs):
			if len(out) > 0 && out[len(out)-1] != ' ' {
				out = append(out, ' ')
			}
		case unicode.In(c, unicode.Cf, unicode.Co, unicode.Cs), c == '\u115f', c == '\u1160', c == '\u3164', c == '\uffa0', c == '\u2800': // the last look like nothing
		default:
			out = append(out, c)
		}
	}
	if n := len(out); n > 0 && out[n-1] == ' ' {
		out = out[:n-1]
	}
	return out
}

func isDot(c rune) bool { return strings.ContainsRune(".\u3002\uff0e\uff61\u2024\ufe52", c) }

func isColon(c rune) bool { return strings.ContainsRune(":\uff1a\ufe55", c) }

func isWord(c rune) bool { return unicode.In(c, unicode.L, unicode.N, unicode.M) }

// joins reports whether the character at i stands between two words, so that they may be read as
// the name of a machine.
func joins(r []rune, i int) bool {
	return i > 0 && i+1 < len(r) && r[i-1] != ' ' && isWord(r[i+1])
}

// isNumber reports whether the dot at i is the one in a number such as 1.50.
func isNumber(r []rune, i int) bool {
	from, to := i, i+1
	part := func(c rune) bool { return c >= '0' && c <= '9' || isDot(c) }
	for from > 0 && part(r[from-1]) {
		from--
	}
	for to < len(r) && part(r[to]) {
		to++
	}
	dots := 0
	for _, c := range r[from:to] {
		if isDot(c) {
			dots++
		}
	}
	return dots == 1 && i > from && i+1 < to && (to == len(r) || !isWord(r[to])) && (from == 0 || !isWord(r[from-1]))
}

// isTime reports whether the colon at i is the one in a time such as 12:30.
func isTime(r []rune, i int) bool {
	from := i
	for from > 0 && isWord(r[from-1]) {
		if from--; r[from] < '0' || r[from] > '9' {
			return false
		}
	}
	return from < i && r[i+1] >= '0' && r[i+1] <= '9' && (from == 0 || r[from-1] == ' ')
}
