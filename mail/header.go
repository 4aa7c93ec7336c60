package mail

import (
	"bytes"
	"strings"
	"sync"
)

// A Field is one header field as it was received.
type Field struct {
	Name      string // as received, without the blanks before the colon; "" when the line is no field
	Raw       []byte // all of it with folds and final line ending; shares memory with the header
	colon     int
	name      int  // length of Name
	Malformed bool // no colon, an illegal or empty name, or a continuation of nothing
	Obsolete  bool // blanks before the colon (RFC 5322 4.5)
}

// Is reports whether f has the given name, in any case. A malformed field has none.
func (f *Field) Is(name string) bool { return !f.Malformed && strings.EqualFold(f.Name, name) }

// Body gives the bytes behind the colon, folds and line ending included.
func (f *Field) Body() []byte {
	if f.Malformed {
		return nil
	}
	return f.Raw[f.colon+1:]
}

// Value gives the unfolded value without surrounding blanks (RFC 5322 2.2.3).
func (f *Field) Value() string { return Unfold(f.Body()) }

// TrimBlanks removes blanks and line endings around s.
func TrimBlanks[S ~string | ~[]byte](s S) S {
	from, to := 0, len(s)
	for from < to && isBlank(s[from]) {
		from++
	}
	for to > from && isBlank(s[to-1]) {
		to--
	}
	return s[from:to]
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// Unfold removes line endings and trims blanks around.
func Unfold(b []byte) string {
	b = TrimBlanks(b)
	if bytes.IndexByte(b, '\n') < 0 && bytes.IndexByte(b, '\r') < 0 {
		return string(b)
	}
	var s strings.Builder
	s.Grow(len(b))
	for _, c := range b {
		if c != '\r' && c != '\n' {
			s.WriteByte(c)
		}
	}
	return s.String()
}

// A Header is the header section of a message: its fields in the order received.
// It never changes once parsed.
type Header struct {
	Raw    []byte // everything up to and including the empty line, when there is one
	Text   string // the same; names of fields share its memory
	Fields []Field
	Ended  bool // the empty line was there
	Over   bool // a limit was reached; what follows was not read

	authorsOnce sync.Once
	authors     Authors
}

// HeaderLimits bound what ParseHeader reads; zero means no limit.
type HeaderLimits struct {
	Bytes  int // of the whole section
	Fields int
	Field  int // bytes of one field
}

// DefaultHeaderLimits are those of the gateway.
func DefaultHeaderLimits() HeaderLimits {
	return HeaderLimits{Bytes: 256 << 10, Fields: 1000, Field: 64 << 10}
}

// HeaderEnd returns the length of the header section at the start of b with its
// empty line, or -1 when the empty line has not come yet. from is where to go on
// looking, so that repeated calls on a growing b stay linear.
func HeaderEnd(b []byte, from int) int {
	if len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		return 2
	}
	if len(b) >= 1 && b[0] == '\n' {
		return 1
	}
	if from > 3 {
		from -= 3
	} else {
		from = 0
	}
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return -1
		}
		from += i + 1
		if from < len(b) && b[from] == '\n' {
			return from + 1
		}
		if from+1 < len(b) && b[from] == '\r' && b[from+1] == '\n' {
			return from + 2
		}
	}
}

// ParseHeader splits a header section into fields. It never fails: a line that is
// no field becomes a Field that is Malformed. Lines end in LF or CRLF; a line that
// begins with a blank continues the one before it, even when it is blank itself.
func ParseHeader(b []byte, lim HeaderLimits) *Header {
	h := &Header{}
	h.Fields = make([]Field, 0, bytes.Count(b[:min(len(b), 8192)], []byte{'\n'}))
	pos := 0
	for pos < len(b) {
		if b[pos] == '\n' || b[pos] == '\r' && pos+1 < len(b) && b[pos+1] == '\n' {
			pos += 1 + bytes.IndexByte(b[pos:], '\n')
			h.Ended = true
			break
		}
		end := fieldEnd(b, pos)
		if lim.Bytes > 0 && end > lim.Bytes || lim.Fields > 0 && len(h.Fields) == lim.Fields || lim.Field > 0 && end-pos > lim.Field {
			h.Over = true
			break
		}
		h.Fields = append(h.Fields, parseField(b[pos:end:end]))
		pos = end
	}
	h.Raw = b[:pos:pos]
	h.Text = string(h.Raw)
	pos = 0
	for i := range h.Fields {
		f := &h.Fields[i]
		f.Name = h.Text[pos : pos+f.name]
		pos += len(f.Raw)
	}
	return h
}

// fieldEnd finds the end of the field that starts at pos.
func fieldEnd(b []byte, pos int) int {
	for {
		i := bytes.IndexByte(b[pos:], '\n')
		if i < 0 {
			return len(b)
		}
		pos += i + 1
		if pos == len(b) || b[pos] != ' ' && b[pos] != '\t' {
			return pos
		}
	}
}

func parseField(raw []byte) Field {
	f := Field{Raw: raw, colon: bytes.IndexByte(raw, ':')}
	if f.colon < 0 {
		f.Malformed = true
		return f
	}
	name := raw[:f.colon]
	for len(name) > 0 && isBlank(name[len(name)-1]) {
		name, f.Obsolete = name[:len(name)-1], true
	}
	if f.name = len(name); f.name == 0 {
		f.Malformed = true
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f { // RFC 5322 2.2: printable US-ASCII but the colon
			f.Malformed = true
		}
	}
	return f
}

// Get returns the first field of the name, or nil.
func (h *Header) Get(name string) *Field {
	for i := range h.Fields {
		if h.Fields[i].Is(name) {
			return &h.Fields[i]
		}
	}
	return nil
}

// Count returns how many fields have the name.
func (h *Header) Count(name string) int {
	n := 0
	for i := range h.Fields {
		if h.Fields[i].Is(name) {
			n++
		}
	}
	return n
}

// CommentEnd gives the place behind the comment (RFC 5322 3.2.2) that opens at v[i]; -1 when it
// never closes.
func CommentEnd(v string, i int) int {
	depth := 0
	for ; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}
