package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"postern/filters"
	"postern/journal"
	"postern/rules"
)

// A pin is a test made of a past message.
type pin struct {
	name   string
	note   string
	facts  map[string]map[string]any // by filter; what is empty is left out
	do     string
	rule   *string  // nil: not compared
	lacks  []string // facts that rules read, and that nobody has kept
	hidden map[string]string
}

func newPin(e *journal.Entry, o *journal.Outcome, expect rules.Disposition) *pin {
	p := &pin{name: fmt.Sprintf("%s from <%s> to %s", e.ID, e.Envelope.Sender, o.Recipient), note: notKept(e), facts: map[string]map[string]any{}}
	said := saidBy(o)
	p.do = said[0]
	steered := o.Verdict == "deliver" // then the rule told may be an effect's
	if expect == rules.None || expect.String() == p.do {
		if !steered {
			p.rule = &said[1]
		}
	} else {
		p.do = expect.String()
	}
	vocabulary := filters.Vocabulary()
	for name, text := range told(e, o) {
		all := map[string]any{}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if vocabulary[name] == nil || d.Decode(&all) != nil {
			continue
		}
		known := factsInJSON(vocabulary[name])
		maps.DeleteFunc(all, func(fact string, v any) bool { return empty(v) || !known[fact] })
		prune(all)
		if len(all) > 0 {
			p.facts[name] = all
		}
	}
	return p
}

// empty reports whether a value is what a fact is when nobody sets it.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case json.Number:
		return v == "0"
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// prune leaves out lists that are empty within facts: the YAML of tests has no null.
func prune(v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			prune(x)
		}
	case map[string]any:
		maps.DeleteFunc(v, func(_ string, x any) bool {
			_, list := x.([]any)
			return x == nil || list && empty(x)
		})
		for _, x := range v {
			prune(x)
		}
	}
}

var localPart = regexp.MustCompile(`[\pL\pN.!#$%&'*+/=?^_{|}~-]+@`)

// anonymise leaves only the facts that rules read, and puts other names before each @: the same
// for the same.
func (p *pin) anonymise(reads map[string][]string) {
	p.hidden = map[string]string{}
	id, _, _ := strings.Cut(p.name, " ")
	p.name = id
	for filter, facts := range p.facts {
		maps.DeleteFunc(facts, func(fact string, _ any) bool { return fact != "error" && !slices.Contains(reads[filter], fact) })
		if len(facts) == 0 {
			delete(p.facts, filter)
		}
	}
	for _, filter := range slices.Sorted(maps.Keys(p.facts)) {
		for _, fact := range slices.Sorted(maps.Keys(p.facts[filter])) {
			p.facts[filter][fact] = p.hide(p.facts[filter][fact])
			if s, ok := p.facts[filter][fact].(string); ok && fact == "local" {
				p.facts[filter][fact] = p.other(s)
			}
		}
	}
}

func (p *pin) hide(v any) any {
	switch v := v.(type) {
	case string:
		return localPart.ReplaceAllStringFunc(v, func(s string) string { return p.other(strings.TrimSuffix(s, "@")) + "@" })
	case []any:
		for i := range v {
			v[i] = p.hide(v[i])
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			v[k] = p.hide(v[k])
		}
	}
	return v
}

func (p *pin) other(name string) string {
	if p.hidden[name] == "" {
		p.hidden[name] = fmt.Sprintf("user%d", len(p.hidden)+1)
	}
	return p.hidden[name]
}

// text is the test as an entry of a list in a rule file; each line begins with indent.
func (p *pin) text(indent string) string {
	var b strings.Builder
	in := indent + "  "
	if p.note != "" {
		fmt.Fprintf(&b, "%s# %s\n", indent, p.note)
	}
	fmt.Fprintf(&b, "%s- name: %s\n%sfacts:\n", indent, quoted(p.name), in)
	for _, filter := range slices.Sorted(maps.Keys(p.facts)) {
		fmt.Fprintf(&b, "%s  %s:\n", in, filter)
		for _, fact := range slices.Sorted(maps.Keys(p.facts[filter])) {
			writeYAML(&b, in+"    ", fact+":", p.facts[filter][fact])
		}
	}
	if len(p.facts) == 0 {
		fmt.Fprintf(&b, "%s  {}\n", in)
	}
	fmt.Fprintf(&b, "%sexpect: {do: %s", in, p.do)
	if p.rule != nil {
		fmt.Fprintf(&b, ", rule: %s", quoted(*p.rule))
	}
	b.WriteString("}\n")
	return b.String()
}

// writeYAML writes a value behind its key: on the same line where there is room, which is JSON,
// else an entry a line.
func writeYAML(w io.Writer, indent, key string, v any) {
	if line := flow(v); utf8.RuneCountInString(indent+key+line) < wide {
		fmt.Fprintf(w, "%s%s %s\n", indent, key, line)
		return
	}
	switch v := v.(type) {
	case []any:
		fmt.Fprintf(w, "%s%s\n", indent, key)
		for _, x := range v {
			writeYAML(w, indent+"  ", "-", x)
		}
	case map[string]any:
		first := indent + key + " "
		if key != "-" {
			fmt.Fprintf(w, "%s%s\n", indent, key)
			first = indent + "  "
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			writeYAML(w, first, quoted(k)+":", v[k])
			first = indent + "  "
		}
	default:
		fmt.Fprintf(w, "%s%s %s\n", indent, key, flow(v))
	}
}

// flow writes a value on one line.
func flow(v any) string {
	switch v := v.(type) {
	case string:
		return quoted(v)
	case []any:
		list := make([]string, len(v))
		for i := range v {
			list[i] = flow(v[i])
		}
		return "[" + strings.Join(list, ", ") + "]"
	case map[string]any:
		var list []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			list = append(list, quoted(k)+": "+flow(v[k]))
		}
		return "{" + strings.Join(list, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// quoted writes a text in double quotes, on one line, with nothing in it that is not seen.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
