package rules

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A place is a line and a column, both from 1.
type place struct{ line, col int }

// A text is one rule file while it is compiled.
type text struct {
	name  string
	lines [][]rune
}

func newText(name, s string) *text {
	t := &text{name: name}
	for line := range strings.SplitSeq(s, "\n") {
		t.lines = append(t.lines, []rune(strings.TrimSuffix(line, "\r")))
	}
	return t
}

func (t *text) fault(at place, msg, hint string) *Error {
	at.line = max(1, min(at.line, len(t.lines)))
	line := t.lines[at.line-1]
	at.col = max(1, min(at.col, len(line)+1))
	return &Error{File: t.name, Line: at.line, Column: at.col, Msg: msg, Hint: hint, Snippet: snippet(line, at.line, at.col)}
}

// A scalar is one value of a rule file and where each of its characters stands there, so
// that a mistake inside an expression can be shown at its own place, however it is quoted.
type scalar struct {
	file   *text
	value  string
	places []place // one for each rune of value, and one for its end
}

func (s scalar) fault(rune int, msg, hint string) *Error {
	if len(s.places) == 0 {
		return s.file.fault(place{}, msg, hint)
	}
	return s.file.fault(s.places[max(0, min(rune, len(s.places)-1))], msg, hint)
}

// part is the scalar of the runes from to to.
func (s scalar) part(from, to int) scalar {
	return scalar{s.file, string([]rune(s.value)[from:to]), s.places[from : to+1]}
}

// beforeComment reports whether a comment follows on its last line, which may have been meant
// as a part of it.
func (s scalar) beforeComment() bool {
	if len(s.places) == 0 {
		return false
	}
	end := s.places[len(s.places)-1]
	if end.line < 1 || end.line > len(s.file.lines) {
		return false
	}
	line := s.file.lines[end.line-1]
	return strings.HasPrefix(strings.TrimLeft(string(line[min(end.col-1, len(line)):]), " \t"), "#")
}

func (s scalar) empty() bool { return s.value == "" }

// newScalar finds the characters of a scalar node in the file.
func newScalar(t *text, n ast.Node) (scalar, bool) {
	at := func(tk *token.Token) place { return place{tk.Position.Line, tk.Position.Column} }
	switch n := n.(type) {
	case *ast.LiteralNode:
		start := at(n.Start)
		return t.locate(n.Value.Value, place{start.line + 1, 1}, token.LiteralType), true
	case *ast.StringNode:
		start := at(n.Token)
		if n.Token.Type == token.DoubleQuoteType || n.Token.Type == token.SingleQuoteType {
			start.col++
		}
		return t.locate(n.Value, start, n.Token.Type), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		tk := n.GetToken()
		return t.locate(tk.Value, at(tk), tk.Type), true
	}
	return scalar{}, false
}

// locate walks along a value and the file from start, and notes the place of each
// character. White space may have been folded, characters may have been escaped. Where it
// loses the trail, the rest stands at the last place it knew.
func (t *text) locate(value string, start place, style token.Type) scalar {
	s := scalar{file: t, value: value}
	c := cursor{t, start}
	for _, r := range value {
		if style == token.DoubleQuoteType {
			for c.rune() == '\\' && c.peek() == '\n' { // an escaped line break is nothing
				c.next(2)
				c.blanks()
			}
		}
		blank := r == ' ' || r == '\t' || r == '\n'
		if !blank && isBlank(c.rune()) {
			c.blanks()
		}
		s.places = append(s.places, c.place)
		switch is := c.rune(); {
		case style == token.DoubleQuoteType && is == '\\':
			c.next(2 + map[rune]int{'x': 2, 'u': 4, 'U': 8}[c.peek()])
		case style == token.SingleQuoteType && is == '\'' && r == '\'':
			c.next(2)
		case is == r, blank && is == '\n':
			c.next(1)
		}
	}
	s.places = append(s.places, c.place)
	return s
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\n' }

// A cursor reads the runes of a file; 0 behind its end.
type cursor struct {
	t *text
	place
}

func (c *cursor) rune() rune {
	if c.line < 1 || c.line > len(c.t.lines) {
		return 0
	}
	line := c.t.lines[c.line-1]
	if c.col-1 < len(line) {
		return line[c.col-1]
	}
	return '\n'
}

func (c *cursor) peek() rune {
	ahead := *c
	ahead.next(1)
	return ahead.rune()
}

func (c *cursor) next(n int) {
	for ; n > 0 && c.rune() != 0; n-- {
		if c.rune() == '\n' {
			c.place = place{c.line + 1, 1}
		} else {
			c.col++
		}
	}
}

func (c *cursor) blanks() {
	for isBlank(c.rune()) {
		c.next(1)
	}
}
