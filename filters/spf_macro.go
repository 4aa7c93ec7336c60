package filters

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A macroPart is a piece of a macro-string (RFC 7208 7.1): literal text, or a macro.
type macroPart struct {
	literal string // when letter is 0
	letter  byte   // in lower case
	escape  bool   // the letter was in upper case: URL escaping
	last    int    // how many of the right-most parts to keep; 0 keeps all
	reverse bool
	delims  string
}

var errMacro = errors.New("bad macro")

// parseMacros parses a macro-string; explain also allows blanks and the letters c, r and t,
// as in an explanation.
func parseMacros(s string, explain bool) ([]macroPart, error) {
	parts := []macroPart{}
	for s != "" {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			i = len(s)
		}
		for j := 0; j < i; j++ {
			if s[j] < '!' && !(explain && s[j] == ' ') || s[j] > '~' {
				return nil, errors.New("bad character")
			}
		}
		if i > 0 {
			parts = append(parts, macroPart{literal: s[:i]})
			s = s[i:]
			continue
		}
		if len(s) < 2 {
			return nil, errMacro
		}
		n := 2
		switch s[1] {
		case '%':
			parts = append(parts, macroPart{literal: "%", letter: 1})
		case '_':
			parts = append(parts, macroPart{literal: " ", letter: 1})
		case '-':
			parts = append(parts, macroPart{literal: "%20", letter: 1})
		case '{':
			end := strings.IndexByte(s, '}')
			if end < 0 {
				return nil, errMacro
			}
			p, err := parseMacro(s[2:end], explain)
			if err != nil {
				return nil, err
			}
			parts = append(parts, p)
			n = end + 1
		default:
			return nil, errMacro
		}
		s = s[n:]
	}
	return parts, nil
}

// parseMacro reads what stands in %{...}: macro-letter transformers *delimiter.
func parseMacro(s string, explain bool) (macroPart, error) {
	if s == "" {
		return macroPart{}, errMacro
	}
	p := macroPart{letter: s[0] | 0x20, escape: s[0] < 'a'}
	letters := "slodiphv"
	if explain {
		letters = "slodiphvcrt"
	}
	if strings.IndexByte(letters, p.letter) < 0 {
		return p, errMacro
	}
	s = s[1:]
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	if i > 0 {
		n, err := strconv.Atoi(s[:min(i, 9)])
		if err != nil || n == 0 { // RFC 7208 7.3: nonzero
			return p, errMacro
		}
		p.last, s = n, s[i:]
	}
	if s != "" && s[0]|0x20 == 'r' {
		p.reverse, s = true, s[1:]
	}
	if strings.Trim(s, ".-+,/_=") != "" {
		return p, errMacro
	}
	p.delims = s
	return p, nil
}

// parseDomainSpec parses a domain-spec: a macro-string that ends in a macro or in a dot and
// a top label, which is not all digits (RFC 7208 7.1).
func parseDomainSpec(s string) ([]macroPart, error) {
	parts, err := parseMacros(s, false)
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, errors.New("a domain is missing")
	}
	if end := parts[len(parts)-1]; end.letter == 0 {
		_, top, ok := cutLast(strings.TrimSuffix(end.literal, "."), ".")
		if !ok || !isTopLabel(top) {
			return nil, errors.New("bad domain")
		}
	}
	return parts, nil
}

func isTopLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	digits := true
	for i := 0; i < len(s); i++ {
		c := s[i]
		isDigit := c >= '0' && c <= '9'
		if !isDigit && c != '-' && !(c|0x20 >= 'a' && c|0x20 <= 'z') {
			return false
		}
		digits = digits && isDigit
	}
	return !digits
}

// expand resolves the macros for a check of domain.
func (e *spfEval) expand(ctx context.Context, parts []macroPart, domain string) string {
	if len(parts) == 1 && parts[0].letter == 0 {
		return parts[0].literal
	}
	var b strings.Builder
	for _, p := range parts {
		if p.letter <= 1 {
			b.WriteString(p.literal)
			continue
		}
		s := p.transform(e.macro(ctx, p.letter, domain))
		if p.escape {
			s = urlEscape(s)
		}
		b.WriteString(s)
	}
	return b.String()
}

// transform splits, reverses, truncates and joins (RFC 7208 7.3).
func (p macroPart) transform(s string) string {
	if p.last == 0 && !p.reverse && p.delims == "" {
		return s
	}
	delims := p.delims
	if delims == "" {
		delims = "."
	}
	var list []string
	for {
		i := strings.IndexAny(s, delims)
		if i < 0 {
			break
		}
		list = append(list, s[:i])
		s = s[i+1:]
	}
	list = append(list, s)
	if p.reverse {
		for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
			list[i], list[j] = list[j], list[i]
		}
	}
	if p.last > 0 && p.last < len(list) {
		list = list[len(list)-p.last:]
	}
	return strings.Join(list, ".")
}

// macro gives the value of a macro letter (RFC 7208 7.2).
func (e *spfEval) macro(ctx context.Context, letter byte, domain string) string {
	switch letter {
	case 's':
		e.personal = true
		return e.local + "@" + e.sender
	case 'l':
		e.personal = true
		return e.local
	case 'o':
		return e.sender
	case 'd':
		return domain
	case 'i':
		return dotted(e.ip)
	case 'p':
		return e.validated(ctx, domain)
	case 'v':
		if e.ip.Is4() {
			return "in-addr"
		}
		return "ip6"
	case 'h':
		return e.helo
	case 'c':
		return e.ip.String()
	case 'r':
		return e.receiver
	case 't':
		e.personal = true
		return strconv.FormatInt(time.Now().Unix(), 10)
	}
	return ""
}

// dotted gives the address with its parts separated by dots; IPv6 by nibbles.
func dotted(ip netip.Addr) string {
	if ip.Is4() {
		return ip.String()
	}
	const hex = "0123456789abcdef"
	b := make([]byte, 0, 64)
	for _, c := range ip.As16() {
		b = append(b, hex[c>>4], '.', hex[c&15], '.')
	}
	return string(b[:len(b)-1])
}

// urlEscape keeps the unreserved characters of RFC 3986 alone.
func urlEscape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}
