package rules

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

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
func (c *compiler) explain(src string, tree *parser.Tree, fe *file.Error) (msg, hint string, at int) {
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
			if name == "#" {
				name = "the element"
			}
			if t := owner.Type(); t.Kind() == reflect.Struct && t != timeType {
				return fmt.Sprintf("%s has no fact %q", name, m[1]), didYouMean(m[1], factNames(t)), at
			}
			return fmt.Sprintf("%s is %s, it has no %q", name, typeName(owner.Type()), m[1]), "", at
		}
	}
	if name, from := calleeAt(src, at); tree == nil && name != "" && !c.isFunction(name) {
		return fmt.Sprintf("unknown name %s", name), c.propose(name), from
	}
	msg = tidy(fe.Message)
	return msg, remedy(msg), at
}

// remedy knows what to do about common mistakes.
func remedy(msg string) string {
	for _, r := range [][2]string{
		{`unexpected "="`, "compare with =="},
		{"literal not terminated", "a quotation mark is missing"},
		{"unrecognized character: U+201C", "use straight quotation marks"},
		{"array elements can only", `it is a list: write any(the list, .name == "x")`},
		{"(mismatched types list of", `it is a list: write "x" in the list, or any(the list, # == "x")`},
		{"predicate should be", `write a comparison, as in any(the list, .name == "x")`},
		{"(mismatched types duration", `write duration("36h")`},
		{"(mismatched types time and", `write date("2026-12-01")`},
		{"== (mismatched types bool and", "it is true or false by itself"},
	} {
		if strings.Contains(msg, r[0]) {
			return r[1]
		}
	}
	return ""
}

func (c *compiler) isFunction(name string) bool {
	_, ok := c.functions[name]
	return ok
}

// calleeAt finds the function in whose arguments a place is, and where its name begins: .name
// and # are only understood in those that take a condition, so a misspelled one is a mistake
// of syntax.
func calleeAt(src string, at int) (name string, from int) {
	runes := []rune(src)
	at = min(at, len(runes)-1)
	if at < 0 || runes[at] != '#' && runes[at] != '.' {
		return "", 0
	}
	open, depth := at, 0
	for ; open >= 0 && depth >= 0; open-- {
		switch runes[open] {
		case ')':
			depth++
		case '(':
			depth--
		}
	}
	end := open + 1
	for from = end; from > 0 && (unicode.IsLetter(runes[from-1]) || unicode.IsDigit(runes[from-1]) || runes[from-1] == '_'); from-- {
	}
	return string(runes[max(from, 0):max(end, 0)]), from
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

var unexpected = regexp.MustCompile(`^unexpected token [A-Za-z]+\((".*")\)`)

var goType = regexp.MustCompile(`\b[a-z]+\.[A-Za-z]+Facts\b`)

// tidy removes Go's words from a message.
func tidy(msg string) string {
	msg, _, _ = strings.Cut(msg, "\n")
	msg = strings.TrimPrefix(msg, "compilation failed: ")
	msg = strings.ReplaceAll(msg, "unexpected token EOF", "the expression ends too early")
	msg = unexpected.ReplaceAllString(msg, "unexpected $1")
	msg = goType.ReplaceAllString(msg, "a group of facts")
	msg = strings.NewReplacer("[]", "list of ", "map[string]", "map of ", "time.Time", "time", "time.Duration", "duration", "int64", "int",
		"float64", "float", "interface {}", "anything", "should return boolean", "should be true or false", "takes only array", "takes only a list").Replace(msg)
	if r := []rune(msg); len(r) > 200 {
		msg = string(r[:200]) + "…"
	}
	return msg
}
