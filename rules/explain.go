package rules

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	exprbuiltin "github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
)

var (
	unknownName  = regexp.MustCompile(`^unknown name (\S+)$`)
	unknownField = regexp.MustCompile(`^type .* has no (?:field|method) (\S+)$`)
)

// explain puts an error of the expression language into the words of rules: what is wrong,
// what may have been meant, and at which character.
func (c *compiler) explain(tree *parser.Tree, fe *file.Error) (msg, hint string, at int) {
	at = fe.From
	if m := unknownName.FindStringSubmatch(fe.Message); m != nil {
		if slices.Contains(exprbuiltin.Names, m[1]) {
			return fmt.Sprintf("%s cannot be used in rules", m[1]), "", at
		}
		return fmt.Sprintf("unknown name %s", m[1]), c.propose(m[1]), at
	}
	if m := unknownField.FindStringSubmatch(fe.Message); m != nil && tree != nil {
		if owner := ownerAt(tree.Node, at, m[1]); owner != nil {
			name := owner.String()
			if t := owner.Type(); t.Kind() == reflect.Struct && t != timeType {
				return fmt.Sprintf("%s has no fact %q", name, m[1]), didYouMean(m[1], factNames(t)), at
			}
			return fmt.Sprintf("%s is %s, it has no %q", name, typeName(owner.Type()), m[1]), "", at
		}
	}
	return tidy(fe.Message), "", at
}

// propose looks for a name like word among facts and functions.
func (c *compiler) propose(word string) string {
	names := append([]string{scoreWord}, c.names...)
	for name := range c.functions {
		names = append(names, name)
	}
	slices.Sort(names)
	if hint := didYouMean(word, names); hint != "" {
		return hint
	}
	for _, name := range c.names { // a fact without its group
		if slices.Contains(factNames(reflect.TypeOf(c.o.Vocabulary[name])), word) {
			return fmt.Sprintf("did you mean %s.%s?", name, word)
		}
	}
	return ""
}

// ownerAt finds the node whose member name is at the given place.
func ownerAt(n ast.Node, at int, name string) ast.Node {
	if m, ok := n.(*ast.MemberNode); ok {
		if p, ok := m.Property.(*ast.StringNode); ok && p.Value == name && m.Location().From == at {
			return m.Node
		}
	}
	for _, k := range children(n) {
		if owner := ownerAt(k, at, name); owner != nil {
			return owner
		}
	}
	return nil
}

var goType = regexp.MustCompile(`\b[a-z]+\.[A-Za-z]+Facts\b`)

// tidy removes Go's words from a message.
func tidy(msg string) string {
	msg, _, _ = strings.Cut(msg, "\n")
	msg = strings.TrimPrefix(msg, "compilation failed: ")
	msg = strings.ReplaceAll(msg, "unexpected token EOF", "the expression ends too early")
	msg = goType.ReplaceAllString(msg, "a group of facts")
	if r := []rune(msg); len(r) > 200 {
		msg = string(r[:200]) + "…"
	}
	return msg
}
