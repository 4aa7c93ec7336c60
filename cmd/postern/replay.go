package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/filters"
	"postern/journal"
	"postern/review"
	"postern/rules"
)

// A replay decides again, under other rules, what the journal tells of.
type replay struct {
	policy   *rules.Policy
	facts    *storedFacts
	report   *replayReport
	regather func(ctx context.Context, rec *journal.Record, o *journal.RecordOutcome, missing []string) map[string]any // nil: never
	sight    review.Sight                                                                                              // whose copies are looked at; nil: everybody's
	examples int                                                                                                       // of each change
	matched  func(rec *journal.Record, o *journal.RecordOutcome, v *rules.Verdict)                                     // told of each decision; nil: nobody
	groups   map[changeKey]*changeGroup
	missing  map[string]int
}

// A replayReport is what would be different.
type replayReport struct {
	Rules          string         `json:"rules"` // version of the rule set
	Since          time.Time      `json:"since,omitzero"`
	Messages       int            `json:"messages"`
	Decisions      int            `json:"decisions"` // one for each recipient whom the rules were asked about
	Unchanged      int            `json:"unchanged"`
	OtherRule      int            `json:"by_another_rule"` // of the unchanged: the same, but by another rule
	Held           int            `json:"newly_held"`
	Delivered      int            `json:"newly_delivered"`
	Refused        int            `json:"newly_refused"`
	Deferred       int            `json:"newly_deferred"`
	Discarded      int            `json:"newly_discarded"`
	Effects        int            `json:"other_effects"` // delivered as before, but with other changes on the way
	Undecidable    int            `json:"undecidable"`
	GatheredAgain  int            `json:"gathered_again"` // messages whose filters ran again
	Damaged        int            `json:"damaged"`        // entries that could not be read
	Changes        []*changeGroup `json:"changes"`        // by rule, the most frequent first
	Missing        []missingFact  `json:"missing"`        // what the undecidable hang on
	Contradictions int            `json:"contradictions"` // the same rules said otherwise then: a fault of ours
}

type changeKey struct{ was, wasRule, would, rule, effects string }

// A changeGroup is the decisions that change in the same way.
type changeGroup struct {
	Was      string          `json:"was"`
	WasRule  string          `json:"was_rule"`
	Would    string          `json:"would_be"`
	Rule     string          `json:"rule"`
	Effects  []string        `json:"effects,omitempty"` // that are added; of other effects: +those that come and -those that go
	Count    int             `json:"count"`
	Examples []changeExample `json:"examples"`
}

type changeExample struct {
	ID        string    `json:"id"`
	Received  time.Time `json:"received"`
	Sender    string    `json:"sender"`
	Recipient string    `json:"recipient"`
	Subject   string    `json:"subject"`
	Because   string    `json:"because"`
}

type missingFact struct {
	Fact  string `json:"fact"`
	Count int    `json:"count"`
}

// Bounds of what a report holds.
const (
	maxExamples = 3
	maxGroups   = 1000
)

func newReplay(policy *rules.Policy, fs []filters.Filter) *replay {
	return &replay{policy: policy, facts: newStoredFacts(newFactReader(fs, policy.Reads())), report: &replayReport{Rules: policy.Version()},
		examples: maxExamples, groups: map[changeKey]*changeGroup{}, missing: map[string]int{}}
}

// run decides every entry since then again.
func (p *replay) run(ctx context.Context, j *journal.Store, since time.Time) (*replayReport, error) {
	p.report.Since = since
	if err := j.Scan(ctx, since, time.Time{}, func(rec *journal.Record) error {
		p.entry(ctx, rec)
		return ctx.Err()
	}); err != nil {
		return nil, err
	}
	return p.done(), nil
}

// done puts the report in order.
func (p *replay) done() *replayReport {
	r := p.report
	r.Changes, r.Missing = []*changeGroup{}, []missingFact{}
	for _, g := range p.groups {
		r.Changes = append(r.Changes, g)
	}
	slices.SortFunc(r.Changes, func(a, b *changeGroup) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Would+a.Rule+a.Was+a.WasRule, b.Would+b.Rule+b.Was+b.WasRule), slices.Compare(a.Effects, b.Effects))
	})
	for fact, n := range p.missing {
		r.Missing = append(r.Missing, missingFact{fact, n})
	}
	slices.SortFunc(r.Missing, func(a, b missingFact) int { return cmp.Or(b.Count-a.Count, strings.Compare(a.Fact, b.Fact)) })
	return r
}

// entry decides for each recipient whom the rules were asked about.
func (p *replay) entry(ctx context.Context, rec *journal.Record) {
	p.facts.entry(rec)
	first, seen := true, p.sight == nil
	defer func() {
		if seen {
			p.report.Messages++
		}
	}()
	for o := range rec.Each() {
		if len(o.Walk) == 0 {
			continue
		}
		err := p.facts.recipient(o)
		if p.sight != nil && (err != nil || !p.sight(p.facts.rcpt)) {
			continue
		}
		seen = true
		p.report.Decisions++
		if err != nil {
			p.report.Damaged++
			continue
		}
		var facts rules.Facts = p.facts
		if !first {
			facts = sharedFacts{p.facts}
		}
		first = false
		p.decide(ctx, rec, o, facts)
	}
}

func (p *replay) decide(ctx context.Context, rec *journal.Record, o *journal.RecordOutcome, facts rules.Facts) {
	v, missing := p.policy.Replay(facts)
	for missing != nil && p.regather != nil && p.facts.damaged == nil && p.again(ctx, rec, o, missing) {
		v, missing = p.policy.Replay(facts)
	}
	switch {
	case p.facts.damaged != nil:
		p.report.Damaged++
		p.facts.damaged = nil
	case missing != nil:
		p.report.Undecidable++
		for _, m := range missing {
			p.missing[m]++
		}
	default:
		p.compare(rec, o, &v)
	}
}

// again gathers missing facts again, and reports whether any came.
func (p *replay) again(ctx context.Context, rec *journal.Record, o *journal.RecordOutcome, missing []string) bool {
	found := p.regather(ctx, rec, o, missing)
	before := len(p.facts.again)
	if before == 0 && len(found) > 0 {
		p.report.GatheredAgain++
		p.facts.again = map[string]any{}
	}
	maps.Copy(p.facts.again, found)
	p.facts.memory = rules.Memory{}
	return len(p.facts.again) > before
}

// compare counts what the rules say now beside what they said then.
func (p *replay) compare(rec *journal.Record, o *journal.RecordOutcome, v *rules.Verdict) {
	was, rule, do := o.Verdict.Text(), o.Rule.Text(), v.Do.String()
	sameRule := rule == v.Rule
	switch was {
	case "":
		was = o.Do.Text()
	case "deliver": // an effect or the internal server had another idea: the rule told may be that effect's
		sameRule = true
	}
	r := p.report
	if p.matched != nil {
		p.matched(rec, o, v)
	}
	if effects, by := otherEffects(o, v, was); effects != nil {
		p.change(changeKey{was, rule, do, by, strings.Join(effects, "\n")}, rec, o, v)
	} else if was == do {
		r.Unchanged++
		if !sameRule {
			r.OtherRule++
		}
	} else {
		p.change(changeKey{was, rule, do, v.Rule, ""}, rec, o, v)
	}
	if rec.Policy == r.Rules && p.facts.again == nil && (was != do || !sameRule) {
		r.Contradictions++
	}
}

func (p *replay) change(key changeKey, rec *journal.Record, o *journal.RecordOutcome, v *rules.Verdict) {
	r := p.report
	switch {
	case key.effects != "":
		r.Effects++
	case v.Do == rules.Quarantine:
		r.Held++
	case v.Do == rules.Deliver:
		r.Delivered++
	case v.Do == rules.Reject:
		r.Refused++
	case v.Do == rules.Defer:
		r.Deferred++
	case v.Do == rules.Discard:
		r.Discarded++
	}
	g := p.groups[key]
	if g == nil {
		if len(p.groups) >= maxGroups {
			return
		}
		g = &changeGroup{Was: key.was, WasRule: key.wasRule, Would: key.would, Rule: key.rule}
		if key.effects != "" {
			g.Effects = strings.Split(key.effects, "\n")
		}
		p.groups[key] = g
	}
	g.add(rec, o, v.Because, p.examples)
}

// add counts a decision, and keeps it as an example when it is among the first.
func (g *changeGroup) add(rec *journal.Record, o *journal.RecordOutcome, because string, most int) {
	g.Count++
	if len(g.Examples) == most {
		return
	}
	x := changeExample{ID: rec.ID, Recipient: o.Recipient.Text(), Subject: rec.Subject.Text(), Because: because}
	x.Received, _ = time.Parse(time.RFC3339Nano, rec.Received.Text())
	x.Sender = member(rec.Envelope, "sender").Text()
	g.Examples = append(g.Examples, x)
}

// printExamples shows the first decisions of a group, two lines each.
func (g *changeGroup) printExamples(w io.Writer) {
	for _, x := range g.Examples {
		fmt.Fprintf(w, "  %s  %s  %s → %s\n", x.ID, x.Received.Local().Format("Jan 02 15:04"), clip("<"+x.Sender+">", 30), clip(x.Recipient, 30))
		paragraph(w, "      ", strings.Trim(x.Subject+" | "+x.Because, " |"))
	}
	if n := g.Count - len(g.Examples); n > 0 {
		fmt.Fprintf(w, "  and %d more\n", n)
	}
}

// changed is how many decisions would be others.
func (r *replayReport) changed() int {
	return r.Held + r.Delivered + r.Refused + r.Deferred + r.Discarded + r.Effects
}

// words says a disposition as what would happen.
func newly(do string) string { return "newly " + didWord(do) }

// summary is the counts in one paragraph.
func (r *replayReport) summary() string {
	parts := []string{fmt.Sprintf("%d unchanged", r.Unchanged)}
	for _, x := range []struct {
		n    int
		what string
	}{{r.Held, newly("quarantine")}, {r.Delivered, newly("deliver")}, {r.Refused, newly("reject")}, {r.Deferred, newly("defer")},
		{r.Discarded, newly("discard")}, {r.Effects, "with other effects"}, {r.Undecidable, "undecidable"}, {r.Damaged, "not readable"}} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	return strings.Join(parts, ", ")
}
