package gateway

import (
	"bytes"
	"mime"
	"strings"
	"unicode"

	"postern/mail"
)

// A forged Authentication-Results field is one that a reader behind us could take for ours. Who
// writes one chooses the spelling, so whatever any reader might read as our name counts, and
// what cannot be read at all counts when our name is in it.

// removes reports whether a field that came with the message is taken off: results in
// our name, in nobody's (or all of them), and fields of our own.
func (c *Config) removes(f *mail.Field) bool {
	name := bareName(f)
	if len(name) >= 10 && strings.EqualFold(name[:10], "X-Postern-") {
		return true
	}
	return strings.EqualFold(name, "Authentication-Results") && (c.StripAuthResults || ownResults(rawValue(f), c.Hostname) || nobodysResults(rawValue(f)))
}

// nobodysResults reports whether results are in no server's name, against RFC 8601 2.2: a reader who
// trusts the server before it takes them for ours.
func nobodysResults(value string) bool {
	words, _ := servID(value)
	return len(words) == 0 || strings.Contains(words[0], "=") && !strings.HasPrefix(words[0], "=?") ||
		len(words) > 1 && strings.HasPrefix(words[1], "=")
}

// bareName is the name of a field without blanks, folds, controls and 8-bit bytes, which some
// reader may skip.
func bareName(f *mail.Field) string {
	name := f.Name
	for i := 0; i < len(name); i++ {
		if name[i] <= ' ' || name[i] >= 0x7f {
			return strings.Map(func(r rune) rune {
				if r <= ' ' || r >= 0x7f {
					return -1
				}
				return r
			}, name)
		}
	}
	return name
}

// rawValue is the unfolded value also of a field whose name is none.
func rawValue(f *mail.Field) string {
	_, value, _ := bytes.Cut(f.Raw, []byte{':'})
	return mail.Unfold(value)
}

// ownResults reports whether the unfolded value of an Authentication-Results field has our
// authserv-id.
func ownResults(value, host string) bool {
	if namesUs(value, host) {
		return true
	}
	if !strings.Contains(value, "=?") {
		return false
	}
	var d mime.WordDecoder
	plain, err := d.DecodeHeader(value)
	return err != nil || namesUs(plain, host)
}

// namesUs reads the authserv-id as RFC 8601 2.2 has it, and more leniently: our name may stand
// anywhere before the first semicolon, in brackets or with a number behind it.
func namesUs(value, host string) bool {
	words, ok := servID(value)
	if sameHost(strings.Join(words, ""), host) {
		return true
	}
	for _, w := range words {
		for name := range strings.FieldsFuncSeq(w, noHostRune) {
			if sameHost(strings.Trim(name, "."), host) {
				return true
			}
		}
	}
	if ok && len(words) > 0 {
		return false
	}
	return strings.Contains(strings.ToLower(value), strings.ToLower(host))
}

// noHostRune reports what is no part of a host name, U-labels and their dots included.
func noHostRune(r rune) bool {
	return !strings.ContainsRune("-._\u3002\uff0e\uff61", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

func sameHost(s, host string) bool {
	s = strings.TrimSuffix(s, ".")
	if strings.EqualFold(s, host) {
		return true
	}
	a, err := mail.ParseDomain(s)
	if err != nil {
		return false
	}
	b, err := mail.ParseDomain(host)
	return err == nil && a == b
}

// servID gives the words before the first semicolon, without comments. ok is false when a comment
// or a quote does not end, or a word is neither token nor quoted.
func servID(v string) (words []string, ok bool) {
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	ok = true
scan:
	for i := 0; i < len(v); {
		switch c := v[i]; {
		case c == ';':
			break scan
		case c == '(':
			if i = mail.CommentEnd(v, i); i < 0 {
				ok = false
				break scan
			}
			flush()
		case c == '"':
			end := i + 1
			for end < len(v) && v[end] != '"' {
				if v[end] == '\\' && end+1 < len(v) {
					end++
				}
				word.WriteByte(v[end])
				end++
			}
			if end >= len(v) {
				ok = false
				break scan
			}
			i = end + 1
		case c <= ' ' || c == 0x7f:
			flush()
			i++
		default:
			ok = ok && c != '\\' && c != ')'
			word.WriteByte(c)
			i++
		}
	}
	flush()
	return words, ok
}
