package filters

import (
	"strconv"
	"strings"

	"postern/mail"
)

// Limits of one structured header field. Beyond them the rest is not read and the message is
// over its limits.
const (
	maxParams      = 64
	maxParamValues = 16 // readings of one parameter
)

// A param is one reading of one parameter of a Content-Type or Content-Disposition field.
type param struct {
	key string // in lower case, without the asterisks of RFC 2231
	val string
	seq int  // section number of RFC 2231, -1 without one
	ext bool // ended in an asterisk: percent-encoded, with a charset
	odd bool // against the grammar: readers may differ
}

// paramList has a field's value before the first semicolon and every reading of its parameters,
// the most usual one first.
type paramList struct {
	head   string
	params []param
	odd    bool // some segment was no parameter
	over   bool
	alt    bool // what is read now is not what the grammar says
}

// parseParams reads a structured value (RFC 2045 5.1) as every reader might: by the grammar,
// with comments removed, and split at each semicolon whatever the quotes say. The second and
// third readings are only taken when they can differ.
func parseParams(v string) paramList {
	var l paramList
	l.read(v, true)
	l.alt = true
	if strings.IndexByte(v, '(') >= 0 {
		if w := stripComments(v); w != v {
			l.read(w, true)
		}
	}
	if quotesMatter(v) {
		l.read(v, false)
	}
	return l
}

// quotesMatter reports whether ignoring the quotes changes where v is split: a semicolon
// inside them, or quotes that are not simply around one value.
func quotesMatter(v string) bool {
	quoted := false
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '\\':
			return true
		case '"':
			if !quoted && (i == 0 || v[i-1] != '=' && !isBlank(v[i-1])) {
				return true
			}
			quoted = !quoted
			if !quoted {
				rest := strings.TrimLeft(v[i+1:], " \t")
				if rest != "" && rest[0] != ';' {
					return true
				}
			}
		case ';':
			if quoted {
				return true
			}
		}
	}
	return quoted
}

// stripComments removes comments outside of quoted strings (RFC 5322 3.2.2), nested ones too.
// What an unclosed comment hides stays.
func stripComments(v string) string {
	var b strings.Builder
	depth, open := 0, 0
	quoted := false
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch {
		case c == '\\' && i+1 < len(v):
			if depth == 0 {
				b.WriteString(v[i : i+2])
			}
			i++
			continue
		case depth == 0 && c == '"':
			quoted = !quoted
		case !quoted && c == '(':
			if depth == 0 {
				open = i
			}
			depth++
			continue
		case !quoted && c == ')' && depth > 0:
			depth--
			continue
		}
		if depth == 0 {
			b.WriteByte(c)
		}
	}
	if depth > 0 {
		b.WriteString(v[open:])
	}
	return b.String()
}

// read splits v at semicolons and adds what it finds.
func (l *paramList) read(v string, quotes bool) {
	first := true
	last := -1 // the parameter that a segment without "=" may belong to
	for more := true; more; {
		var seg string
		seg, v, more = cutSegment(v, quotes)
		if first {
			first = false
			if l.head == "" {
				l.head = mail.TrimBlanks(seg)
			}
			continue
		}
		if mail.TrimBlanks(seg) == "" {
			continue
		}
		if len(l.params) >= maxParams {
			l.over = true
			return
		}
		key, val, ok := strings.Cut(seg, "=")
		if !ok {
			l.odd = true
			if last >= 0 { // "name=a;.exe": the semicolon may be part of the value
				p := l.params[last]
				p.odd = true
				p.val += ";" + strings.Trim(seg, " \t\r\n\"")
				l.add(p)
			}
			continue
		}
		n := len(l.params)
		l.values(key, val)
		if last = n; n == len(l.params) {
			last = -1
		}
	}
}

// cutSegment cuts at the next semicolon; with quotes, at the next one outside of them. A
// backslash keeps a semicolon from cutting.
func cutSegment(v string, quotes bool) (seg, rest string, more bool) {
	quoted := false
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '\\':
			if quotes {
				i++
			}
		case '"':
			quoted = quotes && !quoted
		case ';':
			if !quoted {
				return v[:i], v[i+1:], true
			}
		}
	}
	return v, "", false
}

// values adds the readings of one "key=val".
func (l *paramList) values(key, val string) {
	p := param{seq: -1}
	k := strings.Trim(key, " \t\r\n\"'")
	p.odd = k != mail.TrimBlanks(key) || len(key) > 0 && isSpace(key[len(key)-1]) || len(val) > 0 && isSpace(val[0])
	p.key = strings.ToLower(k)
	if base, tail, ok := strings.Cut(p.key, "*"); ok { // RFC 2231 3, 4
		p.key = strings.TrimRight(base, " \t")
		tail, p.ext = strings.CutSuffix(tail, "*")
		if tail == "" {
			p.ext = true
		} else if n, err := strconv.Atoi(strings.TrimSpace(tail)); err == nil && n >= 0 && n < 10000 {
			p.seq = n
		} else {
			p.odd = true
		}
	}
	if p.key == "" {
		l.odd = true
		return
	}
	val = mail.TrimBlanks(val)
	if len(val) >= 2 && val[0] == '"' {
		inner, end := unquote(val)
		p.val = inner
		if end == len(val) {
			l.add(p)
			if strings.IndexByte(val, '\\') >= 0 { // readers that do not know about escapes
				p.val = strings.Trim(val, `"`)
				l.add(p)
			}
			return
		}
		p.odd = true
		l.add(p)
		p.val = val // as it stands, for readers that take the quotes for text
		l.add(p)
		p.val = unescape(val)
		l.add(p)
		return
	}
	p.val = val
	if strings.ContainsAny(val, " \t\"\\") {
		p.odd = true
		l.add(p)
		p.val = unescape(val)
		l.add(p)
		if i := strings.IndexAny(val, " \t\"\\"); i > 0 {
			p.val = val[:i]
			l.add(p)
		}
		if len(val) > 2 && val[0] == '\'' && val[len(val)-1] == '\'' {
			p.val = val[1 : len(val)-1]
			l.add(p)
		}
		return
	}
	l.add(p)
}

func (l *paramList) add(p param) {
	for i := range l.params {
		if q := &l.params[i]; q.key == p.key && q.val == p.val && q.seq == p.seq && q.ext == p.ext {
			q.odd = q.odd || p.odd && !l.alt
			return
		}
	}
	if len(l.params) >= maxParams {
		l.over = true
		return
	}
	p.odd = p.odd || l.alt
	l.params = append(l.params, p)
}

// unquote reads a quoted string at the start of v and returns where it ends.
func unquote(v string) (inner string, end int) {
	i := 1
	for i < len(v) && v[i] != '"' {
		if v[i] == '\\' {
			i++
		}
		i++
	}
	if i >= len(v) { // never closed
		return unescape(v[1:]), len(v) + 1
	}
	inner = v[1:i]
	if strings.IndexByte(inner, '\\') >= 0 {
		var b strings.Builder
		for j := 0; j < len(inner); j++ {
			if inner[j] == '\\' && j+1 < len(inner) {
				j++
			}
			b.WriteByte(inner[j])
		}
		inner = b.String()
	}
	return inner, i + 1
}

// unescape removes quotes and backslashes wherever they stand.
func unescape(v string) string {
	if !strings.ContainsAny(v, `"\`) {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] != '"' && v[i] != '\\' {
			b.WriteByte(v[i])
		}
	}
	return b.String()
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
