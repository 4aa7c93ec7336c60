package rules

import (
	"fmt"
	"strings"
)

// An EffectSpec is an effect that the gateway offers to rules.
type EffectSpec struct {
	Name   string
	Params []Param
	Doc    string // what it does, for the reference
}

// A Param is one parameter of an effect. Its arguments are checked when the rules are loaded.
type Param struct {
	Name     string
	Text     bool                                      // may show facts between {{ and }}: for texts that people read, nothing else
	Optional bool                                      // this one and those behind it may be left out
	Many     bool                                      // the last one may come several times
	Check    func(value string) (problem, hint string) // of the argument as written; problem is "" when it is good
}

// Usage shows how the effect is written: notify(address, [text]).
func (e *EffectSpec) Usage() string {
	names := make([]string, len(e.Params))
	for i, p := range e.Params {
		switch names[i] = p.Name; {
		case p.Optional:
			names[i] = "[" + p.Name + "]"
		case p.Many:
			names[i] += ", …"
		}
	}
	return e.Name + "(" + strings.Join(names, ", ") + ")"
}

// OneOf checks that an argument is one of some words.
func OneOf(words ...string) func(string) (problem, hint string) {
	return func(s string) (string, string) {
		if contains(words, s) {
			return "", ""
		}
		return fmt.Sprintf("%q is none of: %s", s, strings.Join(words, ", ")), didYouMean(s, words)
	}
}

// checkCall compares a call with what the gateway offers.
func (r *reader) checkCall(c callText) {
	var names []string
	for i := range r.effects {
		spec := &r.effects[i]
		if names = append(names, spec.Name); spec.Name == c.name.value {
			r.checkArgs(spec, c)
			return
		}
	}
	r.add(c.name.fault(0, fmt.Sprintf("unknown effect %q", c.name.value), orAll(c.name.value, names)))
}

func (r *reader) checkArgs(spec *EffectSpec, c callText) {
	least, most := 0, len(spec.Params)
	for _, p := range spec.Params {
		if p.Many {
			most = maxArguments
		}
		if !p.Optional {
			least++
		}
	}
	if n := len(c.args); n < least || n > most {
		want := fmt.Sprint(least)
		if most > least {
			want = fmt.Sprintf("%d to %d", least, most)
		}
		r.add(c.name.fault(0, fmt.Sprintf("%s takes %s, not %d", spec.Name, want, n), "write "+spec.Usage()))
	}
	for i, a := range c.args {
		if len(spec.Params) == 0 {
			return
		}
		p := &spec.Params[min(i, len(spec.Params)-1)]
		if !p.Text && strings.Contains(a.value, "{{") {
			r.add(a.fault(0, fmt.Sprintf("the %s of %s is fixed: it cannot show facts", p.Name, spec.Name), "what a sender wrote must not choose it"))
			continue
		}
		if p.Check == nil {
			continue
		}
		if problem, hint := p.Check(a.value); problem != "" {
			r.add(a.fault(0, problem, hint))
		}
	}
}

// maxArguments bounds the arguments of one effect.
const maxArguments = 50
