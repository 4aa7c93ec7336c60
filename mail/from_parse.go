package mail

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// ParseAuthors reads the value of a From field (RFC 5322 3.4, with the groups of RFC 6854).
// ok is false when any reader could see something else than list says: leftovers, a route,
// an empty group, a second address in the display name, comments or blanks within the
// address, control characters. list then has every plausible address all the same.
func ParseAuthors(value string) (list []Author, ok bool) {
	p := fromParser{toks: make([]fromToken, 0, 12), ok: true}
	if len(value) > maxFromBytes {
		value, p.ok = value[:maxFromBytes], false
	}
	p.tokens(value)
	p.entries(false)
	if len(p.list) == 1 && p.list[0].Name == "" { // "ann@example.org (Ann)", as it was written once: readers show the comment
		p.list[0].Name = unescape(strings.Join(p.comments, " "))
	}
	if !p.ok || len(p.toks) > 0 {
		p.scan(value)
		return p.list, false
	}
	return p.list, true
}

// unescape takes the backslashes off quoted pairs.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// A fromToken is a lexical token: 'a' an atom with its dots, 'q' a quoted string, 'l' text in
// brackets, or one of < > @ , : ;
type fromToken struct {
	kind    byte
	text    string
	blank   bool // white space before it
	comment bool // a comment before it
}

type fromParser struct {
	toks []fromToken
	list []Author
	ok   bool

	comments []string // without the outer parentheses
}

// tokens splits s. What is no token is dropped and makes the field not ok.
func (p *fromParser) tokens(s string) {
	next := fromToken{}
	for i := 0; i < len(s); {
		j := i + 1
		switch c := s[i]; {
		case c == ' ' || c == '\t':
			next.blank = true
			i = j
			continue
		case c == '\r' || c == '\n': // only as a fold, or at the very end
			j = i + len(s[i:]) - len(strings.TrimLeft(s[i:], "\r\n"))
			fold := s[i:j] == "\r\n" || s[i:j] == "\n"
			p.ok = p.ok && fold && (j == len(s) || s[j] == ' ' || s[j] == '\t')
			next.blank = true
			i = j
			continue
		case c == '(':
			j = p.comment(s, i)
			p.comments = append(p.comments, Unfold([]byte(strings.TrimSuffix(s[i+1:j], ")"))))
			next.comment = true
			i = j
			continue
		case c == '"':
			next.kind = 'q'
			next.text, j = p.quoted(s, i)
		case c == '[':
			for j < len(s) && s[j] != ']' && s[j] > ' ' && s[j] < 0x7f && !strings.ContainsRune("[\\\"@<>(),;", rune(s[j])) {
				j++
			}
			if j == len(s) || s[j] != ']' {
				p.ok = false
				i++
				continue
			}
			j++
			next.kind, next.text = 'l', s[i:j]
		case strings.IndexByte("<>@,:;", c) >= 0:
			next.kind, next.text = c, s[i:j]
		case isAtomByte(c):
			for j < len(s) && isAtomByte(s[j]) {
				j++
			}
			next.kind, next.text = 'a', s[i:j]
		default:
			p.ok = false
			i = j
			continue
		}
		p.toks = append(p.toks, next)
		next = fromToken{}
		i = j
	}
}

func isAtomByte(c byte) bool { return c == '.' || c >= 0x80 || isAtext(c) }

// comment returns the end of the comment that starts at i. One that looks like a mailbox
// in angle brackets is not ok: readers that search for those would take it.
func (p *fromParser) comment(s string, i int) int {
	for depth := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i + 1
			}
		case c == '<' || c == 0x7f || c < ' ' && c != '\t' && c != '\r' && c != '\n':
			p.ok = false
		}
	}
	p.ok = false
	return len(s)
}

// quoted returns the text and the end of the quoted string that starts at i.
func (p *fromParser) quoted(s string, i int) (string, int) {
	var b strings.Builder
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), i + 1
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] < ' ' || s[i] == 0x7f {
				p.ok = false
			}
			b.WriteByte(s[i])
		case c == '\r' || c == '\n':
			if i+1 < len(s) && s[i+1] != ' ' && s[i+1] != '\t' && s[i+1] != '\n' {
				p.ok = false
			}
		case c < ' ' && c != '\t' || c == 0x7f:
			p.ok = false
		default:
			b.WriteByte(c)
		}
	}
	p.ok = false
	return b.String(), len(s)
}

// entries reads mailboxes and groups between commas.
func (p *fromParser) entries(group bool) {
	for p.ok {
		p.entry(group)
		if p.peek() != ',' {
			return
		}
		p.toks = p.toks[1:]
	}
}

func (p *fromParser) entry(group bool) {
	phrase := p.take()
	switch p.peek() {
	case '<':
		p.toks = p.toks[1:]
		p.angle(phrase)
	case ':':
		p.toks = p.toks[1:]
		if group || len(phrase) == 0 || hasAt(phrase) {
			p.ok = false
			return
		}
		first := len(p.list)
		p.entries(true) // at least one: an empty group names nobody
		for i := first; i < len(p.list); i++ {
			if p.list[i].Name == "" { // readers show the name of the group then
				p.list[i].Name = phraseText(phrase)
			}
		}
		if p.peek() != ';' {
			p.ok = false
			return
		}
		p.toks = p.toks[1:]
	default:
		p.add(nil, phrase)
	}
}

// peek gives the kind of the next token, 0 at the end.
func (p *fromParser) peek() byte {
	if len(p.toks) == 0 {
		return 0
	}
	return p.toks[0].kind
}

// take cuts the words before the next delimiter.
func (p *fromParser) take() []fromToken {
	i := slices.IndexFunc(p.toks, func(t fromToken) bool { return strings.IndexByte("<>,:;", t.kind) >= 0 })
	if i < 0 {
		i = len(p.toks)
	}
	phrase := p.toks[:i]
	p.toks = p.toks[i:]
	return phrase
}

// angle reads an addr-spec and its closing bracket.
func (p *fromParser) angle(phrase []fromToken) {
	spec := p.take()
	if p.peek() != '>' || p.toks[0].comment || len(spec) > 0 && spec[0].comment {
		p.ok = false
		return
	}
	p.toks = p.toks[1:]
	p.add(phrase, spec)
}

// add takes spec for an addr-spec: local part, @ and domain, with nothing between.
func (p *fromParser) add(phrase, spec []fromToken) {
	if len(p.list) == maxAuthors || len(spec) != 3 || spec[1].kind != '@' ||
		spec[1].blank || spec[1].comment || spec[2].blank || spec[2].comment {
		p.ok = false
		return
	}
	local, domain := spec[0], spec[2]
	if !utf8.ValidString(local.text) || !utf8.ValidString(domain.text) {
		p.ok = false
		return
	}
	switch {
	case local.kind == 'a' && !strings.Contains(local.text, "=?"): // some decode words where none may be (RFC 2047 5)
	case local.kind == 'q' && local.text != "" && !strings.ContainsAny(local.text, "@<>,;:()\t"):
	default: // "a@bank.example"@evil.example: a careless reader stops at the first @
		p.ok = false
		return
	}
	d, err := ParseDomain(domain.text)
	if err != nil || (domain.kind == 'l') != (d[0] == '[') {
		p.ok = false
		return
	}
	a := Author{Name: phraseText(phrase), Address: QuoteLocal(local.text) + "@" + d, Domain: d}
	// An address as the display name is harmless only when it is the same one.
	if hasAt(phrase) && !strings.EqualFold(phraseText(phrase), local.text+"@"+domain.text) {
		p.ok = false
	}
	p.list = append(p.list, a)
}

func hasAt(toks []fromToken) bool {
	return slices.ContainsFunc(toks, func(t fromToken) bool { return t.kind == '@' })
}

func phraseText(toks []fromToken) string {
	if len(toks) == 1 {
		return toks[0].text
	}
	size := len(toks)
	for _, t := range toks {
		size += len(t.text)
	}
	var b strings.Builder
	b.Grow(size)
	for i, t := range toks {
		if i > 0 && (t.blank || t.comment) {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
	}
	return b.String()
}

// scan adds what stands around each @ and is not listed yet.
func (p *fromParser) scan(s string) {
	for i := 0; i < len(s) && len(p.list) < maxAuthors; i++ {
		if s[i] != '@' {
			continue
		}
		from, to := i, i+1
		for from > 0 && i-from < 254 && isAtomByte(s[from-1]) {
			from--
		}
		for to < len(s) && to-i < 254 && (s[to] >= 0x80 || s[to] == '.' || s[to] == '-' || s[to] == '_' || isAlnum(s[to])) {
			to++
		}
		d, err := ParseDomain(strings.Trim(s[i+1:to], "."))
		if err != nil {
			continue
		}
		a := Author{Address: s[from:i] + "@" + d, Domain: d}
		if !slices.ContainsFunc(p.list, func(b Author) bool { return b.Address == a.Address }) {
			p.list = append(p.list, a)
		}
	}
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
