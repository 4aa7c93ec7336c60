package mail

import (
	"bufio"
	"bytes"
	"io"
	netmail "net/mail"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	gomail "github.com/emersion/go-message/textproto"
)

// unfolded is a value as any reader may show it: runs of blanks and line ends are one blank.
func unfolded(v string) string {
	return strings.Join(strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(" \t\r\n", r) }), " ")
}

// otherReaders gives what two readers of other people make of a header: their fields by name in
// lower case, and what they leave for the body; nothing from one that refuses.
func otherReaders(in []byte) (who []string, fields []map[string][]string, bodies [][]byte) {
	r := bufio.NewReader(bytes.NewReader(in))
	if h, err := gomail.ReadHeader(r); err == nil {
		m := map[string][]string{}
		for f := h.Fields(); f.Next(); {
			name := strings.ToLower(f.Key())
			m[name] = append(m[name], unfolded(f.Value()))
		}
		body, _ := io.ReadAll(r)
		who, fields, bodies = append(who, "go-message"), append(fields, m), append(bodies, body)
	}
	if msg, err := netmail.ReadMessage(bytes.NewReader(in)); err == nil {
		m := map[string][]string{}
		for name, values := range textproto.MIMEHeader(msg.Header) {
			name = strings.ToLower(strings.TrimRight(name, " \t")) // of the obsolete syntax
			for _, v := range values {
				m[name] = append(m[name], unfolded(v))
			}
		}
		body, _ := io.ReadAll(msg.Body)
		who, fields, bodies = append(who, "net/mail"), append(fields, m), append(bodies, body)
	}
	return who, fields, bodies
}

// A header that we find nothing wrong with reads the same to others: no field, value or beginning
// of the body that they see and we do not (P-04, A-04, C-02).
func FuzzHeaderReaders(f *testing.F) {
	for _, s := range []string{
		"From: a@example.org\r\nSubject: x\r\n y\r\n\r\nbody\r\n", "A: b\r\n \r\nFrom: c\r\n\r\nx", "A:\r\nA: \t\r\n\r\n\r\n",
		" From: a\r\nB: c\r\n\r\n", "From : a\r\n\r\n", "From a\r\nFrom: b\r\n\r\n", "A: b\nC: d\n\ne", "A: b\r\r\n\r\n", "A: b\r\nC\r\n\r\n", "A: \xff\x00\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h := ParseHeader(in, HeaderLimits{})
		if !h.Ended || bytes.IndexByte(in, 0) >= 0 {
			return
		}
		if rest := bytes.ReplaceAll(h.Raw, []byte("\r\n"), nil); bytes.ContainsAny(rest, "\r\n") {
			return // never gets this far: S-05
		}
		ours := map[string][]string{}
		for i := range h.Fields {
			fd := &h.Fields[i]
			if fd.Malformed {
				return // told, and never a pass
			}
			name := strings.ToLower(fd.Name)
			ours[name] = append(ours[name], unfolded(string(fd.Body())))
		}
		who, fields, bodies := otherReaders(in)
		for i, theirs := range fields {
			if !bytes.Equal(bodies[i], in[len(h.Raw):]) {
				t.Errorf("%q: the body begins elsewhere to %s: %q", in, who[i], bodies[i])
			}
			for name, values := range theirs {
				if got := ours[name]; !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(values))) {
					t.Errorf("%q: %s reads %s as %q, we as %q", in, who[i], name, values, got)
				}
			}
			if len(theirs) != len(ours) {
				t.Errorf("%q: %s sees %q, we %q", in, who[i], theirs, ours)
			}
		}
	})
}
