package rules

import (
	"slices"

	"github.com/expr-lang/expr/ast"
)

// A mention is what a leaf speaks of, for the linter.
type mention struct {
	facts  []string // spf.result, content.from; .domain of an element
	texts  []string // written in the rule
	calls  []string // functions
	breaks bool     // it can fail while it runs: a list may be too short
}

func (m *mention) of(c *compiler, n ast.Node) {
	switch n := n.(type) {
	case *ast.StringNode:
		m.texts = append(m.texts, n.Value)
		return
	case *ast.MemberNode:
		name, ok := n.Property.(*ast.StringNode)
		if !ok {
			m.breaks = true
			break
		}
		id, isName := n.Node.(*ast.IdentifierNode)
		if isName {
			if _, isFilter := c.index[id.Value]; isFilter {
				m.facts = append(m.facts, id.Value+"."+name.Value)
				return
			}
		}
		m.facts = append(m.facts, "."+name.Value)
		m.of(c, n.Node)
		return
	case *ast.SliceNode:
		m.breaks = true
	case *ast.BinaryNode:
		m.breaks = m.breaks || n.Operator == "%"
	case *ast.BuiltinNode:
		m.breaks = m.breaks || n.Name == "int" || n.Name == "float" || n.Name == "max" || n.Name == "min"
	case *ast.CallNode:
		m.calls = append(m.calls, n.Callee.String())
	}
	for _, k := range children(n) {
		m.of(c, k)
	}
}

// names tells whether one of the facts is spoken of.
func (m *mention) names(facts ...string) bool {
	return slices.ContainsFunc(facts, func(f string) bool { return slices.Contains(m.facts, f) })
}

// leftmost finds where an expression begins.
func leftmost(n ast.Node) int {
	from := n.Location().From
	for _, k := range children(n) {
		from = min(from, leftmost(k))
	}
	return from
}
