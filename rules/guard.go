package rules

import (
	"errors"
	"fmt"
	"reflect"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
)

// Limits of one expression. A running one cannot be stopped, so what could run long is
// refused when it is loaded.
const (
	maxSource  = 8 << 10
	maxNodes   = 500
	maxRegexp  = 1000
	maxInsts   = 2000 // instructions of a compiled regular expression
	maxNesting = 2    // predicates in predicates
	maxNested  = 3    // how many predicates may stand in another one
	maxRange   = 100
	maxConcat  = 16
	maxMemory  = 100_000 // units of the expression language's own budget
)

// A guard walks a parsed expression and finds what rules must not do.
type guard struct {
	c      *compiler
	nested int
	concat int
	lets   int
	err    *file.Error
}

func (g *guard) fail(n ast.Node, format string, args ...any) {
	if g.err == nil {
		g.err = &file.Error{Location: n.Location(), Message: fmt.Sprintf(format, args...)}
	}
}

// syntax looks at an expression before its types are known. Depth counts predicates.
func (g *guard) syntax(n ast.Node, depth int) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		if n.Value == "$env" {
			g.fail(n, "$env is not allowed: it hides which facts a rule reads")
		} else if _, ok := g.c.index[n.Value]; ok {
			g.fail(n, "%s is a group of facts: name one of them", n.Value)
		}
	case *ast.MemberNode:
		if g.member(n) {
			return
		}
	case *ast.CallNode:
		g.call(n, depth)
		return
	case *ast.BuiltinNode:
		g.builtin(n)
	case *ast.PredicateNode:
		if depth++; depth > 1 {
			g.nested++
		}
		if depth > maxNesting || g.nested > maxNested {
			g.fail(n, "too many conditions inside conditions")
		}
	case *ast.BinaryNode:
		g.binary(n)
	case *ast.VariableDeclaratorNode:
		g.lets++
	case *ast.SequenceNode:
		g.fail(n, "one expression only, no semicolon")
	case *ast.MapNode:
		g.fail(n, "maps cannot be written in rules")
	}
	for _, k := range children(n) {
		g.syntax(k, depth)
	}
}

// member handles filter.fact, the only way in which the name of a filter may stand.
func (g *guard) member(n *ast.MemberNode) (done bool) {
	if n.Method {
		g.fail(n, "facts have no methods")
	}
	id, ok := n.Node.(*ast.IdentifierNode)
	if !ok {
		return false
	}
	if _, ok := g.c.index[id.Value]; !ok {
		return false
	}
	if _, ok := n.Property.(*ast.StringNode); !ok {
		g.fail(n, "%s is a group of facts: name one of them", id.Value)
	}
	return true
}

// call handles the functions of ours, some of whose arguments must be written out.
func (g *guard) call(n *ast.CallNode, depth int) {
	id, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		g.fail(n, "facts have no methods")
		return
	}
	f, known := g.c.functions[id.Value]
	for i, a := range n.Arguments {
		g.syntax(a, depth)
		if !known || f.prepare == nil || i < f.literal {
			continue
		}
		if s, ok := a.(*ast.StringNode); ok {
			g.argument(a, f.prepare(g.c, i, s.Value))
		} else if f.literal > 0 {
			g.fail(a, "%s needs a text written in the rule here", id.Value)
		}
	}
	switch {
	case id.Value == "distance" && len(n.Arguments) > maxOwn+1:
		g.fail(n, "distance compares with at most %d names", maxOwn)
	case id.Value == "between" && len(n.Arguments) == 5 && g.err == nil:
		if from, to := n.Arguments[2].(*ast.StringNode), n.Arguments[3].(*ast.StringNode); from.Value == to.Value {
			g.fail(to, "this time of day is the one it begins at")
		}
	case id.Value == "age" && len(n.Arguments) == 1:
		g.sinceReceipt(n)
	}
}

// argument notes what is wrong with an argument.
func (g *guard) argument(n ast.Node, err error) {
	var h *hinted
	if errors.As(err, &h) && g.err == nil {
		g.c.hint = h.hint
	}
	if err != nil {
		g.fail(n, "%s", err)
	}
}

// sinceReceipt gives age the moment that it counts to.
func (g *guard) sinceReceipt(n *ast.CallNode) {
	if g.c.receivedAt() == nil {
		g.fail(n, "%s", errNoClock)
		return
	}
	at := n.Location()
	filter, fact := &ast.IdentifierNode{Value: "message"}, &ast.StringNode{Value: "received"}
	received := &ast.MemberNode{Node: filter, Property: fact}
	for _, part := range []ast.Node{filter, fact, received} {
		part.SetLocation(at)
	}
	n.Arguments = append(n.Arguments, received)
}

func (g *guard) builtin(n *ast.BuiltinNode) {
	if f, ok := g.c.functions[n.Name]; !ok || f.call != nil {
		g.fail(n, "%s cannot be used in rules", n.Name)
	}
	if n.Name != "date" && n.Name != "duration" {
		return
	}
	for _, a := range n.Arguments {
		s, ok := a.(*ast.StringNode)
		if !ok || len(n.Arguments) != 1 {
			g.fail(n, "%s needs one text written in the rule", n.Name)
			return
		}
		if n.Name == "duration" {
			if _, err := time.ParseDuration(s.Value); err != nil {
				g.fail(a, `%q is no span of time, as "36h" or "90m" is`, s.Value)
			}
			continue
		}
		_, err1 := time.Parse(time.DateOnly, s.Value)
		_, err2 := time.Parse(time.RFC3339, s.Value)
		if err1 != nil && err2 != nil {
			g.fail(a, `%q is no date, as "2026-12-01" or "2026-12-01T08:00:00+01:00" is`, s.Value)
		}
	}
}

func (g *guard) binary(n *ast.BinaryNode) {
	switch n.Operator {
	case "matches":
		s, ok := n.Right.(*ast.StringNode)
		if !ok {
			g.fail(n, "the pattern of matches must be a text written in the rule")
			return
		}
		if err := checkRegexp(s.Value); err != nil {
			g.fail(n.Right, "%s", err)
		}
	case "..":
		from, ok1 := n.Left.(*ast.IntegerNode)
		to, ok2 := n.Right.(*ast.IntegerNode)
		if !ok1 || !ok2 || to.Value-from.Value > maxRange {
			g.fail(n, "a range is written in numbers and has at most %d of them", maxRange)
		}
	case "**", "^":
		g.fail(n, "powers cannot be used in rules")
	}
}

func checkRegexp(s string) error {
	if len(s) > maxRegexp {
		return fmt.Errorf("a pattern has at most %d characters", maxRegexp)
	}
	re, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return err
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return err
	}
	if len(prog.Inst) > maxInsts {
		return fmt.Errorf("this pattern grows too big: use smaller repetitions")
	}
	return nil
}

// types looks at an expression whose types are known.
func (g *guard) types(n ast.Node) {
	switch n := n.(type) {
	case *ast.BinaryNode:
		if n.Operator == "+" && n.Type().Kind() == reflect.String {
			g.concat++
			if g.concat > maxConcat || g.lets > 0 {
				g.fail(n, "too much text put together: at most %d times +, and none with let", maxConcat)
			}
		}
	case *ast.MemberNode:
		if k := n.Type().Kind(); k == reflect.Func || k == reflect.Pointer || n.Node.Type() == timeType {
			g.fail(n, "facts have no methods")
		}
	case *ast.BuiltinNode:
		if n.Name == "string" && len(n.Arguments) == 1 && !plainKind(n.Arguments[0].Type().Kind()) {
			g.fail(n, "string needs a text, a number or a bool")
		}
	}
	for _, k := range children(n) {
		g.types(k)
	}
}

func plainKind(k reflect.Kind) bool {
	return k == reflect.String || k == reflect.Bool || k >= reflect.Int && k <= reflect.Float64 && k != reflect.Uintptr
}

// children gives the nodes directly below n.
func children(n ast.Node) []ast.Node {
	var out []ast.Node
	switch n := n.(type) {
	case *ast.UnaryNode:
		out = []ast.Node{n.Node}
	case *ast.BinaryNode:
		out = []ast.Node{n.Left, n.Right}
	case *ast.ChainNode:
		out = []ast.Node{n.Node}
	case *ast.MemberNode:
		out = []ast.Node{n.Node, n.Property}
	case *ast.SliceNode:
		out = []ast.Node{n.Node, n.From, n.To}
	case *ast.CallNode:
		out = append([]ast.Node{n.Callee}, n.Arguments...)
	case *ast.BuiltinNode:
		out = append(append(out, n.Arguments...), n.Map)
	case *ast.PredicateNode:
		out = []ast.Node{n.Node}
	case *ast.VariableDeclaratorNode:
		out = []ast.Node{n.Value, n.Expr}
	case *ast.SequenceNode:
		out = n.Nodes
	case *ast.ConditionalNode:
		out = []ast.Node{n.Cond, n.Exp1, n.Exp2}
	case *ast.ArrayNode:
		out = n.Nodes
	case *ast.MapNode:
		out = n.Pairs
	case *ast.PairNode:
		out = []ast.Node{n.Key, n.Value}
	}
	return slices.DeleteFunc(out, func(k ast.Node) bool { return k == nil })
}

// brackets tells whether s nests less deeply than could hurt the parser's recursion.
func brackets(s string) bool { return strings.Count(s, "(")+strings.Count(s, "[") <= maxDepth }
