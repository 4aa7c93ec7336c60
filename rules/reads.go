package rules

import (
	"cmp"
	"slices"
)

// A ref names one fact of a filter.
type ref struct {
	filter int
	fact   string
}

func sortedRefs(list []ref) []ref {
	slices.SortFunc(list, func(a, b ref) int { return cmp.Or(a.filter-b.filter, cmp.Compare(a.fact, b.fact)) })
	return slices.Compact(list)
}

// Reads lists, sorted and by filter, the facts that rules read in their conditions and texts,
// shadow rules too. What is not among them need not be there for Replay.
func (p *Policy) Reads() map[string][]string {
	var all []ref
	for _, r := range p.rules {
		if r.when != nil {
			r.when.leaves(func(n *node) { all = append(all, n.leaf.facts...) })
		}
		for _, t := range r.texts() {
			for _, part := range t.parts {
				if part.expr != nil {
					all = append(all, part.expr.facts...)
				}
			}
		}
	}
	out := make(map[string][]string)
	for _, f := range sortedRefs(all) {
		name := p.names[f.filter]
		out[name] = append(out[name], f.fact)
	}
	return out
}

// texts are all templates of a rule.
func (r *rule) texts() []template {
	out := []template{r.because}
	if r.reply != nil {
		out = append(out, r.reply.text)
	}
	for _, e := range r.effects {
		out = append(out, e.args...)
	}
	return out
}

// Partial is what Facts may be besides: of some filters not every fact is there. What rests on
// a fact that is not there waits for it.
type Partial interface {
	Facts
	Partial() bool // false: Lacks need not be asked
	Lacks(filter, fact string) bool
}

const anyFilter = -1

// lacks reports whether the program reads a fact of the filter that is not there though the
// filter is.
func (e *evaluator) lacks(p *program, filter int) bool {
	if e.partial == nil {
		return false
	}
	lacking := func(i int, fact string) bool {
		return (filter == anyFilter || i == filter) && e.look(i).there && e.look(i).err == nil && e.partial.Lacks(e.p.names[i], fact)
	}
	for i := range p.facts {
		if f := &p.facts[i]; lacking(f.filter, f.fact) {
			return true
		}
	}
	for _, i := range p.errs {
		if lacking(i, "error") {
			return true
		}
	}
	return false
}

// index finds a filter by its name.
func (p *Policy) index(name string) (int, bool) { return slices.BinarySearch(p.names, name) }
