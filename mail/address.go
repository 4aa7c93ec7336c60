package mail

import (
	"errors"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// An Address is a mailbox (RFC 5321 4.1.2) in one canonical form: Local is the
// local part with quoting removed, Domain the domain in lower case and A-labels
// (or an address literal in brackets). The zero Address is the null sender.
type Address struct {
	Local  string `json:"local"`
	Domain string `json:"domain"`
}

// Errors of ParseAddress. They say nothing that a client may not read.
var (
	ErrSyntax   = errors.New("bad address syntax")
	ErrNonASCII = errors.New("address needs SMTPUTF8")
)

const atext = "!#$%&'*+-/=?^_`{|}~"

func isAtext(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(atext, c) >= 0
}

// maxText bounds what is looked at: a mailbox of 254 bytes, each byte of its local
// part escaped, with room for U-labels.
const maxText = 1024

// ParseAddress parses a Mailbox as RFC 5321 4.1.2 and RFC 6531 3.3 define it,
// without the angle brackets. Source routes, an empty local part, an empty or
// missing domain and anything else that two readers might read in two ways are
// refused. allowUTF8 admits UTF-8 in the local part and U-labels in the domain.
func ParseAddress(s string, allowUTF8 bool) (Address, error) {
	if len(s) > maxText {
		return Address{}, ErrSyntax
	}
	if !isASCII(s) {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, ambiguous) {
			return Address{}, ErrSyntax
		}
		if !allowUTF8 {
			return Address{}, ErrNonASCII
		}
	}
	local, rest, err := parseLocal(s)
	if err != nil {
		return Address{}, err
	}
	if len(rest) < 2 || rest[0] != '@' {
		return Address{}, ErrSyntax
	}
	domain, err := ParseDomain(rest[1:])
	if err != nil {
		return Address{}, err
	}
	if len(local) > 64 {
		return Address{}, ErrSyntax
	}
	a := Address{Local: local, Domain: domain}
	if len(a.String()) > 254 { // RFC 5321 4.5.3.1.3 less the angle brackets
		return Address{}, ErrSyntax
	}
	return a, nil
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// ambiguous reports whether r is a control or separator beyond ASCII, or would be an
// '@', '%' or '!' to a server that normalizes (NFKC) what it routes by.
func ambiguous(r rune) bool {
	return r >= 0x80 && (unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune("\u2028\u2029\ufeff\uff20\ufe6b\uff05\ufe6a\uff01\ufe57\ufe15\u203c\u2048\u2049\ufffd", r))
}

// parseLocal reads a Local-part at the start of s, and stops behind it.
func parseLocal(s string) (local, rest string, err error) {
	if s == "" {
		return "", "", ErrSyntax
	}
	if s[0] != '"' { // Dot-string
		i := 0
		for i < len(s) && s[i] != '@' {
			if c := s[i]; c != '.' && c < 0x80 && !isAtext(c) {
				return "", "", ErrSyntax
			}
			i++
		}
		local = s[:i]
		if local == "" || local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
			return "", "", ErrSyntax
		}
		return local, s[i:], nil
	}
	var b strings.Builder // Quoted-string
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			if b.Len() == 0 {
				return "", "", ErrSyntax
			}
			return b.String(), s[i+1:], nil
		case c == '\\':
			i++
			if i == len(s) || s[i] < ' ' || s[i] > '~' {
				return "", "", ErrSyntax
			}
			b.WriteByte(s[i])
		case c < ' ' || c == 0x7f:
			return "", "", ErrSyntax
		default:
			b.WriteByte(c)
		}
	}
	return "", "", ErrSyntax
}

var domainProfile = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.Transitional(false),
	idna.StrictDomainName(true),
)

// ParseDomain gives the canonical form of a domain: lower case, A-labels, no
// final dot. An address literal ("[192.0.2.1]", "[IPv6:2001:db8::1]") is kept in
// its brackets, with the address in its shortest form.
func ParseDomain(s string) (string, error) {
	if s == "" || len(s) > 255*2 {
		return "", ErrSyntax
	}
	if s[0] == '[' {
		return parseLiteral(s)
	}
	d := s
	if !isASCII(s) {
		var err error
		if d, err = domainProfile.ToASCII(s); err != nil {
			return "", ErrSyntax
		}
	}
	d = strings.ToLower(d)
	// "192.0.2.1" is no domain (RFC 3696 2), and some would take it for an address.
	if !isHostname(d) || isNumber(d[strings.LastIndexByte(d, '.')+1:]) {
		return "", ErrSyntax
	}
	return d, nil
}

func isNumber(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// isHostname reports whether d is letters, digits and hyphens in labels of 1 to
// 63 bytes, 253 in all. Underscores pass: real sender domains have them.
func isHostname(d string) bool {
	if d == "" || len(d) > 253 {
		return false
	}
	label := 0 // where it begins
	for i := 0; i <= len(d); i++ {
		if i < len(d) && d[i] != '.' {
			if c := d[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
			continue
		}
		if i == label || i-label > 63 || d[label] == '-' || d[i-1] == '-' {
			return false
		}
		label = i + 1
	}
	return true
}

func parseLiteral(s string) (string, error) {
	if len(s) < 4 || s[len(s)-1] != ']' {
		return "", ErrSyntax
	}
	in := s[1 : len(s)-1]
	six := len(in) > 5 && strings.EqualFold(in[:5], "IPv6:")
	if six {
		in = in[5:]
	}
	a, err := netip.ParseAddr(in)
	if err != nil || a.Zone() != "" || a.Is4() == six {
		return "", ErrSyntax
	}
	if six {
		return "[IPv6:" + a.String() + "]", nil
	}
	return "[" + a.String() + "]", nil
}

// IsNull reports whether a is the null sender <>.
func (a Address) IsNull() bool { return a == Address{} }

// NeedsUTF8 reports whether a can only be sent with SMTPUTF8.
func (a Address) NeedsUTF8() bool {
	for i := 0; i < len(a.Local); i++ {
		if a.Local[i] >= 0x80 {
			return true
		}
	}
	return false
}

// String gives the mailbox so that any strict parser reads the same one: the
// local part is quoted where it has to be. The null sender is "".
func (a Address) String() string {
	if a.IsNull() {
		return ""
	}
	return QuoteLocal(a.Local) + "@" + a.Domain
}

// MarshalText gives the mailbox as String does.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Address) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*a = Address{}
		return nil
	}
	p, err := ParseAddress(string(b), true)
	if err != nil {
		return err
	}
	*a = p
	return nil
}

// QuoteLocal quotes a local part when it is no Dot-string (RFC 5321 4.1.2).
func QuoteLocal(local string) string {
	if l, rest, err := parseLocal(local); err == nil && rest == "" && l == local && local[0] != '"' {
		return local
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(local); i++ {
		if c := local[i]; c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(local[i])
	}
	b.WriteByte('"')
	return b.String()
}
