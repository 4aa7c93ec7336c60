package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A Source is one rule file.
type Source struct {
	Name string
	Text []byte
}

// Limits of a rule file. The YAML parser needs time quadratic in the nesting.
const (
	maxFile  = 1 << 20
	maxLine  = 16 << 10
	maxDepth = 500 // brackets open at once, in expressions too
	maxRules = 2000
)

// unusual is said of parts of YAML that have one thing stand for another.
const unusual = "anchors, aliases, tags and merge keys are not used in rule files"

// A reader turns one file into rules. It notes every mistake and goes on.
type reader struct {
	file       *text
	masked     map[place]scalar // lists of effects that are no YAML, by the place of their bracket
	errs       *Errors
	effects    []EffectSpec
	vocabulary Vocabulary
	shadow     bool // all of this file's rules are shadows
	gather     bool // … that ask for what they need
}

// A fileText is what one file holds, in its order: rules, or the word that the built-in
// ones stand here.
type fileText struct {
	rules   []ruleText
	builtin int // how many of rules come before the built-in ones; -1: not included
	tests   []Test
}

func (r *reader) fail(n ast.Node, msg, hint string) {
	p := n.GetToken().Position
	*r.errs = append(*r.errs, r.file.fault(place{p.Line, p.Column}, msg, hint))
}

func (r *reader) add(e *Error) { *r.errs = append(*r.errs, e) }

// read parses one file.
func (r *reader) read(src Source) (out fileText) {
	out.builtin = -1
	if msg, at := unfit(src.Text); msg != "" {
		r.add(r.file.fault(at, msg, ""))
		return out
	}
	root, err := parseYAML(r.mask(string(src.Text)))
	if err != nil {
		r.add(r.syntax(err))
		return out
	}
	if root == nil {
		return out
	}
	fields := r.fields(root, "a rule file", "include", "shadow", "gather", "rules", "tests")
	r.ofFile(fields)
	for _, f := range fields {
		switch f.key {
		case "include":
			if s, ok := r.scalar(f); ok && s.value != "builtin" {
				r.add(s.fault(0, fmt.Sprintf("cannot include %q", s.value), "only builtin can be included"))
			} else if ok {
				out.builtin = len(out.rules)
				if r.shadow {
					r.add(s.fault(0, "a file in the shadow cannot include the built-in rules", "they would be live: put include into another file"))
				}
			}
		case "rules":
			for _, n := range r.list(f) {
				out.rules = append(out.rules, r.rule(n))
			}
		case "tests":
			for _, n := range r.list(f) {
				out.tests = append(out.tests, r.test(n))
			}
		}
	}
	if len(out.rules) > maxRules {
		r.add(r.file.fault(place{1, 1}, fmt.Sprintf("more than %d rules in one file", maxRules), ""))
	}
	for at := range r.masked {
		r.add(r.file.fault(at, "a list of effects can only stand in a rule", ""))
	}
	return out
}

// ofFile reads what holds for all rules of the file.
func (r *reader) ofFile(fields []field) {
	for _, f := range fields {
		if f.key != "shadow" && f.key != "gather" {
			continue
		}
		s, ok := r.scalar(f)
		if !ok {
			continue
		}
		if f.key == "shadow" {
			r.shadow = r.flag(f.key, s)
		} else {
			r.gather = r.flag(f.key, s)
		}
	}
}

// unfit says why a text is not even given to the YAML parser.
func unfit(b []byte) (string, place) {
	if len(b) > maxFile {
		return fmt.Sprintf("the file is longer than %d KiB", maxFile>>10), place{1, 1}
	}
	line, start, depth := 1, 0, 0
	for i, c := range b {
		switch {
		case c == '\n':
			line, start = line+1, i+1
		case c == '[' || c == '{':
			depth++
		case (c == ']' || c == '}') && depth > 0:
			depth--
		case c == '\r' && (i+1 == len(b) || b[i+1] != '\n'): // YAML would see a line end there
			return "a carriage return without a line feed", place{line, i - start + 1}
		case c < ' ' && c != '\t' && c != '\r':
			return "a control character", place{line, i - start + 1}
		}
		if i-start > maxLine || depth > maxDepth {
			return "too long a line or too many open brackets", place{line, utf8.RuneCount(b[start:i]) + 1}
		}
	}
	if !utf8.Valid(b) {
		return "the file is not UTF-8", place{1, 1}
	}
	return "", place{}
}

// parseYAML gives the one document of a file, nil when it is empty. The parser is not
// trusted to be free of panics.
func parseYAML(s string) (root ast.Node, err error) {
	defer func() {
		if v := recover(); v != nil {
			root, err = nil, fmt.Errorf("the YAML parser gave up: %v", v)
		}
	}()
	f, err := parser.ParseBytes([]byte(s), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, err
	}
	for _, d := range f.Docs {
		if d.Body == nil {
			continue
		}
		if root != nil {
			return nil, errors.New("a rule file is one YAML document, not several")
		}
		root = d.Body
	}
	if root != nil && root.Type() == ast.CommentType {
		return nil, nil
	}
	return root, nil
}

var callsKey = regexp.MustCompile(`^[\t ]*(?:-[\t ]+)?([A-Za-z_]+):[\t ]*\[[\t ]*[a-z_]+\(`)

// likeEffects sees a list of calls, which is no YAML, below a key that is not effects.
func (r *reader) likeEffects(line int) *Error {
	if line < 1 || line > len(r.file.lines) {
		return nil
	}
	s := string(r.file.lines[line-1])
	m := callsKey.FindStringSubmatchIndex(s)
	if m == nil || s[m[2]:m[3]] == "effects" {
		return nil
	}
	key := s[m[2]:m[3]]
	return r.file.fault(place{line, m[2] + 1}, fmt.Sprintf("a rule has no key %q with a list of calls", key), didYouMean(key, []string{"effects"}))
}

// syntax turns the parser's error into ours.
func (r *reader) syntax(err error) *Error {
	var ye yaml.Error
	if errors.As(err, &ye) && ye.GetToken() != nil {
		p := ye.GetToken().Position
		if e := r.likeEffects(p.Line); e != nil {
			return e
		}
		return r.file.fault(place{p.Line, p.Column}, "YAML: "+ye.GetMessage(),
			"put a value with quotes, colons or # in it into quotes as a whole, or on its own lines below >-")
	}
	msg, _, _ := strings.Cut(err.Error(), "\n")
	return r.file.fault(place{1, 1}, "YAML: "+msg, "")
}

// A field is one key of a mapping with its value.
type field struct {
	key  string
	name ast.Node
	node ast.Node
}

// fields gives the pairs of a mapping in their order. Keys that are not in known, keys that
// come twice and empty values are mistakes.
func (r *reader) fields(n ast.Node, what string, known ...string) []field {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.fail(n, unusual, "")
		return nil
	default:
		r.fail(n, what+" is a list of keys with values", "")
		return nil
	}
	var out []field
	seen := make(map[string]bool)
	for _, p := range pairs {
		key, ok := p.Key.(*ast.StringNode)
		if !ok {
			r.fail(p.Key, unusual, "")
			continue
		}
		if known != nil && !contains(known, key.Value) {
			r.fail(key, fmt.Sprintf("%s has no key %q", what, key.Value), didYouMean(key.Value, known))
			continue
		}
		if seen[key.Value] {
			r.fail(key, fmt.Sprintf("key %q comes twice", key.Value), "")
			continue
		}
		seen[key.Value] = true
		if _, null := p.Value.(*ast.NullNode); p.Value == nil || null {
			r.fail(key, fmt.Sprintf("%q is empty", key.Value), "")
			continue
		}
		out = append(out, field{key.Value, key, p.Value})
	}
	return out
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func (r *reader) list(f field) []ast.Node {
	s, ok := f.node.(*ast.SequenceNode)
	if !ok {
		r.fail(f.node, fmt.Sprintf("%q is a list: each entry begins with a dash", f.key), "")
		return nil
	}
	return s.Values
}

func (r *reader) scalar(f field) (scalar, bool) {
	s, ok := newScalar(r.file, f.node)
	switch f.node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.fail(f.node, unusual, "")
	default:
		if !ok {
			r.fail(f.node, fmt.Sprintf("%q is a single value", f.key), "")
		}
	}
	return s, ok
}
