package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/segmentio/encoding/json"

	"postern/filters"
	"postern/journal"
	"postern/mail"
	"postern/policies"
	"postern/rules"
)

// An explanation is what can be said of an entry beyond what it tells itself.
type explanation struct {
	flips   [][]rules.Flip   // of each outcome
	lacking [][]string       // facts without which nobody can tell, of each outcome
	changed string           // why there are none: the rules of then are gone
	facts   []*factTable     // for the walk of each outcome
	rules   []rules.RuleInfo // those of then; nil when they are gone
}

// explain finds what would have turned each verdict of an entry, by the rules of then.
func (a *archive) explain(ctx context.Context, e *journal.Entry) (*explanation, error) {
	return a.explainBy(ctx, e, a.rulesOf, func(mail.Address) bool { return true })
}

// explainBy does so by the rules that rulesOf gives, for the recipients that are asked for.
func (d *stores) explainBy(ctx context.Context, e *journal.Entry, rulesOf func(ctx context.Context, version string) (*judge, error), asked func(mail.Address) bool) (*explanation, error) {
	x := unexplained(e)
	rec, err := d.journal.Look(ctx, e.ID)
	if err != nil {
		return nil, err
	}
	j, err := rulesOf(ctx, e.Policy)
	if err != nil {
		x.changed = err.Error()
		return x, nil
	}
	defer j.close()
	x.rules = j.policy.Rules()
	facts := newStoredFacts(newFactReader(j.filters, nil))
	facts.entry(rec)
	i := 0
	for o := range rec.Each() {
		if len(o.Walk) > 0 && facts.recipient(o) == nil && asked(facts.rcpt) {
			if _, x.lacking[i] = j.policy.Replay(facts); x.lacking[i] == nil {
				x.flips[i] = j.policy.Flips(facts, maxFlips)
			}
		}
		i++
	}
	return x, nil
}

// unexplained is what can be said without the rules of then.
func unexplained(e *journal.Entry) *explanation {
	x := &explanation{flips: make([][]rules.Flip, len(e.Outcomes)), lacking: make([][]string, len(e.Outcomes))}
	for i := range e.Outcomes {
		t := newFactTable(told(e, &e.Outcomes[i]))
		t.abridged = true
		x.facts = append(x.facts, t)
	}
	return x
}

// rulesOf gives the rules of a version: those in force, or those that the history has; with the
// breakers open that were.
func (a *archive) rulesOf(ctx context.Context, version string) (*judge, error) {
	base, _, _ := strings.Cut(version, "!")
	j, err := newJudge(a.cfg, "", a.stores)
	if err != nil || j.policy.Version() != base {
		if err == nil {
			j.close()
		}
		var resolver *filters.DNS
		if resolver, err = newResolver(a.cfg); err != nil {
			return nil, err
		}
		if j, err = a.stores.pastRules(ctx, a.cfg, a.asks(resolver), base); err != nil {
			return nil, errors.Join(err, resolver.Close())
		}
		j.close = func() { _ = resolver.Close() }
	}
	return j.as(version), nil
}

// as is the judge with the breakers open that a version names.
func (j *judge) as(version string) *judge {
	_, open, tripped := strings.Cut(version, "!")
	if !tripped {
		return j
	}
	past := *j
	past.policy = j.policy.Tripped(strings.Split(open, ","))
	return &past
}

// pastRules compiles a version that the history has, and no other than this one.
func (d *stores) pastRules(ctx context.Context, cfg *Config, world outside, version string) (*judge, error) {
	gone := fmt.Errorf("the rules have changed since, and the history does not have version %s", version)
	v, err := d.policies.InForce(ctx, version)
	if err != nil {
		return nil, gone
	}
	files := v.Files
	if live, err := policies.ReadAll(cfg.Rules); err == nil { // lists are not in the history
		files, _ = files.Over(live)
	}
	set, err := newRuleSet(cfg, cfg.Rules, policies.Of(cfg.Rules, files))
	if err != nil {
		return nil, gone
	}
	fs := filterList(cfg, world)
	policy, err := set.compile(fs)
	if err != nil || policy.Version() != version {
		return nil, gone
	}
	return &judge{policy: policy, filters: fs, close: func() {}}, nil
}

// told are the facts that an entry has for the message, or for one recipient's copy of it, with
// those that only repeat the envelope.
func told(e *journal.Entry, o *journal.Outcome) map[string]json.RawMessage {
	facts := map[string]json.RawMessage{}
	names := []string{"client", "sender"}
	if e.Size > 0 {
		names = append(names, "message")
	}
	to := mail.Address{}
	if o != nil {
		names, to = append(names, "rcpt"), o.Recipient
	}
	for _, name := range names {
		v, _ := filters.Retell(name, &e.Envelope, to, e.Size)
		if text, err := json.Marshal(v); err == nil {
			facts[name] = text
		}
	}
	maps.Copy(facts, e.Facts)
	if o != nil {
		maps.Copy(facts, o.Facts)
	}
	return facts
}

// printWalks shows what each rule said and what would have turned the verdict; recipients of
// whom all rules said the same of the same facts have one walk.
func (x *explanation) printWalks(w io.Writer, outcomes []journal.Outcome) {
	done := make([]bool, len(outcomes))
	for i := range outcomes {
		var steps []rules.Step
		if len(outcomes[i].Rules) == 0 || done[i] || json.Unmarshal(outcomes[i].Rules, &steps) != nil {
			continue
		}
		print := x.walkText(steps, i)
		var same []string
		for n := i; n < len(outcomes); n++ {
			if string(outcomes[n].Rules) == string(outcomes[i].Rules) && x.walkText(steps, n) == print {
				done[n] = true
				same = append(same, outcomes[n].Recipient.String())
			}
		}
		fmt.Fprintln(w)
		paragraph(w, "rules for ", strings.Join(same, ", "))
		fmt.Fprint(w, print)
	}
	if x.changed != "" && slices.Contains(done, true) {
		fmt.Fprintf(w, "\nwhat would have turned it is not known: %s\n", x.changed)
	}
}

func (x *explanation) walkText(steps []rules.Step, outcome int) string {
	var b strings.Builder
	printSteps(&b, "  ", steps, x.facts[outcome])
	printFlips(&b, "  ", x.flips[outcome])
	if x.lacking != nil && len(x.lacking[outcome]) > 0 {
		paragraph(&b, "  what would have changed it is not known without ", strings.Join(x.lacking[outcome], ", "))
	}
	return b.String()
}
