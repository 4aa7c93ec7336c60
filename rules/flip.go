package rules

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
)

// A Flip is one change that would have led to another disposition: of a fact, where one could
// be named, else of a sub-expression of a rule.
type Flip struct {
	Fact  string      `json:"fact,omitempty"` // as rules name it
	From  string      `json:"from,omitempty"`
	To    string      `json:"to,omitempty"`
	Leaf  string      `json:"leaf"`  // the sub-expression that turns
	Value Truth       `json:"value"` // what it turns to
	Of    string      `json:"of"`    // the rule it stands in
	Do    Disposition `json:"do"`    // what the verdict is then
	Rule  string      `json:"rule"`  // and by which rule; "" when none objects
}

// String says it in one line.
func (f *Flip) String() string {
	change := fmt.Sprintf("%s being %s", f.Leaf, f.Value)
	if f.Fact != "" {
		change = fmt.Sprintf("%s: %s → %s", f.Fact, f.From, f.To)
	}
	by := "no rule objects"
	if f.Rule != "" {
		by = "rule " + f.Rule
	}
	return fmt.Sprintf("%s gives %s (%s)", change, f.Do, by)
}

// maxReplays bounds how often one search for flips decides.
const maxReplays = 500

// Flips looks for single changes after which the facts would lead to another disposition, at
// most so many, the likeliest first: in the rule that decided, else in the rules that were
// nearest to deciding. There is none when the facts do not suffice for a verdict.
func (p *Policy) Flips(f Facts, most int) []Flip {
	s := flipSearch{p: p, facts: f, most: most, left: maxReplays}
	v, missing := p.Replay(f)
	if missing != nil {
		return nil
	}
	s.do = v.Do
	for _, r := range s.order(v.Rule) {
		if r.when == nil {
			continue
		}
		r.when.leaves(func(n *node) {
			if len(s.found) < most && s.left > 0 && !n.leaf.score { // a sum turns by what is added to it
				s.leaf(r, n)
			}
		})
	}
	slices.SortStableFunc(s.found, func(a, b Flip) int { return rank(&a) - rank(&b) })
	return s.found
}

// rank puts what can be named before what can not.
func rank(f *Flip) int {
	if f.Fact == "" {
		return 1
	}
	return 0
}

type flipSearch struct {
	p     *Policy
	facts Facts
	do    Disposition // the verdict as it is
	most  int
	left  int
	found []Flip
}

// order gives the rules in which to look: the one that decided, then those in front of it, the
// nearest to a match first.
func (s *flipSearch) order(decided string) []*rule {
	e := s.p.pool.Get().(*evaluator)
	e.begin(s.facts)
	e.final = true
	defer e.release()
	end := e.course()
	var list []*rule
	near := make(map[*rule]int)
	for _, r := range s.p.rules[:end] {
		if r.shadow || r.when == nil {
			continue
		}
		list = append(list, r)
		r.when.leaves(func(n *node) {
			if e.leaf(n) == isTrue {
				near[r]++
			}
		})
	}
	slices.SortStableFunc(list, func(a, b *rule) int { return near[b] - near[a] })
	if decided != "" {
		list = append([]*rule{s.p.rules[end]}, list...)
	}
	return list
}

// leaf tries to turn one leaf: by another value of a fact, else by itself.
func (s *flipSearch) leaf(r *rule, n *node) {
	turned, ok := s.turn(n)
	if !ok {
		return // no matter what it says, or what it reads is not known
	}
	for i := range n.leaf.probes {
		if s.fact(r, n, &n.leaf.probes[i], turned.value == False) {
			return
		}
	}
	if turned.Do != s.do {
		s.add(Flip{Leaf: n.leaf.text, Value: turned.value, Of: r.name, Do: turned.Do, Rule: turned.Rule})
	}
}

type turnedTo struct {
	Verdict
	value Truth
}

// turn decides with the leaf saying the opposite. ok is false where nobody can know what then.
func (s *flipSearch) turn(n *node) (turnedTo, bool) {
	s.left--
	e := s.p.pool.Get().(*evaluator)
	e.begin(s.facts)
	e.final, e.shared = true, nil // what the others found out is not ours to change
	defer e.release()
	now := e.leaf(n)
	switch now {
	case isTrue:
		e.leaves[n.number] = saysFalse
	case isFalse:
		e.leaves[n.number] = saysTrue
	default:
		return turnedTo{}, false
	}
	v, missing := e.replay()
	return turnedTo{v, e.leaves[n.number].truth()}, missing == nil
}

// fact tries other values of the fact of a probe.
func (s *flipSearch) fact(r *rule, n *node, pr *probe, holds bool) bool {
	name := s.p.names[pr.filter]
	value, err, known := s.facts.Lookup(name)
	if !known || err != nil || lacking(s.facts, name, pr.fact) {
		return false
	}
	full := name + "." + pr.fact
	now, tag, ok := factField(reflect.ValueOf(value), pr.fact)
	if !ok || slices.ContainsFunc(s.found, func(f Flip) bool { return f.Fact == full }) {
		return false
	}
	for _, to := range s.p.alternatives(pr, now, tag, holds) {
		if s.left--; s.left < 0 {
			return false
		}
		other, ok := withFact(value, pr.fact, to)
		if !ok || reflect.DeepEqual(other, value) {
			continue
		}
		v, missing := s.p.Replay(changed{s.facts, name, other})
		if missing != nil || v.Do == s.do {
			continue
		}
		s.add(Flip{Fact: full, From: shown(now), To: shown(reflect.ValueOf(to)), Leaf: n.leaf.text, Value: s.truth(n, name, other),
			Of: r.name, Do: v.Do, Rule: v.Rule})
		return true
	}
	return false
}

func (s *flipSearch) add(f Flip) { s.found = append(s.found, f) }

// truth is what the leaf says of the changed fact.
func (s *flipSearch) truth(n *node, name string, value any) Truth {
	e := s.p.pool.Get().(*evaluator)
	e.begin(changed{s.facts, name, value})
	defer e.release()
	e.leaf(n)
	return e.leaves[n.number].truth()
}

// changed are facts with those of one filter replaced.
type changed struct {
	Facts
	name  string
	value any
}

func (c changed) Lookup(name string) (any, error, bool) {
	if name == c.name {
		return c.value, nil, true
	}
	return c.Facts.Lookup(name)
}

func (c changed) Partial() bool {
	p, ok := c.Facts.(Partial)
	return ok && p.Partial()
}

func (c changed) Lacks(filter, fact string) bool { return lacking(c.Facts, filter, fact) }

func lacking(f Facts, filter, fact string) bool {
	p, ok := f.(Partial)
	return ok && p.Partial() && p.Lacks(filter, fact)
}

// factField finds a fact by its name, with its tag.
func factField(v reflect.Value, fact string) (field reflect.Value, tag reflect.StructTag, ok bool) {
	if v.Kind() != reflect.Struct {
		return field, "", false
	}
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Tag.Get("expr") == fact && f.IsExported() {
			return v.Field(i), f.Tag, true
		}
	}
	return field, "", false
}

// withFact is a copy of facts with one of them set.
func withFact(value any, fact string, to any) (any, bool) {
	v := reflect.New(reflect.TypeOf(value)).Elem()
	v.Set(reflect.ValueOf(value))
	field, _, ok := factField(v, fact)
	if !ok {
		return nil, false
	}
	switch said := reflect.ValueOf(to); {
	case to == none:
		field.SetZero()
	case said.Kind() == field.Kind():
		field.Set(said.Convert(field.Type()))
	case said.CanInt() && field.CanInt():
		field.SetInt(said.Int())
	case said.CanInt() && field.CanFloat():
		field.SetFloat(float64(said.Int()))
	default:
		return nil, false
	}
	return v.Interface(), true
}

// shown writes a value for people.
func shown(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.String && v.String() == none:
		return "none"
	case v.Kind() == reflect.String && v.Len() == 0:
		return "empty"
	case v.Kind() == reflect.String:
		return show(v.String())
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Map:
		return strconv.Itoa(v.Len()) + " of them"
	}
	return show(v.Interface())
}
