package rules

import (
	"slices"
	"strings"
)

// BreakerHeader is added to mail that a rule would have kept back, were its breaker not open.
const BreakerHeader = "X-Postern-Breaker"

// Tripped gives this policy with the breakers of some rules open: they are looked at, and
// waited for, as ever, but a match is only tagged, and the walk goes on. What they cannot decide
// since a filter gave no answer is put off or held as ever: an outage opens no way in. The
// version says which, since the same facts may now lead to another verdict.
func (p *Policy) Tripped(names []string) *Policy {
	if len(names) == 0 {
		return p
	}
	q := newPolicy(p.compiled)
	q.rules = slices.Clone(p.rules)
	for i, r := range q.rules {
		if slices.Contains(names, r.name) && r.do != None {
			open := *r
			open.tripped = true
			q.rules[i] = &open
		}
	}
	q.version += "!" + strings.Join(names, ",")
	return q
}

// trip notes that a rule matched whose breaker is open.
func (v *Verdict) trip(rule string) {
	v.Breaker = append(v.Breaker, rule)
	v.Effects = append(v.Effects, Effect{Name: "add_header", Args: []string{BreakerHeader, rule}})
}

// Classes are what a verdict can be about.
func Classes() []string { return classes() }

// Alone gives a policy of one of the rules, as if no other were there; of none when there is no
// such rule. It is for finding out what a rule costs.
func (p *Policy) Alone(name string) *Policy {
	q := newPolicy(p.compiled)
	q.rules = nil
	for _, r := range p.rules {
		if r.name == name {
			live := *r
			live.shadow = false
			q.rules = []*rule{&live}
		}
	}
	q.version += "!" + name + " alone"
	return q
}
