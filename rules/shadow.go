package rules

import "slices"

// An Alternate is what would have become of a copy had the shadow rules been live. A shadow
// rule that could not be decided is left out of it.
type Alternate struct {
	Do      Disposition `json:"do"`
	Rule    string      `json:"rule"` // the shadow rule that it is owed to
	Because string      `json:"because"`
	Effects []string    `json:"effects,omitempty"` // names of those that shadow rules add
}

// wants lists the filters without whose facts one of the first n rules, a shadow rule, is not
// decided.
func (e *evaluator) wants(n int) (out []string) {
	for i, r := range e.p.rules[:n] {
		if !r.shadow || e.steps[i].state != waits {
			continue
		}
		for _, name := range e.waitingFor(r) {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// alternate walks the rules again with the shadow rules live; v is the verdict without them, n
// how many rules were looked at for it. It gives nil when nothing would be different.
func (e *evaluator) alternate(n int, v *Verdict) *Alternate {
	var spoke *rule
	for i, r := range e.p.rules[:n] {
		if spoke == nil && r.shadow && (e.speaks(i) || v.Do.final() && e.hangs(r)) {
			spoke = r
		}
	}
	if spoke == nil {
		return nil
	}
	live := e.score
	defer func() { e.score = live }()
	e.score = 0
	e.doubt = nil
	steps := slices.Clone(e.steps)
	a := Alternate{Do: Deliver, Because: noObjection}
	var scorer, adder string // the shadow rules that came last with a score, and with an effect
	for i, r := range e.p.rules {
		s := e.steps[i]
		if i >= n || scorer != "" || s.state == hinges { // not looked at before, or asking for what is different now
			s = e.again(r)
		}
		if steps[i] = s; s.state == matched && r.do.final() {
			s = e.certain(i, steps, true)
		}
		if s.state == waits && !r.shadow {
			return nil // nobody knows
		}
		if s.state == skipped || s.state == waits || s.state == matched && r.tripped {
			continue
		}
		if r.shadow && s.state == matched && len(r.effects) > 0 {
			adder = r.name
			for _, c := range r.effects {
				a.Effects = append(a.Effects, c.name)
			}
		}
		if s.state == matched && r.do == None {
			if e.score += r.score; r.shadow && r.score != 0 {
				scorer = r.name
			}
			continue
		}
		if a.Rule = scorer; r.shadow {
			a.Rule = r.name
		}
		var say Verdict
		e.say(&say, r, s.state)
		a.Do, a.Because = say.Do, say.Because
		break
	}
	switch {
	case a.Do != v.Do:
		if a.Rule == "" {
			a.Rule = scorer
		}
		if a.Rule == "" && e.doubt != nil { // nothing is refused for good behind it
			if a.Rule = spoke.name; e.doubt.shadow {
				a.Rule = e.doubt.name
			}
		}
	case a.Do == Deliver && adder != "":
		a.Rule = adder
	default:
		return nil
	}
	if a.Do != Deliver {
		a.Effects = nil
	}
	return &a
}

// speaks reports whether shadow rule i would have had a say.
func (e *evaluator) speaks(i int) bool {
	return e.steps[i].state != skipped && e.steps[i].state != waits
}

// again walks a rule with the score as it is now.
func (e *evaluator) again(r *rule) step {
	if r.when != nil {
		r.when.leaves(func(n *node) {
			if n.leaf.score {
				e.leaves[n.number] = notNeeded
			}
		})
	}
	return e.walk(r)
}
