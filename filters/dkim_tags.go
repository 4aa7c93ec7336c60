package filters

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"unicode/utf8"

	"postern/mail"
)

// A dkimFault is why a signature cannot pass. The zero fault means nothing is wrong.
type dkimFault struct{ result, reason string }

func (f dkimFault) found() bool { return f.result != "" }

func permerror(reason string) dkimFault { return dkimFault{dkimPermerror, reason} }

// A dkimTag is one tag of a tag-list (RFC 6376 3.2). value is trimmed; from and to are where
// all between "=" and ";" stands in the list.
type dkimTag struct {
	name, value []byte
	from, to    int
}

// maxDKIMTags bounds a tag-list; the RFCs know fifteen tags.
const maxDKIMTags = 64

// parseTags appends the tags of list to tags. It is strict: an unknown tag is no error, but
// one that occurs twice, an empty one and a control character anywhere are.
func parseTags(list []byte, tags []dkimTag) ([]dkimTag, dkimFault) {
	for pos, more := 0, true; more; {
		end := len(list)
		if i := bytes.IndexByte(list[pos:], ';'); i >= 0 {
			end = pos + i
		} else {
			more = false
		}
		spec := list[pos:end]
		if !more && len(mail.TrimBlanks(spec)) == 0 {
			break // behind the last ";"
		}
		eq := bytes.IndexByte(spec, '=')
		if eq < 0 {
			return tags, permerror("syntax error in the tag list")
		}
		t := dkimTag{name: mail.TrimBlanks(spec[:eq]), value: mail.TrimBlanks(spec[eq+1:]), from: pos + eq + 1, to: end}
		if !isTagName(t.name) || !isTagValue(t.value) {
			return tags, permerror("syntax error in the tag list")
		}
		if findTag(tags, string(t.name)) != nil {
			return tags, permerror("a tag occurs twice")
		}
		if len(tags) == maxDKIMTags {
			return tags, permerror("too many tags")
		}
		tags = append(tags, t)
		pos = end + 1
	}
	return tags, dkimFault{}
}

func isTagName(b []byte) bool {
	for i, c := range b {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return len(b) > 0
}

// isTagValue admits what RFC 6376 3.2 and, for 8-bit bytes, RFC 8616 admit.
func isTagValue(b []byte) bool {
	for i, c := range b {
		switch {
		case c == '\r':
			if i+1 == len(b) || b[i+1] != '\n' {
				return false
			}
		case c < ' ' && c != '\t' && c != '\n', c == 0x7f:
			return false
		}
	}
	return true
}

func findTag(tags []dkimTag, name string) *dkimTag {
	for i := range tags {
		if string(tags[i].name) == name {
			return &tags[i]
		}
	}
	return nil
}

// tagValue gives the value of a tag, or the default when it is absent.
func tagValue(tags []dkimTag, name, absent string) string {
	if t := findTag(tags, name); t != nil {
		return string(t.value)
	}
	return absent
}

// tagLists reports whether the colon-separated list has the item.
func tagLists(list []byte, item string) bool {
	for more := true; more; {
		var one []byte
		one, list, more = bytes.Cut(list, []byte{':'})
		if string(mail.TrimBlanks(one)) == item {
			return true
		}
	}
	return false
}

// stripBlanks returns b without its white space.
func stripBlanks(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			out = append(out, c)
		}
	}
	return out
}

// decodeTag64 decodes a base64string (RFC 6376 2.10), whose padding is optional; text has no
// white space any more and is overwritten.
func decodeTag64(text []byte) ([]byte, bool) {
	for range 2 {
		text = bytes.TrimSuffix(text, []byte{'='})
	}
	n, err := base64.RawStdEncoding.Decode(text, text)
	return text[:n], err == nil && n > 0
}

// stripFolds returns b without line endings.
func stripFolds(b []byte) []byte {
	if bytes.IndexByte(b, '\n') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if c != '\r' && c != '\n' {
			out = append(out, c)
		}
	}
	return out
}

// unquotePrintable undoes dkim-quoted-printable (RFC 6376 2.11). An "=" that is no escape
// stays: it is only shown.
func unquotePrintable(b []byte) []byte {
	if bytes.IndexByte(b, '=') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '=' && i+2 < len(b) {
			if c, err := hex.DecodeString(string(b[i+1 : i+3])); err == nil {
				out = append(out, c[0])
				i += 2
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

// tagDomain gives a domain in canonical form; an address literal is none.
func tagDomain(text string) (string, bool) {
	d, err := mail.ParseDomain(text)
	return d, err == nil && d[0] != '[' && utf8.ValidString(text)
}

// tagNumber reads 1 to digits decimal digits; what is beyond 10^18 counts as that.
func tagNumber(b []byte, digits int) (int, bool) {
	if len(b) == 0 || len(b) > digits {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int(c-'0'); n > 1e17 {
			n = 1e17
		}
	}
	return n, true
}
