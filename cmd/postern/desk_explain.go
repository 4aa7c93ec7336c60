package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/segmentio/encoding/json"

	"postern/journal"
	"postern/mail"
	"postern/review"
	"postern/rules"
)

// Explain tells why the copies of a message have their verdicts.
func (d *deskRules) Explain(ctx context.Context, id string, in review.Sight) ([]review.Explained, error) {
	e, err := d.p.journal.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if in != nil { // how many others got it is not told
		e.Envelope.Recipients = slices.DeleteFunc(e.Envelope.Recipients, func(r mail.RcptTo) bool { return !in(r.Address) })
	}
	flips := 0
	x, err := d.p.explainBy(ctx, e, d.rulesOf, func(to mail.Address) bool {
		if in == nil || in(to) {
			flips++
		}
		return (in == nil || in(to)) && flips <= maxFlipped
	})
	if err != nil {
		return nil, err
	}
	out := []review.Explained{}
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		var steps []rules.Step
		if in != nil && !in(o.Recipient) || len(o.Rules) == 0 || json.Unmarshal(o.Rules, &steps) != nil {
			continue
		}
		if out = append(out, x.copy(e, i, steps)); len(out) == maxExplained {
			break
		}
	}
	return out, nil
}

// Bounds of what is told of a message with many recipients: of how many copies, and of how many of
// these it is sought what would have turned their verdict.
const (
	maxExplained = 50
	maxFlipped   = 10
)

// copy explains one outcome, whose walk is steps.
func (x *explanation) copy(e *journal.Entry, n int, steps []rules.Step) review.Explained {
	o := &e.Outcomes[n]
	said := saidBy(o)
	out := review.Explained{Recipient: o.Recipient.String(), Do: said[0], Rule: said[1], Gone: x.changed, Steps: []review.ExplainedStep{}}
	if o.Verdict == "deliver" { // the rule told may be that of an effect
		out.Rule = ""
	}
	for i := range x.flips[n] {
		out.Flips = append(out.Flips, flipSentence(&x.flips[n][i]))
	}
	if lacks := x.lacking[n]; len(lacks) > 0 {
		out.NoFlips = "nobody knows any more what these were: " + strings.Join(lacks, ", ")
	}
	if s := o.Shadow; s != nil {
		out.Shadow = shadowSentence(s)
	}
	infos := map[string]*rules.RuleInfo{}
	for i := range x.rules {
		infos[x.rules[i].Name] = &x.rules[i]
	}
	used := map[string]map[string]string{} // facts by filter
	score := 0.0
	for i := range steps {
		out.Steps = append(out.Steps, explainedStep(&steps[i], infos[steps[i].Rule], x.facts[n], used, score))
		if steps[i].Matched {
			score += steps[i].Score
		}
	}
	if i := len(steps) - 1; i >= 0 && out.Rule == steps[i].Rule && !steps[i].Shadow {
		out.Steps[i].Decided = true
	}
	for i := range x.rules[min(len(steps), len(x.rules)):] { // behind the one that decided
		r := &x.rules[len(steps)+i]
		out.Steps = append(out.Steps, review.ExplainedStep{Rule: r.Name, Place: placeOf(r), When: r.When, Result: review.StepNotAsked, Shadow: r.Shadow, Do: doOf(r.Do)})
	}
	out.Sources = sourcesOf(e, used)
	return out
}

func explainedStep(s *rules.Step, r *rules.RuleInfo, facts *factTable, used map[string]map[string]string, score float64) review.ExplainedStep {
	out := review.ExplainedStep{Rule: s.Rule, Result: review.StepNo, Why: s.Why, Shadow: s.Shadow, Breaker: s.Breaker, Do: doOf(s.Do), Score: s.Score}
	switch {
	case s.Matched:
		out.Result = review.StepMatched
	case s.Result == rules.Unknown:
		out.Result = review.StepUnknown
	}
	if r != nil {
		out.Place, out.When = placeOf(r), r.When
		out.Do = cmp.Or(out.Do, doOf(r.Do))
	}
	for _, l := range s.Leaves {
		p := review.ExplainedPart{Text: l.Text, Value: l.Result.String(), Why: l.Why}
		if l.Why == rules.NotNeeded {
			p.Value, p.Why = rules.NotNeeded, ""
			out.Parts = append(out.Parts, p)
			continue
		}
		var values []string
		for _, v := range facts.named(l.Text) {
			values = append(values, v.String())
			if out.Facts == nil {
				out.Facts = map[string]string{}
			}
			out.Facts[v.name] = v.value
			if used[v.filter] == nil {
				used[v.filter] = map[string]string{}
			}
			used[v.filter][v.name] = v.value
		}
		if scoreWord.MatchString(l.Text) {
			values = append(values, fmt.Sprintf("score = %g", score))
		}
		p.Values = strings.Join(values, ", ")
		out.Parts = append(out.Parts, p)
	}
	return out
}

// sourcesOf tells of each filter whose facts were looked at how it fared.
func sourcesOf(e *journal.Entry, used map[string]map[string]string) (out []review.ExplainedSource) {
	for _, f := range e.Filters {
		if facts := used[f.Name]; facts != nil {
			out = append(out, review.ExplainedSource{Filter: f.Name, State: f.State, Began: f.Began, Took: f.Took, Error: f.Error, Facts: facts})
			delete(used, f.Name) // of several recipients, the first
		}
	}
	for name, facts := range used { // not configured
		out = append(out, review.ExplainedSource{Filter: name, State: "off", Facts: facts})
	}
	slices.SortStableFunc(out, func(a, b review.ExplainedSource) int {
		return cmp.Or(cmp.Compare(a.Began, b.Began), strings.Compare(a.Filter, b.Filter))
	})
	return out
}

// placeOf is where a rule stands, in short.
func placeOf(r *rules.RuleInfo) string { return fmt.Sprintf("%s:%d", filepath.Base(r.File), r.Line) }

// doOf is what a rule does; "" for one that only adds score or effects.
func doOf(do rules.Disposition) string {
	if do == rules.None {
		return ""
	}
	return do.String()
}

// flipSentence says a flip to people.
func flipSentence(f *rules.Flip) string {
	would := "It would be " + didWord(f.Do.String())
	if f.Rule != "" {
		would += " by rule " + f.Rule
	}
	if f.Fact != "" {
		return fmt.Sprintf("%s if %s were %s; it is %s (rule %s).", would, f.Fact, f.To, f.From, f.Of)
	}
	not := ""
	if f.Value == rules.False {
		not = " not"
	}
	return fmt.Sprintf("%s if this were%s so: %s (rule %s).", would, not, f.Leaf, f.Of)
}

// shadowSentence says what shadow rules would have had done.
func shadowSentence(s *journal.Shadow) string {
	out := fmt.Sprintf("It would be %s by rule %s, were that live", didWord(s.Do), s.Rule)
	if len(s.Effects) > 0 {
		out += ", with " + strings.Join(s.Effects, ", ")
	}
	if s.Because != "" {
		out += ": " + s.Because
	}
	return out + "."
}
