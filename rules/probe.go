package rules

import (
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// A probe is a fact that a leaf looks at, with the values that rules compare it with: what to
// try when somebody asks which change would turn the leaf.
type probe struct {
	ref
	values []any // string, int, float64
}

// probes finds the facts in a condition and what they are compared with.
func (c *compiler) probes(n ast.Node) (out []probe) {
	add := func(f ref, values ...any) {
		for i := range out {
			if out[i].ref == f {
				out[i].values = append(out[i].values, values...)
				return
			}
		}
		out = append(out, probe{f, values})
	}
	var walk func(ast.Node)
	walk = func(n ast.Node) {
		if f, ok := c.factOf(n); ok {
			add(f)
			return
		}
		kids := children(n)
		for _, k := range kids {
			f, ok := c.factOf(k)
			if !ok {
				walk(k)
				continue
			}
			add(f)
			if comparison(n) {
				for _, other := range kids {
					add(f, literals(other)...)
				}
			}
		}
	}
	walk(n)
	return out
}

// comparison reports whether n compares with plain values, not with patterns or names of files.
func comparison(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.BinaryNode:
		return n.Operator != "matches"
	case *ast.CallNode:
		id, ok := n.Callee.(*ast.IdentifierNode)
		return ok && (id.Value == "hasWord" || id.Value == "isSubdomain")
	}
	return false
}

// factOf reports whether n is filter.fact.
func (c *compiler) factOf(n ast.Node) (ref, bool) {
	m, ok := n.(*ast.MemberNode)
	if !ok {
		return ref{}, false
	}
	id, ok := m.Node.(*ast.IdentifierNode)
	if !ok {
		return ref{}, false
	}
	i, known := c.index[id.Value]
	name, lit := m.Property.(*ast.StringNode)
	if !known || !lit || name.Value == "error" {
		return ref{}, false
	}
	return ref{i, name.Value}, true
}

// literals are the plain values in a node, or in the list that it is.
func literals(n ast.Node) (out []any) {
	switch n := n.(type) {
	case *ast.StringNode:
		out = []any{n.Value}
	case *ast.IntegerNode:
		out = []any{n.Value}
	case *ast.FloatNode:
		out = []any{n.Value}
	case *ast.ArrayNode:
		for _, k := range n.Nodes {
			out = append(out, literals(k)...)
		}
	}
	return out
}

// maxTried is how many values of one fact are tried.
const maxTried = 12

// alternatives are other values that a fact could have had: those that this leaf compares it
// with, then those that other rules do or that its tag enum lists. holds: the leaf is true now.
func (p *Policy) alternatives(pr *probe, now reflect.Value, tag reflect.StructTag, holds bool) []any {
	var out []any
	add := func(v any) {
		if len(out) < maxTried && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	values := slices.Clone(pr.values)
	p.eachProbe(func(o *probe) {
		if o.ref == pr.ref {
			values = append(values, o.values...)
		}
	})
	switch now.Kind() {
	case reflect.Bool:
		add(!now.Bool())
	case reflect.String:
		words := strings.Fields(tag.Get("enum"))
		if slices.Contains(words, "pass") { // what people hope for comes first
			add("pass")
		}
		if holds && len(words) == 0 {
			add(other)
		}
		for _, v := range values {
			if s, ok := v.(string); ok {
				add(s)
			}
		}
		for _, w := range words {
			add(w)
		}
		if len(words) == 0 {
			add(other)
			add("")
		}
	case reflect.Slice, reflect.Map:
		if now.Len() > 0 {
			add(none)
		}
	default:
		for _, v := range values {
			if n, ok := v.(int); ok {
				add(n)
				add(n - 1)
				add(n + 1)
			}
		}
		add(0)
	}
	return out
}

// none stands for an empty list, other for a text that rules do not name.
const (
	none  = "\x00none"
	other = "something else"
)

func (p *Policy) eachProbe(f func(*probe)) {
	for _, r := range p.rules {
		if r.when != nil {
			r.when.leaves(func(n *node) {
				for i := range n.leaf.probes {
					f(&n.leaf.probes[i])
				}
			})
		}
	}
}
