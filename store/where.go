package store

import (
	"strings"
	"time"
	"unicode/utf8"
)

// A Where builds the condition of a query over rows that have an address, a text and a time.
// Values become parameters, never text of the statement; what is empty adds nothing.
type Where struct {
	terms []string
	Args  []any // for the question marks of String
}

// Add adds a condition with its values.
func (w *Where) Add(term string, args ...any) {
	w.terms = append(w.terms, term)
	w.Args = append(w.Args, args...)
}

// Equal adds a condition with one question mark, for a value that is given.
func (w *Where) Equal(term, value string) {
	if value != "" {
		w.Add(term, value)
	}
}

// Subject looks for a part of the first line of the column words, which is kept in lower case
// (SQLite's own lower knows ASCII only); Text for each word anywhere in it.
func (w *Where) Subject(part string) {
	w.Equal("instr(substr(words, 1, instr(words, char(10))), ?) > 0", strings.ToLower(part))
}

// Text: see Subject.
func (w *Where) Text(text string) {
	for _, word := range strings.Fields(strings.ToLower(text)) {
		w.Add("instr(words, ?) > 0", word)
	}
}

// Address looks for an address, @domain or a part of an address in the columns whole and
// domain; <> is the null sender. In begins a condition on another table, such as
// "id IN (SELECT item FROM copies WHERE "; it may be empty.
func (w *Where) Address(s, whole, domain, in string) {
	s = strings.ToLower(s)
	end := ""
	if in != "" {
		end = ")"
	}
	switch {
	case s == "":
	case s == "<>":
		w.Add(in + whole + " = ''" + end)
	case s[0] == '@':
		w.Add(in+domain+" = ?"+end, s[1:])
	case strings.Contains(s, "@"):
		w.Add(in+whole+" = ?"+end, s)
	default:
		w.Add(in+"instr("+whole+", ?) > 0"+end, s)
	}
}

// Between asks for since <= column < until, in microseconds; a zero time is no bound.
func (w *Where) Between(column string, since, until time.Time) {
	if !since.IsZero() {
		w.Add(column+" >= ?", since.UnixMicro())
	}
	if !until.IsZero() {
		w.Add(column+" < ?", until.UnixMicro())
	}
}

// Clean bounds text to max bytes and makes it valid UTF-8 without NUL, fit for a column.
func Clean(s string, max int) string {
	if len(s) > max {
		s = s[:max]
		for i := 0; i < utf8.UTFMax && len(s) > 0 && !utf8.ValidString(s[len(s)-min(len(s), utf8.UTFMax):]); i++ {
			s = s[:len(s)-1]
		}
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// String is the condition.
func (w *Where) String() string { return strings.Join(append(w.terms, "TRUE"), " AND ") }

// Page is how many rows one page has when limit are asked for: 50 when none, at most 500.
func Page(limit int) int {
	if limit <= 0 {
		limit = 50
	}
	return min(limit, 500)
}
