package preview

import (
	"strings"
	"unicode/utf8"

	"postern/filters"
	"postern/mail"
)

// Limits of the header view.
const (
	maxFields     = 500
	maxFieldBytes = 16 << 10
	maxAllFields  = 512 << 10
)

// A Field is one field of the header.
type Field struct {
	Name    string `json:"name"` // as received; "" for a line that is no field
	Raw     string `json:"raw"`  // unfolded, otherwise as received
	Decoded string `json:"decoded,omitempty"`
	Defect  string `json:"defect,omitempty"` // what is wrong with its form
	Cut     bool   `json:"cut,omitempty"`    // there is more
}

// readFields gives the fields in the order received. Decoded is set when it differs from Raw.
func readFields(h *mail.Header) (out []Field, cut bool) {
	room := maxAllFields
	for i := range h.Fields {
		if len(out) >= maxFields || room <= 0 {
			return out, true
		}
		f := &h.Fields[i]
		v := f.Value()
		if f.Malformed {
			v = mail.Unfold(f.Raw)
		}
		x := Field{Defect: fieldDefect(f, v)}
		if !f.Malformed {
			x.Name = VisibleName(f.Name)
		}
		if len(v) > maxFieldBytes {
			v, x.Cut = v[:maxFieldBytes], true
		}
		x.Raw = VisibleName(filters.DecodeText("", v))
		if d := VisibleName(filters.DecodeWords(v)); d != x.Raw {
			x.Decoded = d
		}
		room -= len(x.Name) + len(x.Raw) + len(x.Decoded) + 32
		out = append(out, x)
	}
	return out, h.Over
}

func fieldDefect(f *mail.Field, v string) string {
	switch {
	case f.Malformed:
		return "this line is no header field"
	case f.Obsolete:
		return "blanks before the colon"
	case strings.IndexByte(v, 0) >= 0:
		return "it has NUL bytes"
	case !utf8.ValidString(v):
		return "it has bytes that are no UTF-8"
	case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' }):
		return "it has control characters"
	}
	return ""
}
