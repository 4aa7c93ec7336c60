package filters

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// An spfRecord is a parsed SPF record (RFC 7208 4.6.1).
type spfRecord struct {
	mechanisms []spfMechanism
	redirect   []macroPart // nil when there is none
	exp        []macroPart
}

// An spfMechanism is one directive.
type spfMechanism struct {
	text      string // as written, without the qualifier
	qualifier byte   // + - ~ ?
	name      string // all include a mx ptr ip4 ip6 exists
	domain    []macroPart
	network   netip.Prefix // of ip4 and ip6
	bits4     int          // of a and mx: how many bits of an address count
	bits6     int
}

const spfVersion = "v=spf1"

// isSPF reports whether a TXT record is an SPF record at all (RFC 7208 4.5): the version
// section ends in a space or at the end of the record.
func isSPF(txt string) bool {
	if len(txt) < len(spfVersion) || !strings.EqualFold(txt[:len(spfVersion)], spfVersion) {
		return false
	}
	return len(txt) == len(spfVersion) || txt[len(spfVersion)] == ' '
}

// parseSPF parses a record for which isSPF holds. Any error is a permerror, wherever it
// stands (RFC 7208 4.6).
func parseSPF(txt string) (*spfRecord, error) {
	for i := 0; i < len(txt); i++ {
		if txt[i] >= 0x80 { // RFC 7208 3.1
			return nil, errors.New("the record is not ASCII")
		}
	}
	r := &spfRecord{}
	for term := range strings.SplitSeq(txt[len(spfVersion):], " ") {
		if term == "" {
			continue
		}
		if err := r.term(term); err != nil {
			return nil, fmt.Errorf("%q: %w", clip(term, 80), err)
		}
	}
	return r, nil
}

func clip(s string, max int) string {
	if len(s) > max {
		return s[:max] + "..."
	}
	return s
}

// term reads a directive or a modifier.
func (r *spfRecord) term(term string) error {
	if name, value, ok := strings.Cut(term, "="); ok && isModifierName(name) {
		return r.modifier(strings.ToLower(name), value)
	}
	m := spfMechanism{qualifier: '+', text: term, bits4: 32, bits6: 128}
	if strings.IndexByte("+-~?", term[0]) >= 0 {
		m.qualifier, m.text = term[0], term[1:]
	}
	end := strings.IndexAny(m.text, ":/")
	if end < 0 {
		end = len(m.text)
	}
	m.name = strings.ToLower(m.text[:end])
	if err := m.arguments(m.text[end:]); err != nil {
		return err
	}
	r.mechanisms = append(r.mechanisms, m)
	return nil
}

// isModifierName: name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ).
func isModifierName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		alpha := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !alpha && (i == 0 || !(c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')) {
			return false
		}
	}
	return s != ""
}

func (r *spfRecord) modifier(name, value string) (err error) {
	var into *[]macroPart
	switch name {
	case "redirect":
		into = &r.redirect
	case "exp":
		into = &r.exp
	default: // RFC 7208 6: unknown ones are ignored, but are a macro-string
		_, err = parseMacros(value, false)
		return err
	}
	if *into != nil {
		return errors.New("it stands there twice") // RFC 7208 6
	}
	*into, err = parseDomainSpec(value)
	return err
}

// arguments reads what follows the name of a mechanism.
func (m *spfMechanism) arguments(rest string) (err error) {
	switch m.name {
	case "all":
		if rest != "" {
			return errors.New("all takes no argument")
		}
		return nil
	case "ip4", "ip6":
		return m.ip(rest)
	case "include", "exists":
		if rest == "" || rest[0] != ':' {
			return errors.New("a domain is missing")
		}
		m.domain, err = parseDomainSpec(rest[1:])
		return err
	case "ptr":
	case "a", "mx":
		if rest, err = m.cidr(rest); err != nil {
			return err
		}
	default:
		return errors.New("unknown mechanism")
	}
	if rest == "" {
		return nil
	}
	if rest[0] != ':' {
		return errors.New("bad argument")
	}
	m.domain, err = parseDomainSpec(rest[1:])
	return err
}

// cidr cuts [ "/" ip4-length ] [ "//" ip6-length ] off the end (RFC 7208 5.3).
func (m *spfMechanism) cidr(rest string) (string, error) {
	var err error
	if before, digits, ok := cutLast(rest, "//"); ok && isDigits(digits) {
		if m.bits6, err = prefixLength(digits, 128); err != nil {
			return "", err
		}
		rest = before
	}
	if before, digits, ok := cutLast(rest, "/"); ok && isDigits(digits) {
		if m.bits4, err = prefixLength(digits, 32); err != nil {
			return "", err
		}
		rest = before
	}
	return rest, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// prefixLength reads a number without leading zeros.
func prefixLength(s string, max int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n > max || !isDigits(s) || len(s) > 1 && s[0] == '0' {
		return 0, errors.New("bad prefix length")
	}
	return n, nil
}

// ip reads ":" network [ "/" length ] (RFC 7208 5.6).
func (m *spfMechanism) ip(rest string) error {
	if rest == "" || rest[0] != ':' {
		return errors.New("an address is missing")
	}
	text, length, ok := strings.Cut(rest[1:], "/")
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || addr.Is4() != (m.name == "ip4") {
		return errors.New("bad address")
	}
	bits := addr.BitLen()
	if ok {
		if bits, err = prefixLength(length, bits); err != nil {
			return err
		}
	}
	m.network, err = addr.Prefix(bits)
	return err
}
