package rules

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// maxEffects bounds the effects of one rule.
const maxEffects = 20

var effectsKey = regexp.MustCompile(`(?m)^(?:[ \t]*(?:-[ \t]+)?|[^#\n]*?[{,][ \t]*)effects:[ \t]*\[`)

// mask replaces lists like [add_header("X", "Y")], which are no YAML, by a quoted string
// of the same length, so that all other places stay true, and keeps what they said.
func (r *reader) mask(s string) string {
	r.masked = make(map[place]scalar)
	if !strings.Contains(s, "effects:") {
		return s
	}
	b := []byte(s)
	for _, m := range effectsKey.FindAllStringIndex(s, -1) {
		open := m[1] - 1
		end := closing(s, open)
		if end < 0 {
			continue // the YAML parser will say that it never ends
		}
		if in := strings.TrimLeft(s[open+1:end], " \t\r\n"); in != "" && (in[0] == '\'' || in[0] == '"') {
			continue // a list of quoted strings is YAML as it is
		}
		line := 1 + strings.Count(s[:open], "\n")
		start := place{line, len([]rune(s[strings.LastIndexByte(s[:open], '\n')+1:open])) + 1}
		r.masked[start] = r.file.locate(s[open+1:end], place{start.line, start.col + 1}, 0)
		for i := open; i <= end; i++ {
			if !isBlank(rune(b[i])) && b[i] != '\r' {
				b[i] = '.'
			}
		}
		b[open], b[end] = '"', '"'
	}
	return string(b)
}

// closing finds the bracket that closes the one at open; -1 when none does.
func closing(s string, open int) int {
	depth, quote := 0, byte(0)
	for i := open; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote || c == '\n' {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '[':
			depth++
		case c == ']':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// effectList reads the value of effects: a bracketed list of calls, or a list with dashes.
func (r *reader) effectList(n ast.Node) []callText {
	p := n.GetToken().Position
	if s, ok := r.masked[place{p.Line, p.Column}]; ok {
		delete(r.masked, place{p.Line, p.Column})
		return r.calls(s, true)
	}
	entries := []ast.Node{n}
	if seq, ok := n.(*ast.SequenceNode); ok {
		entries = seq.Values
	}
	var out []callText
	for _, e := range entries {
		s, ok := newScalar(r.file, e)
		if !ok {
			r.fail(e, `an effect is written like add_header("X-Name", "value")`, "")
			continue
		}
		out = append(out, r.calls(s, false)...)
	}
	return out
}

// calls parses name("text", …), one or, when many, several with commas between.
func (r *reader) calls(s scalar, many bool) []callText {
	p := callParser{s: s, runes: []rune(s.value)}
	var out []callText
	for p.skip(); p.pos < len(p.runes); p.skip() {
		call, err := p.call()
		if err == nil && len(out) > 0 && !many {
			err = s.fault(0, "one effect an entry", "")
		}
		if err != nil {
			r.add(err)
			return nil
		}
		r.checkCall(call)
		out = append(out, call)
		if p.skip(); p.pos < len(p.runes) && !p.accept(',') {
			r.add(s.fault(p.pos, "expected a comma between effects", ""))
			return nil
		}
	}
	if len(out) == 0 || len(out) > maxEffects {
		r.add(s.fault(0, fmt.Sprintf("a rule has 1 to %d effects", maxEffects), ""))
	}
	return out
}

type callParser struct {
	s     scalar
	runes []rune
	pos   int
}

func (p *callParser) skip() {
	for p.pos < len(p.runes) && (isBlank(p.runes[p.pos]) || p.runes[p.pos] == '\r') {
		p.pos++
	}
}

func (p *callParser) accept(r rune) bool {
	if p.skip(); p.pos < len(p.runes) && p.runes[p.pos] == r {
		p.pos++
		return true
	}
	return false
}

// call parses one name("text", …).
func (p *callParser) call() (callText, *Error) {
	start := p.pos
	for p.pos < len(p.runes) && (p.runes[p.pos] == '_' || isLetter(p.runes[p.pos])) {
		p.pos++
	}
	c := callText{name: p.s.part(start, p.pos)}
	if c.name.empty() || !p.accept('(') {
		return c, p.s.fault(p.pos, `an effect is written like add_header("X-Name", "value")`, "")
	}
	for !p.accept(')') {
		if len(c.args) > 0 && !p.accept(',') {
			return c, p.s.fault(p.pos, "expected a comma or )", "")
		}
		arg, err := p.argument()
		if err != nil {
			return c, err
		}
		c.args = append(c.args, arg)
	}
	return c, nil
}

// argument parses a text in quotes, or a number or a span of time as it stands.
func (p *callParser) argument() (scalar, *Error) {
	p.skip()
	start := p.pos
	for p.pos < len(p.runes) && (isDigit(p.runes[p.pos]) || p.pos > start && isLetter(p.runes[p.pos])) {
		p.pos++
	}
	if p.pos > start {
		return p.s.part(start, p.pos), nil
	}
	return p.quoted()
}

func isDigit(r rune) bool  { return r >= '0' && r <= '9' }
func isLetter(r rune) bool { return r >= 'a' && r <= 'z' }

// quoted parses "text" or 'text'; a backslash takes the next character as it is.
func (p *callParser) quoted() (scalar, *Error) {
	if p.pos == len(p.runes) || p.runes[p.pos] != '"' && p.runes[p.pos] != '\'' {
		return scalar{}, p.s.fault(p.pos, "expected a text in quotes", "")
	}
	open, quote := p.pos, p.runes[p.pos]
	out := scalar{file: p.s.file}
	var b strings.Builder
	for p.pos++; p.pos < len(p.runes); p.pos++ {
		r := p.runes[p.pos]
		if r == quote {
			out.value, out.places = b.String(), append(out.places, p.s.places[p.pos])
			p.pos++
			return out, nil
		}
		if r == '\\' && p.pos+1 < len(p.runes) {
			p.pos++
			r = p.runes[p.pos]
		}
		b.WriteRune(r)
		out.places = append(out.places, p.s.places[p.pos])
	}
	return scalar{}, p.s.fault(open, "this quote is never closed", "")
}
