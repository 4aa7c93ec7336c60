package main

import (
	"slices"
	"time"

	"postern/journal"
	"postern/review"
	"postern/rules"
)

// desked proves of every page what the Desk tells of its decisions: explain says what the journal
// says, the rule that decided is marked and none behind it was asked, and a rule drafted from each
// message loads and matches that very message. The numbers are those of the journal.
func (s *scene) desked(o *outcome) {
	d := newDeskRules(s.program)
	copies := map[string]int{}
	for _, e := range o.entries {
		s.explainedAlike(d, e)
		s.drafted(d, e)
		seen := map[string]bool{}
		for i := range e.Outcomes {
			if do := e.Outcomes[i].Do; !seen[do] {
				seen[do] = true
				copies[do]++
			}
		}
	}
	hours, _, err := s.program.tally.Between(s.Context(), time.Time{}, time.Now().Add(time.Hour), nil)
	s.must(err)
	counted := map[string]int{}
	for i := range hours {
		c := &hours[i].Counts
		counted["deliver"] += c.Delivered
		counted["quarantine"] += c.Held
		counted["reject"] += c.Refused
		counted["defer"] += c.Deferred
		counted["discard"] += c.Discarded
	}
	for do, n := range counted {
		if copies[do] != n {
			s.Errorf("%d messages count as %s, the journal has %d", n, do, copies[do])
		}
	}
}

func (s *scene) explainedAlike(d *deskRules, e *journal.Entry) {
	list, err := d.Explain(s.Context(), e.ID, nil)
	s.must(err)
	n := 0
	for i := range e.Outcomes {
		x := &e.Outcomes[i]
		if len(x.Rules) == 0 {
			continue
		}
		if n == len(list) {
			s.Errorf("%s: only %d copies are explained", e.ID, n)
			return
		}
		c := list[n]
		n++
		said := saidBy(x)
		steered := x.Verdict == "deliver"
		if c.Recipient != x.Recipient.String() || c.Do != said[0] || !steered && c.Rule != said[1] {
			s.Errorf("%s: explained as %s by %q for %s, the journal has %s", e.ID, c.Do, c.Rule, c.Recipient, said)
		}
		decided := slices.IndexFunc(c.Steps, func(t review.ExplainedStep) bool { return t.Decided })
		if (decided >= 0) != (c.Rule != "") || decided >= 0 && c.Steps[decided].Rule != c.Rule {
			s.Errorf("%s: step %d decided, the rule is %q", e.ID, decided, c.Rule)
		}
		for j, t := range c.Steps {
			if (t.Result == review.StepNotAsked) != (decided >= 0 && j > decided) || c.Gone == "" && t.Place == "" {
				s.Errorf("%s: step %d of %d is %s at %q, number %d decided", e.ID, j, len(c.Steps), t.Result, t.Place, decided)
			}
		}
		if c.Gone == "" {
			s.decidedAlike(d, e, x)
		}
	}
}

// decidedAlike has the rules of then decide again.
func (s *scene) decidedAlike(d *deskRules, e *journal.Entry, x *journal.Outcome) {
	j, err := d.rulesOf(s.Context(), e.Policy)
	s.must(err)
	v, missing := s.again(j, e.ID, x)
	if said := saidBy(x); missing == nil && (v.Do.String() != said[0] || x.Verdict != "deliver" && v.Rule != said[1]) {
		s.Errorf("%s: decided again %s by %q, not %s", e.ID, v.Do, v.Rule, said)
	}
}

func (s *scene) again(j *judge, id string, x *journal.Outcome) (v rules.Verdict, missing []string) {
	rec, err := s.program.journal.Look(s.Context(), id)
	s.must(err)
	facts := newStoredFacts(newFactReader(j.filters, nil))
	facts.entry(rec)
	for o := range rec.Each() {
		if o.Recipient.Text() == x.Recipient.String() {
			s.must(facts.recipient(o))
			v, missing = j.policy.Replay(facts)
		}
	}
	return v, missing
}

// drafted makes a rule of the message and asks the rules with it about that message.
func (s *scene) drafted(d *deskRules, e *journal.Entry) {
	if !slices.ContainsFunc(e.Outcomes, func(x journal.Outcome) bool { return len(x.Rules) > 0 }) {
		return
	}
	_, x, err := d.judged(s.Context(), e.ID, nil)
	s.must(err)
	draft, err := d.Draft(s.Context(), e.ID, nil)
	s.must(err)
	live := d.p.policy.current()
	p, problems, err := d.plan(live, draft.Files)
	s.must(err)
	if problems != nil {
		s.Errorf("%s: the draft of a rule: %v", e.ID, problems)
		return
	}
	t, c := d.look(p, live)
	if c == nil || len(t.New) != 1 || len(t.Changed)+len(t.Gone) > 0 {
		s.Errorf("%s: the draft of a rule: %+v\n%s", e.ID, t, draft.Files[len(draft.Files)-1].Text)
		return
	}
	v, missing := s.again(&judge{policy: c.rules.Alone(t.New[0]), filters: c.filters}, e.ID, x)
	if missing == nil && v.Rule != t.New[0] {
		s.Errorf("%s: the drafted rule does not match the message that it was made of:\n%s", e.ID, draft.Files[0].Text)
	}
	v, missing = s.again(&judge{policy: c.rules, filters: c.filters}, e.ID, x)
	if missing == nil && v.Rule != t.New[0] && e.Policy == live.rules.Version() {
		s.Errorf("%s: the drafted rule stands where %s decides before it:\n%s: %s", e.ID, v.Rule, draft.Files[0].Name, draft.Files[0].Text)
	}
}
