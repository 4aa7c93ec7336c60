package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"postern/search"
)

// SearchName stands in the place of a file in what ParseSearch finds wrong.
const SearchName = "query"

// Limits of what is looked for.
const (
	maxSearch      = 4 << 10
	maxSearchNodes = 300
	maxSearchWords = 20
)

// ParseSearch reads what somebody looks for in stored mail: plain words, or a condition in the
// language of rules over fields, such as
//
//	rule == "spoof" and rcpt.domain == "a.example" and received > ago("2d")
//
// It is a condition when it compares a field or is made of fields that are true or false; else
// each word, or text in quotation marks, must stand somewhere in the message's
// search.Anything; beside conditions words stand in quotation marks. Text is compared without case. Now is what ago counts from. Nothing but
// blanks is nil, which everything fits. A mistake is Errors, with line, column and caret.
func ParseSearch(text string, fields map[string]search.Field, now time.Time) (*search.Condition, error) {
	p := &searchParser{fields: fields, now: now, text: plainScalar(text)}
	if len(text) > maxSearch || !brackets(text) {
		p.fault(0, fmt.Sprintf("a query has at most %d KiB and %d brackets", maxSearch>>10, maxDepth), "")
		return nil, p.errs
	}
	if !p.isCondition() {
		return p.words(), p.failed()
	}
	tree, err := parser.ParseWithConfig(text, searchConfig())
	if err != nil {
		p.syntax(err)
		return nil, p.errs
	}
	c := p.condition(tree.Node)
	if len(p.errs) > 0 {
		return nil, p.errs
	}
	return c, nil
}

// searchConfig has no functions and no names: what stands in a query is looked at here.
func searchConfig() *conf.Config {
	c := conf.CreateNew()
	c.MaxNodes = maxSearchNodes
	for name := range c.Builtins {
		c.Disabled[name] = true
		delete(c.Builtins, name)
	}
	return c
}

// plainScalar is a text that stands in no file.
func plainScalar(s string) scalar {
	out := scalar{file: newText(SearchName, s), value: s}
	at := place{1, 1}
	for _, r := range s {
		out.places = append(out.places, at)
		if at.col++; r == '\n' {
			at = place{at.line + 1, 1}
		}
	}
	out.places = append(out.places, at)
	return out
}

type searchParser struct {
	fields map[string]search.Field
	now    time.Time
	text   scalar
	errs   Errors
}

func (p *searchParser) fault(rune int, msg, hint string) *search.Condition {
	p.errs = append(p.errs, p.text.fault(rune, msg, hint))
	return search.Any() // never used: there is an error
}

func (p *searchParser) at(n ast.Node, msg, hint string) *search.Condition {
	return p.fault(n.Location().From, msg, hint)
}

func (p *searchParser) failed() error {
	if len(p.errs) == 0 {
		return nil
	}
	return p.errs
}

func (p *searchParser) syntax(err error) {
	var fe *file.Error
	if !errors.As(err, &fe) {
		msg, _, _ := strings.Cut(err.Error(), "\n")
		p.fault(0, msg, "")
		return
	}
	msg := tidy(fe.Message)
	p.fault(fe.From, msg, remedy(msg))
}

// condition reads what is true or false.
func (p *searchParser) condition(n ast.Node) *search.Condition {
	switch n := n.(type) {
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			return search.No(p.condition(n.Node))
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&":
			return search.All(p.condition(n.Left), p.condition(n.Right))
		case "or", "||":
			return search.Any(p.condition(n.Left), p.condition(n.Right))
		}
		return p.comparison(n)
	case *ast.BoolNode:
		if n.Value {
			return search.All()
		}
		return search.Any()
	case *ast.StringNode:
		return search.OfText(search.Anything, search.Has, n.Value)
	case *ast.IdentifierNode, *ast.MemberNode:
		name, field, ok := p.field(n)
		if !ok {
			return search.Any()
		}
		if field.Type != search.Bool {
			return p.at(n, fmt.Sprintf("%s is %v, not true or false", name, field.Type), "compare it, as in "+exampleOf(name, field))
		}
		return search.True(name)
	}
	return p.unknown(n)
}

func exampleOf(name string, f search.Field) string {
	if f.Example != "" {
		return f.Example
	}
	return name + map[search.Type]string{search.Text: ` == "…"`, search.Number: " > 0", search.Time: ` > ago("2d")`}[f.Type]
}

// unknown refuses what the language has and a search has not.
func (p *searchParser) unknown(n ast.Node) *search.Condition {
	const can = "a search compares fields with ==, !=, <, >, in, contains, startsWith and endsWith, joined by and, or, not"
	if call, ok := n.(*ast.CallNode); ok {
		return p.at(n, fmt.Sprintf("%s cannot be searched by", cut(call.Callee.String(), 40)), can)
	}
	return p.fault(leftmost(n), "this cannot be searched by", can)
}

// comparison reads a field, an operator and a value, in either order.
func (p *searchParser) comparison(n *ast.BinaryNode) *search.Condition {
	left, right, op := n.Left, n.Right, n.Operator
	if turned, ok := map[string]string{"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}[op]; ok && !named(left) && named(right) {
		left, right, op = right, left, turned
	}
	if !named(left) {
		return p.unknown(n)
	}
	name, field, ok := p.field(left)
	if !ok {
		return search.Any()
	}
	if op == "matches" {
		return p.at(n, "patterns cannot be searched by", "use contains, startsWith or endsWith")
	}
	if op == "!=" {
		return search.No(p.compare(n, name, field, search.Equal, right))
	}
	o := search.Op(op)
	if !slices.Contains([]search.Op{search.Equal, search.Less, search.AtMost, search.More, search.AtLeast, search.In, search.Has, search.Begins, search.Ends}, o) {
		return p.unknown(n)
	}
	return p.compare(n, name, field, o, right)
}

func (p *searchParser) compare(n *ast.BinaryNode, name string, field search.Field, op search.Op, value ast.Node) *search.Condition {
	ordered := slices.Contains([]search.Op{search.Less, search.AtMost, search.More, search.AtLeast}, op)
	switch {
	case named(value):
		other := nameOf(value)
		if _, known := p.fields[other]; known {
			return p.at(value, fmt.Sprintf("%s is a field too: a search compares a field with a value", other), "")
		}
		return p.at(value, fmt.Sprintf("unknown name %s", other), "texts stand in quotation marks")
	case field.Type == search.Bool:
		b, ok := value.(*ast.BoolNode)
		if !ok || op != search.Equal {
			return p.at(value, name+" is true or false by itself", "write "+name+" or not "+name)
		}
		if b.Value {
			return search.True(name)
		}
		return search.No(search.True(name))
	case field.Type == search.Text && ordered, field.Type != search.Text && !ordered && op != search.Equal:
		return p.at(n, fmt.Sprintf("%s is %v, with which %s does not go", name, field.Type, op), "write "+exampleOf(name, field))
	case field.Type == search.Text:
		return p.ofText(name, field, op, value)
	case field.Type == search.Number:
		if f, ok := p.number(value); ok {
			return search.OfNumber(name, op, f)
		}
		return p.at(value, name+" is a number", "write "+exampleOf(name, field))
	}
	if t, ok := p.moment(value); ok {
		return search.OfTime(name, op, t)
	}
	return search.Any()
}

func (p *searchParser) ofText(name string, field search.Field, op search.Op, value ast.Node) *search.Condition {
	var list []ast.Node
	if a, ok := value.(*ast.ArrayNode); ok && op == search.In {
		list = a.Nodes
	} else if op == search.In {
		return p.at(value, "in needs a list", fmt.Sprintf(`write %s in ["…", "…"]`, name))
	} else {
		list = []ast.Node{value}
	}
	var texts []string
	for _, n := range list {
		s, ok := n.(*ast.StringNode)
		if !ok {
			return p.at(n, name+" is text", "texts stand in quotation marks")
		}
		if (op == search.Equal || op == search.In) && len(field.Values) > 0 && !slices.Contains(field.Values, search.Key(s.Value)) {
			hint := didYouMean(s.Value, field.Values)
			if hint == "" {
				hint = "it is " + strings.Join(field.Values, ", ")
			}
			return p.at(n, fmt.Sprintf("%s is never %q", name, cut(s.Value, 40)), hint)
		}
		texts = append(texts, s.Value)
	}
	if name == search.Anything && op != search.Has {
		return p.at(value, fmt.Sprintf("%s is all the words of a message: %s does not go with it", name, op), fmt.Sprintf(`write %s contains "…"`, name))
	}
	return search.OfText(name, op, texts...)
}

// named tells whether n is the name of something.
func named(n ast.Node) bool { return nameOf(n) != "" }

func nameOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return n.Value
	case *ast.MemberNode:
		if s, ok := n.Property.(*ast.StringNode); ok && named(n.Node) && !n.Optional {
			return nameOf(n.Node) + "." + s.Value
		}
	case *ast.ChainNode:
		return nameOf(n.Node)
	}
	return ""
}

// field finds a field by its name, or notes that there is none.
func (p *searchParser) field(n ast.Node) (name string, f search.Field, ok bool) {
	name = nameOf(n)
	if f, ok = p.fields[name]; !ok {
		hint := didYouMean(name, p.names())
		if hint == "" {
			hint = "plain words beside a condition stand in quotation marks"
		}
		p.fault(leftmost(n), fmt.Sprintf("unknown name %s", cut(name, 60)), hint)
		return name, f, false
	}
	if f.Is != "" {
		return f.Is, f, true
	}
	return name, f, true
}

func (p *searchParser) names() []string {
	names := make([]string, 0, len(p.fields))
	for name := range p.fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
