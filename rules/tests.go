package rules

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A Test stands beside rules and says what they are to decide.
type Test struct {
	Name    string
	File    string
	Line    int
	Message string                    // a message file; "" when the facts are all there is
	Facts   map[string]map[string]any // filter → fact → value, in place of what the filters would say
	Expect  Expect
}

// Expect is what a test compares with; what is not set is not compared.
type Expect struct {
	Do      Disposition // None: not compared
	Rule    *string
	Class   *string
	Because *string
	Score   *float64
	Effects []string // as name("text", …); nil: not compared
	at      scalar   // of the rule's name
}

// test reads one entry of tests.
func (r *reader) test(n ast.Node) Test {
	p := n.GetToken().Position
	t, before := Test{File: r.file.name, Line: p.Line}, len(*r.errs)
	for _, f := range r.fields(n, "a test", "name", "message", "facts", "expect") {
		switch f.key {
		case "facts":
			t.Facts = r.facts(f.node)
		case "expect":
			t.Expect = r.expect(f.node)
		default:
			s, ok := r.scalar(f)
			if ok && f.key == "name" {
				t.Name = s.value
			} else if ok {
				t.Message = s.value
			}
		}
	}
	at := place{p.Line, p.Column}
	if len(*r.errs) > before {
		return t
	}
	if t.Name == "" {
		r.add(r.file.fault(at, "a test needs a name", ""))
	}
	if t.Message == "" && t.Facts == nil {
		r.add(r.file.fault(at, "a test needs a message or facts", ""))
	}
	if reflect.ValueOf(t.Expect).IsZero() {
		r.add(r.file.fault(at, "a test needs what to expect", ""))
	}
	return t
}

func (r *reader) expect(n ast.Node) (out Expect) {
	for _, f := range r.fields(n, "expect", "do", "rule", "class", "because", "score", "effects") {
		if f.key == "effects" {
			if out.Effects = []string{}; r.none(f.node) {
				continue
			}
			for _, c := range r.effectList(f.node) {
				args := make([]string, len(c.args))
				for i, a := range c.args {
					args[i] = strconv.Quote(a.value)
				}
				out.Effects = append(out.Effects, c.name.value+"("+strings.Join(args, ", ")+")")
			}
			continue
		}
		s, ok := r.scalar(f)
		if !ok {
			continue
		}
		switch f.key {
		case "do":
			if err := out.Do.UnmarshalText([]byte(s.value)); err != nil || out.Do == None {
				r.add(s.fault(0, fmt.Sprintf("unknown do %q", s.value), orAll(s.value, dispositions[1:])))
			}
		case "rule":
			out.Rule, out.at = &s.value, s
		case "class":
			out.Class = &s.value
			if !contains(classes(), s.value) {
				r.add(s.fault(0, fmt.Sprintf("unknown class %q", s.value), orAll(s.value, classes())))
			}
		case "because":
			out.Because = &s.value
		case "score":
			v, err := strconv.ParseFloat(s.value, 64)
			if err != nil || math.IsNaN(v) {
				r.add(s.fault(0, fmt.Sprintf("%q is no number", s.value), ""))
			}
			out.Score = &v
		}
	}
	return out
}

// none reads an empty list of effects, which a test may expect.
func (r *reader) none(n ast.Node) bool {
	p := n.GetToken().Position
	if s, ok := r.masked[place{p.Line, p.Column}]; ok && strings.TrimSpace(s.value) == "" {
		delete(r.masked, place{p.Line, p.Column})
		return true
	}
	seq, ok := n.(*ast.SequenceNode)
	return ok && len(seq.Values) == 0
}

// facts reads the facts of a test; the names of filters and facts are looked up in the
// vocabulary, so that a test with a misspelled fact does not silently test nothing.
func (r *reader) facts(n ast.Node) map[string]map[string]any {
	out := make(map[string]map[string]any)
	for _, filter := range r.fields(n, "facts", r.vocabulary.names()...) {
		known := factNames(reflect.TypeOf(r.vocabulary[filter.key]))
		out[filter.key] = make(map[string]any)
		for _, fact := range r.fields(filter.node, filter.key, known...) {
			out[filter.key][fact.key] = r.value(fact.node, 0)
		}
	}
	return out
}

// value turns a YAML value into strings, numbers, bools, lists and maps.
func (r *reader) value(n ast.Node, depth int) any {
	if depth > maxFactDepth*2 {
		r.fail(n, "facts are not nested so deeply", "")
		return nil
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode:
		return n.Value
	case *ast.FloatNode:
		return n.Value
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.SequenceNode:
		out := []any{}
		for _, v := range n.Values {
			out = append(out, r.value(v, depth+1))
		}
		return out
	case *ast.MappingNode, *ast.MappingValueNode:
		out := make(map[string]any)
		for _, f := range r.fields(n, "facts") {
			out[f.key] = r.value(f.node, depth+1)
		}
		return out
	}
	r.fail(n, unusual, "")
	return nil
}

// checkTests looks for the rules that tests expect.
func (c *compiler) checkTests(tests []Test, rules []ruleText) {
	names := make([]string, len(rules))
	for i, r := range rules {
		names[i] = r.name
	}
	for _, t := range tests {
		if rule := t.Expect.Rule; rule != nil && *rule != "" && !slices.Contains(names, *rule) {
			c.fault(t.Expect.at, 0, fmt.Sprintf("there is no rule %q", *rule), didYouMean(*rule, names))
		}
	}
}
