package lists

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"postern/mail"
)

// A Kind is what an entry is compared with.
type Kind string

// The kinds.
const (
	Address Kind = "address" // ann@example.net: the author (From) or the envelope sender
	Domain  Kind = "domain"  // example.net: their domain; .example.net: and all below it
	Network Kind = "network" // 192.0.2.0/24: the client
	ListID  Kind = "list-id" // list-id:news.example.net: the field List-Id (RFC 2919)
)

// An Entry is one line of the lists.
type Entry struct {
	Kind            Kind      `json:"kind"`
	Value           string    `json:"entry"` // in the one form that ParseEntry gives
	Allow           bool      `json:"allow"` // else it denies
	Scope           string    `json:"for"`   // "" everybody, "@example.org" a recipient domain, or a recipient
	Unauthenticated bool      `json:"unauthenticated,omitempty"`
	Until           time.Time `json:"until,omitzero"` // not in force from this moment on; zero: for ever
	Note            string    `json:"note,omitempty"`
	Added           time.Time `json:"added"`
	By              string    `json:"by"`

	net netip.Prefix
}

// Limits of what is stored.
const (
	maxValue = 320
	maxNote  = 500
)

const listPrefix = "list-id:"

// ParseEntry reads what an entry is about: an address, a domain, .domain with all below it, an
// IP address or network, or list-id: and the id of a mailing list.
func ParseEntry(s string) (Entry, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return Entry{}, fmt.Errorf("an entry is empty: give an address, a domain, a network, or list-id:NAME")
	case len(s) > maxValue:
		return Entry{}, fmt.Errorf("an entry has at most %d bytes", maxValue)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return Entry{}, fmt.Errorf("%q has characters that no address has", s)
	case s == "<>":
		return Entry{}, fmt.Errorf("<> is the empty sender of bounces and receipts, which every server has to take (RFC 5321 4.5.5)")
	case strings.Contains(s, "://"):
		return Entry{}, fmt.Errorf("%q is a URL: give its domain alone", s)
	case len(s) >= len(listPrefix) && strings.EqualFold(s[:len(listPrefix)], listPrefix):
		return parseListID(s[len(listPrefix):])
	case strings.HasPrefix(s, "@"):
		return parseDomain(s[1:], s)
	case strings.Contains(s, "*"):
		return Entry{}, fmt.Errorf("%q: there are no wildcards; example.net is all addresses of a domain, .example.net its subdomains, too", s)
	case strings.Contains(s, "@"):
		return parseAddress(s)
	case strings.Contains(s, "/") || strings.Contains(s, ":") || looksLikeIPv4(s):
		return parseNetwork(s)
	}
	return parseDomain(s, s)
}

func parseAddress(s string) (Entry, error) {
	if strings.ContainsAny(s, "<>") {
		return Entry{}, fmt.Errorf("%q: give the address alone, without name and angle brackets", s)
	}
	a, err := parseLower(s)
	if err != nil {
		return Entry{}, fmt.Errorf("%q is no mail address", s)
	}
	return Entry{Kind: Address, Value: a}, nil
}

// parseLower reads an address in lower case; that may be longer than it was.
func parseLower(s string) (string, error) {
	a, err := mail.ParseAddress(strings.ToLower(s), true)
	return a.String(), err
}

func parseDomain(s, said string) (Entry, error) {
	below := strings.HasPrefix(s, ".")
	d, err := mail.ParseDomain(strings.TrimSuffix(strings.TrimPrefix(s, "."), "."))
	if err != nil || d[0] == '[' {
		return Entry{}, fmt.Errorf("%q is no domain, address or network", said)
	}
	if !strings.Contains(d, ".") {
		return Entry{}, fmt.Errorf("%q is a whole top-level domain, or none at all: give a domain below it", said)
	}
	if below {
		d = "." + d
	}
	return Entry{Kind: Domain, Value: d}, nil
}

func looksLikeIPv4(s string) bool { return strings.Trim(s, "0123456789.") == "" }

func parseNetwork(s string) (Entry, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return Entry{}, fmt.Errorf("%q is no IP address or network: write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32", s)
		}
		a = a.Unmap()
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() {
		return Entry{}, fmt.Errorf("%q: write the IPv4 network as such, like 192.0.2.0/24", s)
	}
	if m := p.Masked(); m != p {
		return Entry{}, fmt.Errorf("%q names an address inside of a network: write %s for the network, or the address without /%d", s, m, p.Bits())
	}
	if p.Bits() == 0 {
		return Entry{}, fmt.Errorf("%q is everybody", s)
	}
	e := Entry{Kind: Network, Value: p.String(), net: p}
	if p.IsSingleIP() {
		e.Value = p.Addr().String()
	}
	return e, nil
}

// parseListID reads a list-id (RFC 2919 2), in the brackets of the field or without them.
func parseListID(s string) (Entry, error) {
	id := strings.TrimSpace(s)
	if strings.HasPrefix(id, "<") && strings.HasSuffix(id, ">") {
		id = id[1 : len(id)-1]
	}
	if strings.Trim(id, ".") != id || !strings.Contains(id, ".") || strings.ContainsAny(id, "<>@ \"") || strings.Contains(id, "..") {
		return Entry{}, fmt.Errorf("%q is no list-id: it is what stands in angle brackets in the field List-Id, like news.example.net", s)
	}
	return Entry{Kind: ListID, Value: listPrefix + strings.ToLower(id)}, nil
}

// Everybody is how people write the scope of all recipients.
const Everybody = "everybody"

// ParseScope reads for whom an entry is: everybody, @example.org (a recipient domain), or one
// recipient's address. "" is everybody.
func ParseScope(s string) (string, error) {
	switch s = strings.TrimSpace(s); {
	case s == "" || s == Everybody:
		return "", nil
	case len(s) > maxValue || !utf8.ValidString(s):
	case strings.HasPrefix(s, "@"):
		if d, err := mail.ParseDomain(s[1:]); err == nil {
			return "@" + d, nil
		}
	case strings.Contains(s, "@"):
		if a, err := parseLower(s); err == nil {
			return a, nil
		}
	default:
		return "", fmt.Errorf("%q: an entry is for everybody, for a domain of recipients (@%s), or for one recipient's address", s, s)
	}
	return "", fmt.Errorf("%q is no address, and no @domain", s)
}

// ScopeWords say for whom an entry is.
func (e *Entry) ScopeWords() string {
	if e.Scope == "" {
		return Everybody
	}
	return e.Scope
}

// rank orders scopes: the narrower the greater.
func rank(scope string) int {
	switch {
	case scope == "":
		return 1
	case scope[0] == '@':
		return 2
	}
	return 3
}

// Expired reports whether it is not in force any more.
func (e *Entry) Expired(at time.Time) bool { return !e.Until.IsZero() && !at.Before(e.Until) }
