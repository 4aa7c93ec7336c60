package filters

import (
	"slices"
	"strings"
)

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
