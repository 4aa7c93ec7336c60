package rules

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/expr-lang/expr/ast"

	"postern/search"
)

// number reads a number, or a product or sum of some.
func (p *searchParser) number(n ast.Node) (float64, bool) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return float64(n.Value), true
	case *ast.FloatNode:
		return n.Value, true
	case *ast.UnaryNode:
		f, ok := p.number(n.Node)
		return -f, ok && n.Operator == "-"
	case *ast.BinaryNode:
		a, ok1 := p.number(n.Left)
		b, ok2 := p.number(n.Right)
		switch n.Operator {
		case "*":
			return a * b, ok1 && ok2
		case "+":
			return a + b, ok1 && ok2
		case "-":
			return a - b, ok1 && ok2
		}
	}
	return 0, false
}

const momentHint = `write ago("2d"), date("2026-12-01") or date("2026-12-01T08:00:00+01:00")`

// moment reads ago("2d") and date("2026-12-01"), or notes what is wrong.
func (p *searchParser) moment(n ast.Node) (t time.Time, ok bool) {
	call, isCall := n.(*ast.CallNode)
	if !isCall || len(call.Arguments) != 1 {
		p.at(n, "this is no time", momentHint)
		return t, false
	}
	name, arg := nameOf(call.Callee), call.Arguments[0]
	s, isText := arg.(*ast.StringNode)
	switch {
	case name != "ago" && name != "date":
		p.at(call, fmt.Sprintf("unknown name %s", cut(name, 40)), momentHint)
	case !isText:
		p.at(arg, name+" needs a text", momentHint)
	case name == "ago":
		d, err := parseSpan(s.Value)
		if err == nil {
			return p.now.Add(-d), true
		}
		p.at(arg, fmt.Sprintf(`%q is no span of time, as "2d", "36h" or "90m" is`, cut(s.Value, 40)), "")
	default:
		for _, layout := range []string{time.DateOnly, time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04"} {
			if t, err := time.Parse(layout, s.Value); err == nil {
				return t, true
			}
		}
		p.at(arg, fmt.Sprintf(`%q is no date, as "2026-12-01" or "2026-12-01T08:00:00+01:00" is`, cut(s.Value, 40)), "")
	}
	return t, false
}

// maxSpan is ten years: more would be an overflow, not a wish.
const maxSpan = 3660 * 24 * time.Hour

// parseSpan reads a span of time in days and weeks as well: 2d, 1w, 1d12h.
func parseSpan(s string) (time.Duration, error) {
	var sum time.Duration
	for _, unit := range []struct {
		letter string
		is     time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		if n, rest, ok := strings.Cut(s, unit.letter); ok {
			f, err := strconv.ParseUint(n, 10, 16)
			if err != nil || time.Duration(f) > maxSpan/unit.is {
				return 0, errNoSpan
			}
			sum, s = sum+time.Duration(f)*unit.is, rest
		}
	}
	if s == "" && sum > 0 {
		return sum, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > maxSpan || sum+d > maxSpan {
		return 0, errNoSpan
	}
	return sum + d, nil
}

var errNoSpan = fmt.Errorf("no span of time")

var (
	// A field and what is said of it.
	comparing = regexp.MustCompile(`([\pL_][\pL\pN_.]*)\s*(?:(?:not\s+)?\b(contains|startsWith|endsWith|matches|in)\b\s*(["'\x60\[]?)|(<=|>=|=|<|>)\s*(["'\x60]?))`)
	// What no plain words have.
	equals    = regexp.MustCompile(`(?:==|!=)\s*[\pL\pN"'\x60(\[-]|[0-9]\s*[<>]=?\s*[\pL_]`)
	wordsOnly = regexp.MustCompile(`^[\pL\pN_.\s()!]+$`)
	word      = regexp.MustCompile(`[\pL_][\pL\pN_.]*`)
)

// isCondition tells a condition from plain words: it compares a known field, or anything as only
// a condition does, or has nothing but fields that are true or false. Text in quotation marks
// is not looked at.
func (p *searchParser) isCondition() bool {
	s := unquoted(p.text.value)
	if equals.MatchString(s) {
		return true
	}
	for _, m := range comparing.FindAllStringSubmatch(s, -1) {
		name, verb, list, sign, quote := m[1], m[2], m[3], m[4], m[5]
		f, known := p.fields[name]
		switch {
		case verb != "" && (known || list != ""):
			return true
		case known && (sign == "=" || quote != "" || f.Type == search.Number || f.Type == search.Time):
			return true
		}
	}
	if !wordsOnly.MatchString(s) {
		return false
	}
	flags := 0
	for _, w := range word.FindAllString(s, -1) {
		f, known := p.fields[w]
		switch {
		case known && f.Type == search.Bool:
			flags++
		case w != "and" && w != "or" && w != "not":
			return false
		}
	}
	return flags > 0
}

// unquoted is s with nothing between its quotation marks.
func unquoted(s string) string {
	var b strings.Builder
	var open rune
	escaped := false
	for _, r := range s {
		switch {
		case open == 0:
			b.WriteRune(r)
			if r == '"' || r == '\'' || r == '`' {
				open = r
			}
		case escaped:
			escaped = false
		case r == '\\' && open != '`':
			escaped = true
		case r == open:
			open = 0
			b.WriteRune(r)
		}
	}
	return b.String()
}

// words makes a condition of plain words; text in double quotation marks is one word.
func (p *searchParser) words() *search.Condition {
	var parts []*search.Condition
	add := func(w string) {
		if w = strings.Trim(w, "<>"); w != "" {
			parts = append(parts, search.OfText(search.Anything, search.Has, w))
		}
	}
	rest := p.text.value
	for {
		before, quoted, found := strings.Cut(rest, `"`)
		inside, after, closed := strings.Cut(quoted, `"`)
		if !found || !closed {
			rest = before + " " + quoted
			break
		}
		for _, w := range strings.FieldsFunc(before, unicode.IsSpace) {
			add(w)
		}
		add(strings.TrimSpace(inside))
		rest = after
	}
	for _, w := range strings.FieldsFunc(rest, unicode.IsSpace) {
		add(w)
	}
	if len(parts) > maxSearchWords {
		return p.fault(0, fmt.Sprintf("a search has at most %d words", maxSearchWords), "")
	}
	if len(parts) == 0 {
		return nil
	}
	return search.All(parts...)
}
