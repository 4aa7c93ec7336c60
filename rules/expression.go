package rules

import (
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	exprcompiler "github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/optimizer"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

var timeType = reflect.TypeOf(time.Time{})

// scoreWord is the one word that rules themselves provide.
const scoreWord = "score"

// tables are what functions look things up in; filled at load, then never changed.
type tables struct {
	networks   map[string]netip.Prefix
	lists      map[string]list
	extensions map[string]map[string]struct{}
	own        map[string]own
	likeness   *likeness // nil until distance is used
	days       map[string]days
	clocks     map[string]int // minutes
	zones      map[string]*time.Location
}

func newTables() tables {
	return tables{networks: make(map[string]netip.Prefix), lists: make(map[string]list), extensions: make(map[string]map[string]struct{}),
		own: make(map[string]own), days: make(map[string]days), clocks: make(map[string]int), zones: make(map[string]*time.Location)}
}

// A compiler holds what is needed while rules are compiled.
type compiler struct {
	tables
	o         Options
	names     []string       // of filters, sorted
	index     map[string]int // of a filter in names
	functions map[string]function
	config    *conf.Config
	errs      Errors
	hash      hash.Hash
	leaves    int
	doubted   []doubt // of the rule at hand
	hint      string  // of the mistake at hand
}

// setup prepares the expression language: typed facts, our functions, and of its own ones
// only those in the table.
func (c *compiler) setup() {
	env := map[string]any{scoreWord: float64(0)}
	for name, facts := range c.o.Vocabulary {
		env[name] = facts
	}
	c.config = conf.CreateNew()
	expr.Env(env)(c.config)
	expr.MaxNodes(maxNodes)(c.config)
	c.functions = make(map[string]function)
	t := &c.tables
	for _, f := range functions() {
		c.functions[f.Name] = f
		if f.call != nil {
			expr.Function(f.Name, func(args ...any) (any, error) { return f.call(t, args) }, f.kinds...)(c.config)
		}
	}
	for name := range c.config.Builtins {
		if f, ok := c.functions[name]; !ok || f.call != nil {
			c.config.Disabled[name] = true
			delete(c.config.Builtins, name)
		}
	}
}

// parse checks one expression: its syntax, what rules must not do, its types. It notes the
// first mistake.
func (c *compiler) parse(s scalar) (*parser.Tree, bool) {
	if len(s.value) > maxSource || !brackets(s.value) {
		c.fault(s, 0, fmt.Sprintf("an expression has at most %d KiB and %d brackets", maxSource>>10, maxDepth), "")
		return nil, false
	}
	c.hint = ""
	tree, err := c.parseChecked(s.value)
	if err == nil {
		return tree, true
	}
	var fe *file.Error
	if !errors.As(err, &fe) {
		msg, _, _ := strings.Cut(err.Error(), "\n")
		c.fault(s, 0, msg, "")
		return nil, false
	}
	msg, hint, at := c.explain(s.value, tree, fe)
	if hint == "" {
		hint = c.hint
	}
	if hint == "" && s.beforeComment() {
		hint = "YAML reads # after a blank as a comment: quote the whole of it"
	}
	c.fault(s, at, msg, hint)
	return nil, false
}

func (c *compiler) parseChecked(src string) (tree *parser.Tree, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("cannot be compiled: %v", v)
		}
	}()
	tree, err = parser.ParseWithConfig(src, c.config)
	if err != nil {
		return nil, err
	}
	g := guard{c: c}
	g.syntax(tree.Node, 0)
	if g.err == nil {
		if _, err = checker.Check(tree, c.config); err != nil {
			return tree, err
		}
		g.types(tree.Node)
	}
	if g.err != nil {
		return tree, g.err
	}
	return tree, nil
}

func (c *compiler) fault(s scalar, rune int, msg, hint string) {
	c.errs = append(c.errs, s.fault(rune, msg, hint))
}

// maxLeafText bounds what the trace of every message repeats.
const maxLeafText = 160

// A leaf is a piece of a condition that is evaluated as a whole.
type leaf struct {
	program
	text         string
	at           spot
	atom         atom
	mention      mention
	probes       []probe    // facts that it compares, and with what
	unknown      unanswered // what its rule makes of a filter without an answer
	off          string     // the filter that is not configured; then nothing is run
	dated        bool       // it asks whether message.received is in [since, until)
	since, until time.Time  // zero: no limit
}

// A program is an expression with the facts that it reads.
type program struct {
	vm    *vm.Program
	reads []int // filters whose facts it reads
	facts []ref // which of them, but for error
	errs  []int // filters of which it reads only the error
	score bool
	fixed set // its value when it is always the same; 0 when not
}

// program compiles one node and notes what is left to read after optimisation.
func (c *compiler) program(tree *parser.Tree, n ast.Node) (p program, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("cannot be compiled: %v", v)
		}
	}()
	if err := optimizer.Optimize(&n, c.config); err != nil {
		return p, err
	}
	c.note(&p, n)
	p.facts = sortedRefs(p.facts)
	slices.Sort(p.reads)
	p.reads = slices.Compact(p.reads)
	slices.Sort(p.errs)
	p.errs = slices.DeleteFunc(slices.Compact(p.errs), func(i int) bool { return slices.Contains(p.reads, i) })
	if b, ok := n.(*ast.BoolNode); ok {
		p.fixed = isFalse
		if b.Value {
			p.fixed = isTrue
		}
	}
	p.vm, err = exprcompiler.Compile(&parser.Tree{Node: n, Source: tree.Source}, c.config)
	return p, err
}

// note adds to p what n reads.
func (c *compiler) note(p *program, n ast.Node) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		if n.Value == scoreWord {
			p.score = true
		} else if i, ok := c.index[n.Value]; ok {
			p.reads = append(p.reads, i)
		}
	case *ast.MemberNode:
		id, ok := n.Node.(*ast.IdentifierNode)
		name, lit := n.Property.(*ast.StringNode)
		if i, known := 0, false; ok && lit && name.Value == "error" {
			if i, known = c.index[id.Value]; known {
				p.errs = append(p.errs, i)
				return
			}
		}
		if ok && lit {
			if i, known := c.index[id.Value]; known {
				p.facts = append(p.facts, ref{i, name.Value})
			}
		}
	}
	for _, k := range children(n) {
		c.note(p, k)
	}
}

// condition compiles an expression into a tree of and, or, not over leaves.
func (c *compiler) condition(s scalar) *node {
	tree, ok := c.parse(s)
	if !ok {
		return nil
	}
	c.doubted = c.doubts(s, tree.Node)
	return c.split(s, tree, tree.Node)
}

func (c *compiler) split(s scalar, tree *parser.Tree, n ast.Node) *node {
	switch x := n.(type) {
	case *ast.UnaryNode:
		if x.Operator == "not" || x.Operator == "!" {
			k := c.split(s, tree, x.Node)
			return k.negated()
		}
	case *ast.BinaryNode:
		switch x.Operator {
		case "and", "&&":
			l, r := c.split(s, tree, x.Left), c.split(s, tree, x.Right)
			return join(opAnd, l, r)
		case "or", "||":
			l, r := c.split(s, tree, x.Left), c.split(s, tree, x.Right)
			return join(opOr, l, r)
		}
	}
	if k := n.Type().Kind(); k != reflect.Bool {
		c.fault(s, n.Location().From, fmt.Sprintf("this is %s, not true or false", typeName(n.Type())), "")
		return nil
	}
	text := n.String()
	l := leaf{text: cut(text, maxLeafText), at: s.spot(leftmost(n)), atom: atomOf(n, text), probes: c.probes(n)}
	l.mention.of(c, n)
	var err error
	if l.program, err = c.program(tree, n); err != nil {
		msg, _, _ := strings.Cut(err.Error(), "\n")
		c.fault(s, n.Location().From, msg, "")
		return nil
	}
	if l.off = c.offName(l.program); l.off != "" {
		l.reads, l.errs, l.facts = nil, nil, nil
	}
	return c.newLeaf(l)
}

func (c *compiler) newLeaf(l leaf) *node {
	c.leaves++
	return &node{op: opLeaf, leaf: &l, number: c.leaves - 1}
}

// offName names a filter that p reads and that is not configured. Its error alone can be read:
// it is empty, for what was never tried has not failed.
func (c *compiler) offName(p program) string {
	for _, i := range p.reads {
		if slices.Contains(c.o.Off, c.names[i]) {
			return c.names[i]
		}
	}
	return ""
}
