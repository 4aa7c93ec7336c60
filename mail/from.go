package mail

import "bytes"

// An Author is one mailbox of a From field. Name is the display name as it stands there
// (encoded words are not decoded), else what readers show for one: the comment beside a single
// mailbox, the name of its group; Address the addr-spec in its canonical form, Domain its
// domain as ParseDomain gives it; "" when it is none.
type Author struct {
	Name    string `json:"name,omitempty"`
	Address string `json:"address"`
	Domain  string `json:"domain"`
}

// Authors are all that any reader may take for the authors of a message.
type Authors struct {
	Fields int      // how many header fields may be taken for From
	List   []Author // every plausible mailbox in them
	OK     bool     // one clean From field that everybody reads alike
}

// One gives the only author, when there is exactly one and nobody can see another: the
// one case in which a From field can be authenticated (RFC 9989 5.3.1).
func (a Authors) One() (Author, bool) {
	if !a.OK || len(a.List) != 1 || a.List[0].Domain == "" {
		return Author{}, false
	}
	return a.List[0], true
}

// Limits of a From field; beyond them it is not OK.
const (
	maxFromBytes = 8 << 10
	maxAuthors   = 64
)

// Authors reads all From fields, once for all who ask: the list must not be changed.
func (h *Header) Authors() Authors {
	h.authorsOnce.Do(func() { h.authors = h.readAuthors() })
	return h.authors
}

func (h *Header) readAuthors() Authors {
	fields := h.FromFields()
	a := Authors{Fields: len(fields)}
	for _, f := range fields {
		list, ok := ParseAuthors(string(f.Raw[f.colon+1:]))
		a.OK = ok && len(fields) == 1 && f.Is("From") && !f.Obsolete && !h.Over
		for _, one := range list {
			if len(a.List) < maxAuthors {
				a.List = append(a.List, one)
			}
		}
	}
	return a
}

// FromFields returns every field that any reader may take for From: in any case, with
// blanks, control or 8-bit bytes in or around the name, and behind a bare CR inside another
// field.
func (h *Header) FromFields() []*Field {
	var out []*Field
	for i := range h.Fields {
		f := &h.Fields[i]
		if looksFrom(f) {
			out = append(out, f)
		}
		for rest := f.Raw; ; {
			cr := bytes.IndexByte(rest, '\r')
			if cr < 0 {
				break
			}
			rest = rest[cr+1:]
			if len(rest) == 0 || rest[0] == '\n' {
				continue
			}
			if hidden := parseField(rest); looksFrom(&hidden) {
				hidden.Name, hidden.Malformed = string(rest[:hidden.name]), true
				out = append(out, &hidden)
			}
		}
	}
	return out
}

// looksFrom compares the letters of the name alone.
func looksFrom(f *Field) bool {
	if f.colon < 4 || f.colon > 256 {
		return false
	}
	n := 0
	for _, c := range f.Raw[:f.colon] {
		if c <= ' ' || c >= 0x7f {
			continue
		}
		if n == 4 || c|0x20 != "from"[n] {
			return false
		}
		n++
	}
	return n == 4
}
