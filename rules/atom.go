package rules

import (
	"reflect"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// An atom is what a leaf claims, as far as the linter understands it: that a value is one
// of some texts, or compares with a number, or is true.
type atom struct {
	path   string   // the value, as written
	values []string // it is one of these texts
	op     string   // or it compares so with number: == < <= > >=
	number float64
	negate bool // the leaf claims the opposite
}

// atomOf reads a leaf. What it does not understand is a truth value named by its text.
func atomOf(n ast.Node, text string) atom {
	b, ok := n.(*ast.BinaryNode)
	if !ok {
		return atom{path: text}
	}
	left, right, op := b.Left, b.Right, b.Operator
	if isLiteral(left) && !isLiteral(right) && op != "in" {
		left, right = right, left
		op = map[string]string{"<": ">", "<=": ">=", ">": "<", ">=": "<="}[op]
		if op == "" {
			op = b.Operator
		}
	}
	negate := op == "!="
	if negate {
		op = "=="
	}
	switch r := right.(type) {
	case *ast.StringNode:
		if op == "==" {
			return atom{path: left.String(), values: []string{r.Value}, negate: negate}
		}
	case *ast.BoolNode:
		if op == "==" && left.Type().Kind() == reflect.Bool {
			return atom{path: left.String(), negate: negate == r.Value}
		}
	case *ast.ArrayNode:
		if values, ok := texts(r); ok && op == "in" {
			return atom{path: left.String(), values: values}
		}
	case *ast.IntegerNode:
		return numberAtom(left, op, float64(r.Value), negate, text)
	case *ast.FloatNode:
		return numberAtom(left, op, r.Value, negate, text)
	}
	return atom{path: text}
}

func numberAtom(left ast.Node, op string, v float64, negate bool, text string) atom {
	if !strings.Contains(" == < <= > >= ", " "+op+" ") {
		return atom{path: text}
	}
	return atom{path: left.String(), op: op, number: v, negate: negate}
}

func isLiteral(n ast.Node) bool {
	switch n.(type) {
	case *ast.StringNode, *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		return true
	}
	return false
}

// texts gives the elements of a list of texts that is written out.
func texts(n *ast.ArrayNode) (out []string, ok bool) {
	for _, e := range n.Nodes {
		s, ok := e.(*ast.StringNode)
		if !ok {
			return nil, false
		}
		out = append(out, s.Value)
	}
	return out, len(out) > 0
}
