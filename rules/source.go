package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
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

// ruleText is a rule as it stands in its file, before its expressions are compiled.
type ruleText struct {
	at             scalar // its name, or where it begins
	name           string
	when           scalar
	class          string
	do             Disposition
	because, reply scalar
	effects        []callText
	score          float64
	shadow         bool
	from, until    time.Time
}

// callText is one effect as it is written: a name and its arguments.
type callText struct {
	name scalar
	args []scalar
}

// unusual is said of parts of YAML that have one thing stand for another.
const unusual = "anchors, aliases, tags and merge keys are not used in rule files"

// A reader turns one file into rules. It notes every mistake and goes on.
type reader struct {
	file       *text
	masked     map[place]scalar // lists of effects that are no YAML, by the place of their bracket
	errs       *Errors
	effects    []EffectSpec
	vocabulary Vocabulary
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
	for _, f := range r.fields(root, "a rule file", "include", "rules", "tests") {
		switch f.key {
		case "include":
			if s, ok := r.scalar(f); ok && s.value != "builtin" {
				r.add(s.fault(0, fmt.Sprintf("cannot include %q", s.value), "only builtin can be included"))
			} else if ok {
				out.builtin = len(out.rules)
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

// syntax turns the parser's error into ours.
func (r *reader) syntax(err error) *Error {
	var ye yaml.Error
	if errors.As(err, &ye) && ye.GetToken() != nil {
		p := ye.GetToken().Position
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

var ruleName = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$`)

// classes are what a verdict can be about; rights and digests go by them.
func classes() []string {
	return []string{"virus", "spoof", "malformed", "attachment", "spam", "policy"}
}

// rule reads one entry of rules.
func (r *reader) rule(n ast.Node) ruleText {
	var out ruleText
	p := n.GetToken().Position
	out.at = scalar{file: r.file, places: []place{{p.Line, p.Column}}}
	had, before := make(map[string]bool), len(*r.errs)
	for _, f := range r.fields(n, "a rule", "name", "when", "class", "do", "because", "reply", "effects",
		"score", "shadow", "from", "until") {
		had[f.key] = true
		if f.key == "effects" {
			out.effects = r.effectList(f.node)
			continue
		}
		s, ok := r.scalar(f)
		if !ok {
			continue
		}
		r.setRule(&out, f.key, s)
	}
	if out.class == "" {
		out.class = "policy"
	}
	if len(*r.errs) == before { // else a key may only be misspelled
		r.complete(&out, had)
	}
	return out
}

// complete looks for what is missing in a rule, and for keys that do not go together.
func (r *reader) complete(out *ruleText, had map[string]bool) {
	for _, key := range []string{"name", "when"} {
		if !had[key] {
			r.add(out.at.fault(0, fmt.Sprintf("a rule needs %q", key), ""))
		}
	}
	switch {
	case had["do"] && had["score"]:
		r.add(out.at.fault(0, "a rule has do or score, not both", "a score is for a rule that goes on to the next"))
	case !had["do"] && !had["score"] && !had["effects"]:
		r.add(out.at.fault(0, "a rule needs do, score or effects", "else it does nothing"))
	case had["reply"] && !had["do"]:
		r.add(out.reply.fault(0, "a reply needs do", "only the rule that decides can answer"))
	}
	if !out.from.IsZero() && !out.until.IsZero() && !out.from.Before(out.until) {
		r.add(out.at.fault(0, "until is not after from", ""))
	}
}

// setRule stores one plain value of a rule.
func (r *reader) setRule(out *ruleText, key string, s scalar) {
	var err error
	switch key {
	case "name":
		out.name, out.at = s.value, s
		if !ruleName.MatchString(s.value) {
			r.add(s.fault(0, fmt.Sprintf("%q is no name for a rule", s.value), "a name has up to 64 of a-z, 0-9 and -"))
		}
	case "when":
		out.when = s
	case "because":
		out.because = s
	case "reply":
		out.reply = s
	case "class":
		out.class = s.value
		if !contains(classes(), s.value) {
			r.add(s.fault(0, fmt.Sprintf("unknown class %q", s.value), orAll(s.value, classes())))
		}
	case "do":
		if err = out.do.UnmarshalText([]byte(s.value)); err != nil || out.do == None {
			r.add(s.fault(0, fmt.Sprintf("unknown do %q", s.value), orAll(s.value, dispositions[1:])))
		}
	case "score":
		out.score, err = strconv.ParseFloat(s.value, 64)
		if err != nil || out.score < -1000 || out.score > 1000 || out.score != out.score {
			r.add(s.fault(0, fmt.Sprintf("%q is no score", s.value), "a score is a number from -1000 to 1000"))
			out.score = 0
		}
	case "shadow":
		if out.shadow = s.value == "true"; !out.shadow && s.value != "false" {
			r.add(s.fault(0, "shadow is true or false", ""))
		}
	case "from":
		out.from = r.date(s)
	case "until":
		out.until = r.date(s)
	}
}

// orAll proposes the nearest candidate, or names them all.
func orAll(word string, candidates []string) string {
	if hint := didYouMean(word, candidates); hint != "" {
		return hint
	}
	return "it is one of " + strings.Join(candidates, ", ")
}

// date reads a day (its first moment, UTC) or a moment with its zone.
func (r *reader) date(s scalar) time.Time {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s.value); err == nil {
			return t
		}
	}
	r.add(s.fault(0, fmt.Sprintf("%q is no date", s.value), "write 2026-12-01 or 2026-12-01T08:00:00+01:00"))
	return time.Time{}
}
