package filters

import (
	"slices"
	"strings"

	"postern/mail"
)

// textLinks finds URLs in plain text: a scheme and "://", or "www.".
func (c *collector) textLinks(s string) {
	for len(s) > 0 {
		i := strings.Index(s, "://")
		j := indexWWW(s, i)
		start, end := 0, 0
		switch {
		case j >= 0:
			start, end = j, j+4
		case i < 0:
			return
		default:
			start, end = i, i+3
			for start > 0 && i-start < 12 && isLetter(s[start-1]) {
				start--
			}
			if start == i {
				s = s[end:]
				continue
			}
		}
		for end < len(s) && !endsURL[s[end]] {
			end++
		}
		c.link(strings.TrimRight(s[start:end], ".,;:!?)]'"), "")
		s = s[end:]
	}
}

// endsURL has the bytes that no URL in plain text goes beyond.
var endsURL = func() (t [256]bool) {
	for c := range ' ' + 1 {
		t[c] = true
	}
	for _, c := range []byte("<>\"`{}|\\^\x7f") {
		t[c] = true
	}
	return t
}()

// indexWWW finds "www." at the beginning of a word before limit.
func indexWWW(s string, limit int) int {
	if limit < 0 {
		limit = len(s)
	}
	for from := 0; ; {
		i := strings.Index(s[from:limit], "www.")
		if i < 0 {
			return -1
		}
		i += from
		if i == 0 || !isLetter(s[i-1]) && s[i-1] != '.' && s[i-1] != '@' && s[i-1] != '-' {
			return i
		}
		from = i + 4
	}
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// link records a URL, once.
func (c *collector) link(raw, shown string) {
	// Browsers drop tabs and line ends inside, and controls and blanks around (WHATWG URL 4.4).
	raw = strings.Trim(raw, " \x00\t\r\n\f")
	if strings.ContainsAny(raw, "\t\r\n") {
		raw = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(raw[:min(len(raw), 2*maxURL)])
	}
	if raw == "" || raw[0] == '#' || len(raw) >= 5 && strings.EqualFold(raw[:4], "cid:") {
		return
	}
	l := Link{URL: strings.ToValidUTF8(raw[:min(len(raw), maxURL)], "")}
	l.Host = urlHost(raw)
	if shown = strings.TrimSpace(unentity(shown)); shown != "" {
		if h := shownHost(shown); h != "" && h != l.Host {
			l.TextHost = h
		}
	}
	if c.listed(l) {
		return
	}
	if len(c.facts.Links) >= maxLinks {
		c.facts.LinksCut = true
		return
	}
	if c.seen != nil {
		c.seen[Link{URL: l.URL, TextHost: l.TextHost}] = true
	}
	if c.facts.Links == nil {
		c.facts.Links = make([]Link, 0, 4)
	}
	c.facts.Links = append(c.facts.Links, l)
}

// fewLinks are compared one by one; for more there is a map.
const fewLinks = 16

// listed reports whether the same URL is in the facts with the same text.
func (c *collector) listed(l Link) bool {
	if c.seen == nil && len(c.facts.Links) < fewLinks {
		return slices.ContainsFunc(c.facts.Links, func(k Link) bool { return k.URL == l.URL && k.TextHost == l.TextHost })
	}
	if c.seen == nil {
		c.seen = make(map[Link]bool)
		for _, k := range c.facts.Links {
			c.seen[Link{URL: k.URL, TextHost: k.TextHost}] = true
		}
	}
	return c.seen[Link{URL: l.URL, TextHost: l.TextHost}]
}

// urlHost is the host of a URL in A-labels, as a browser finds it: a backslash is a slash, user
// information is no host.
func urlHost(u string) string {
	scheme, rest, ok := strings.Cut(u[:min(len(u), 4*maxURL)], ":")
	if !ok || !isScheme(scheme) {
		if strings.HasPrefix(u, "//") || strings.HasPrefix(u, `\\`) {
			rest = u
		} else if len(u) > 4 && strings.EqualFold(u[:4], "www.") {
			rest = "//" + u
		} else {
			return ""
		}
	} else if scheme = strings.ToLower(scheme); scheme == "mailto" {
		addr, _, _ := strings.Cut(rest, "?")
		_, domain, _ := strings.Cut(addr, "@")
		return canonicalHost(domain)
	} else if scheme == "javascript" || scheme == "data" || scheme == "tel" {
		return ""
	}
	rest = strings.TrimLeft(rest, `/\`)
	if i := strings.IndexAny(rest, `/\?#`); i >= 0 {
		rest = rest[:i]
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	if strings.HasPrefix(rest, "[") {
		if i := strings.IndexByte(rest, ']'); i > 0 {
			return strings.ToLower(rest[:i+1])
		}
	}
	host, _, _ := strings.Cut(rest, ":")
	return canonicalHost(host)
}

func isScheme(s string) bool {
	if s == "" || len(s) > 20 || !isLetter(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !isLetter(c) && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

func canonicalHost(h string) string {
	h = strings.TrimRight(percentDecode(h), ".")
	if d, err := mail.ParseDomain(h); err == nil {
		return d
	}
	return strings.ToLower(mail.Printable(h, 255))
}

// shownHost is the host that the text of a link shows, when it shows one.
func shownHost(text string) string {
	text = strings.Trim(text, " \t\r\n\"'()<>.,;:")
	if strings.ContainsAny(text, " \t\r\n") || len(text) > maxURL {
		return ""
	}
	if i := strings.Index(text, "://"); i > 0 && isScheme(text[:i]) {
		return urlHost(text)
	}
	host, _, _ := strings.Cut(text, "/")
	host, _, _ = strings.Cut(host, ":")
	if strings.ContainsRune(host, '@') {
		return ""
	}
	if i := strings.LastIndexByte(host, '.'); i <= 0 || len(host)-i < 3 || !isLetter(host[i+1]) && host[i+1] < 0x80 {
		return ""
	}
	d, err := mail.ParseDomain(host)
	if err != nil {
		return ""
	}
	return d
}
