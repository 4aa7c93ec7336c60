package rules

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// An Error is one mistake in a rule file, with the place where it stands.
type Error struct {
	File    string
	Line    int // from 1
	Column  int // from 1, in characters
	Msg     string
	Hint    string // what may have been meant; "" when nobody knows
	Snippet string // the line, and below it a caret under the place
}

// Error gives "file:line:column: message", the line and the hint.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "%s:%d:%d: ", e.File, e.Line, e.Column)
	} else if e.File != "" {
		fmt.Fprintf(&b, "%s: ", e.File)
	}
	b.WriteString(e.Msg)
	if e.Snippet != "" {
		b.WriteString("\n")
		b.WriteString(e.Snippet)
	}
	if e.Hint != "" {
		if e.Snippet == "" {
			b.WriteString(";")
		}
		b.WriteString(" ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Errors are all mistakes of all files, in the order of files and lines.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find the single errors.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i := range e {
		out[i] = e[i]
	}
	return out
}

// snippetWidth is how many characters of a line are shown.
const snippetWidth = 100

// snippet shows a line with a caret under column, both from 1. A long line is cut around it.
func snippet(line []rune, number, column int) string {
	from := 0
	if column > snippetWidth-20 {
		from = min(column-snippetWidth/2, len(line))
	}
	shown := line[from:min(len(line), from+snippetWidth)]
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, string(shown))
	return fmt.Sprintf("%5d | %s\n      | %s^", number, text, strings.Repeat(" ", max(column-1-from, 0)))
}

// didYouMean proposes the candidate nearest to word, or nothing.
func didYouMean(word string, candidates []string) string {
	best, at := "", len([]rune(word))/3+2
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c), at); d < at {
			best, at = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %s?", best)
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that
// turn a into b; it gives up at limit.
func distance(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) >= limit || len(y)-len(x) >= limit || len(x) > 64 {
		return limit
	}
	older, old, now := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range old {
		old[j] = j
	}
	for i := 1; i <= len(x); i++ {
		now[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			now[j] = min(now[j-1]+1, old[j]+1, old[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				now[j] = min(now[j], older[j-2]+1)
			}
		}
		older, old, now = old, now, older
	}
	return old[len(y)]
}
