package filters

import (
	"slices"
	"strings"

	"postern/mail"
)

// Limits of the text view.
const (
	maxTextPart  = 64 << 10  // of one part
	maxTextTotal = 256 << 10 // of a message
	maxTextFact  = 16 << 10  // content.text
	maxLinks     = 1000
	maxURL       = 512
)

// gtube is the test string of spam filters, in two halves so that this file is not one.
const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

// readText takes the decoded bytes of a text part.
func (c *collector) readText(view []byte, e *entity) {
	html := e.is("text/html") || e.is("text/xhtml")
	text := toUTF8(e.charset, string(view))
	c.facts.GTUBE = c.facts.GTUBE || strings.Contains(text, gtube)
	if html {
		c.htmlLinks(text)
	} else {
		c.textLinks(text)
	}
	if room := maxTextFact - len(c.facts.Text); room > 0 && !html {
		c.facts.Text = joinText(c.facts.Text, text, room)
	} else if room := maxTextFact - len(c.facts.HTML); room > 0 && html {
		c.facts.HTML = joinText(c.facts.HTML, text, room)
	}
}

func joinText(have, more string, room int) string {
	if len(more) > room {
		more = strings.Clone(strings.ToValidUTF8(more[:room], ""))
	}
	if have == "" {
		return more
	}
	return have + "\n" + more
}

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
		for end < len(s) && s[end] > ' ' && s[end] != 0x7f && strings.IndexByte("<>\"`{}|\\^", s[end]) < 0 {
			end++
		}
		c.link(strings.TrimRight(s[start:end], ".,;:!?)]'"), "")
		s = s[end:]
	}
}

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

// htmlLinks finds what HTML points to: href, src, action and the like of every tag, and the
// text of anchors. It is one pass over s that knows tags, quotes and comments, no more; what is
// broken it reads as browsers do: a "<" and a letter begin a tag.
func (c *collector) htmlLinks(s string) {
	comments := true // there may be another end of a comment
	var href string  // of the open anchor
	var shown []byte // its text so far
	for {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			break
		}
		if href != "" && len(shown) < maxURL {
			shown = append(shown, s[:min(i, maxURL)]...)
		}
		s = s[i+1:]
		if s == "" {
			break
		}
		switch {
		case strings.HasPrefix(s, "!--"):
			s = s[3:]
			if !comments {
				continue
			}
			j := strings.Index(s, "-->")
			if comments = j >= 0; comments {
				s = s[j+3:]
			}
		case s[0] == '/':
			if len(s) > 1 && s[1]|0x20 == 'a' && (len(s) == 2 || !isLetter(s[2])) && href != "" {
				c.link(href, string(shown))
				href = ""
			}
			s = s[1:]
		case isLetter(s[0]):
			var tag string
			tag, s = tagName(s)
			var target string
			target, s = c.attributes(s)
			if tag == "a" || tag == "area" {
				if href != "" {
					c.link(href, string(shown))
				}
				href, shown = target, shown[:0]
			}
		}
	}
	if href != "" {
		c.link(href, string(shown))
	}
}

func tagName(s string) (name, rest string) {
	i := 0
	for i < len(s) && s[i] > ' ' && s[i] != '>' && s[i] != '/' {
		i++
	}
	return strings.ToLower(s[:min(i, 16)]), s[i:]
}

// linkAttributes are those whose value is a URL.
var linkAttributes = []string{"href", "src", "action", "formaction", "background", "data", "poster", "srcset", "xlink:href"}

// attributes reads the attributes of a tag to its end. It returns the href; other URLs are
// recorded at once.
func (c *collector) attributes(s string) (href, rest string) {
	for {
		i := 0
		for i < len(s) && (s[i] <= ' ' || s[i] == '/') {
			i++
		}
		s = s[i:]
		if s == "" || s[0] == '>' {
			return href, strings.TrimPrefix(s, ">")
		}
		i = 1
		for i < len(s) && s[i] > ' ' && s[i] != '=' && s[i] != '>' && s[i] != '/' {
			i++
		}
		name := s[:i]
		s = strings.TrimLeft(s[i:], " \t\r\n\f")
		if s == "" || s[0] != '=' {
			continue
		}
		s = strings.TrimLeft(s[1:], " \t\r\n\f")
		if s == "" {
			return href, s
		}
		var val string
		if q := s[0]; q == '"' || q == '\'' {
			j := strings.IndexByte(s[1:], q)
			if j < 0 { // never closed: browsers would take it all; so that nothing hides, take a piece
				j = strings.IndexByte(s[1:], '>')
			}
			if j < 0 {
				return href, ""
			}
			val, s = s[1:1+j], s[2+j:]
		} else {
			j := strings.IndexAny(s, " \t\r\n\f>")
			if j < 0 {
				j = len(s)
			}
			val, s = s[:j], s[j:]
		}
		if len(name) > 10 || !slices.ContainsFunc(linkAttributes, func(a string) bool { return strings.EqualFold(a, name) }) {
			continue
		}
		if val = unentity(val); strings.EqualFold(name, "href") {
			href = val
		} else {
			c.link(val, "")
		}
	}
}

// unentity undoes the character references that occur in URLs.
func unentity(s string) string {
	if strings.IndexByte(s, '&') < 0 {
		return s
	}
	s = s[:min(len(s), 4*maxURL)]
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '&')
		if i < 0 {
			break
		}
		b.WriteString(s[:i])
		r, n := reference(s[i:])
		b.WriteString(r)
		s = s[i+n:]
	}
	b.WriteString(s)
	return b.String()
}

// reference reads one character reference at the start of s.
func reference(s string) (text string, n int) {
	for _, e := range [...][2]string{{"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", `"`}, {"&colon;", ":"}, {"&sol;", "/"}, {"&period;", "."}, {"&Tab;", ""}, {"&NewLine;", ""}, {"&amp", "&"}} {
		if strings.HasPrefix(s, e[0]) {
			return e[1], len(e[0])
		}
	}
	if len(s) < 3 || s[1] != '#' {
		return "&", 1
	}
	i, base := 2, 10
	if s[2]|0x20 == 'x' {
		i, base = 3, 16
	}
	v, start := 0, i
	for i < len(s) && i < start+8 {
		d := hexValue(s[i])
		if d < 0 || d >= base {
			break
		}
		v = v*base + d
		i++
	}
	if i == start {
		return "&", 1
	}
	if i < len(s) && s[i] == ';' {
		i++
	}
	if v < ' ' || v > 0x10ffff {
		return "", i
	}
	return string(rune(v)), i
}

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
	if c.seen == nil {
		c.seen = make(map[string]bool)
	}
	key := l.URL + "\x00" + l.TextHost
	if c.seen[key] {
		return
	}
	if len(c.facts.Links) >= maxLinks {
		c.facts.LinksCut = true
		return
	}
	c.seen[key] = true
	l.URL = strings.Clone(l.URL)
	c.facts.Links = append(c.facts.Links, l)
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
