package rules

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// What the tags of a fact say of its values: `enum:"none pass fail"` are all that it can
// be besides the empty text (of a list, all that can be in it), and `case:"lower"` means that
// there are no capitals in it, or in its keys.

// A doubt is a value that a fact can never have.
type doubt struct {
	at        spot
	msg, hint string
}

// doubts looks for such values in an expression whose types are known.
func (c *compiler) doubts(s scalar, n ast.Node) (out []doubt) {
	doubt1 := func(at ast.Node, hint, format string, args ...any) {
		out = append(out, doubt{s.spot(at.Location().From), fmt.Sprintf(format, args...), hint})
	}
	switch n := n.(type) {
	case *ast.BinaryNode:
		switch n.Operator {
		case "==", "!=":
			c.doubtValue(n.Left, n.Right, doubt1)
			c.doubtValue(n.Right, n.Left, doubt1)
		case "in":
			if list, ok := n.Right.(*ast.ArrayNode); ok {
				for _, e := range list.Nodes {
					c.doubtValue(n.Left, e, doubt1)
				}
			}
			if m, ok := n.Right.(*ast.MemberNode); ok {
				doubtKey(m, n.Left, doubt1)
			}
		}
	case *ast.MemberNode:
		if m, ok := n.Node.(*ast.MemberNode); ok {
			doubtKey(m, n.Property, doubt1)
		}
	}
	for _, k := range children(n) {
		out = append(out, c.doubts(s, k)...)
	}
	return out
}

// doubtValue holds a text against the fact that it is compared with.
func (c *compiler) doubtValue(fact, value ast.Node, say func(ast.Node, string, string, ...any)) {
	lit, ok := value.(*ast.StringNode)
	if !ok || lit.Value == "" {
		return
	}
	tag, ok := tagOf(fact)
	if !ok {
		return
	}
	if words := strings.Fields(tag.Get("enum")); len(words) > 0 && !slices.Contains(words, lit.Value) {
		say(value, orAll(lit.Value, words), "%s is never %q", fact, lit.Value)
	} else if tag.Get("case") == "lower" && lit.Value != strings.ToLower(lit.Value) {
		say(value, fmt.Sprintf("write %q", strings.ToLower(lit.Value)), "%s is never %q: it is in lower case", fact, lit.Value)
	}
}

// doubtKey looks at the key of a map whose keys are in lower case, or at what a list of known
// words is asked for.
func doubtKey(m *ast.MemberNode, key ast.Node, say func(ast.Node, string, string, ...any)) {
	lit, ok := key.(*ast.StringNode)
	if !ok {
		return
	}
	tag, ok := tagOf(m)
	if words := strings.Fields(tag.Get("enum")); len(words) > 0 && m.Type().Kind() == reflect.Slice && !slices.Contains(words, lit.Value) {
		say(key, orAll(lit.Value, words), "%s never has %q", m, lit.Value)
	}
	if lit.Value == strings.ToLower(lit.Value) || m.Type().Kind() != reflect.Map {
		return
	}
	if ok && tag.Get("case") == "lower" {
		say(key, fmt.Sprintf("write %q", strings.ToLower(lit.Value)), "%s never has %q: its names are in lower case", m, lit.Value)
	}
}

// tagOf finds the tag of the fact that n names.
func tagOf(n ast.Node) (reflect.StructTag, bool) {
	m, ok := n.(*ast.MemberNode)
	if !ok {
		return "", false
	}
	name, ok := m.Property.(*ast.StringNode)
	owner := m.Node.Type()
	if !ok || owner == nil || owner.Kind() != reflect.Struct {
		return "", false
	}
	return factTag(owner, name.Value)
}

func factTag(t reflect.Type, name string) (reflect.StructTag, bool) {
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("expr") == name {
			return f.Tag, true
		}
	}
	return "", false
}

// closedValues gives the words that a path like spf.result can have, nil when it is not
// closed. The empty text is always one of them.
func (v Vocabulary) closedValues(path string) []string {
	filter, fact, ok := strings.Cut(path, ".")
	facts, known := v[filter]
	if !ok || !known {
		return nil
	}
	tag, ok := factTag(reflect.TypeOf(facts), fact)
	words := strings.Fields(tag.Get("enum"))
	if !ok || len(words) == 0 {
		return nil
	}
	return append(words, "")
}
