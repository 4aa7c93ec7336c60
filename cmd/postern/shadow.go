package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"postern/journal"
	"postern/rules"
)

// rulesShadowCmd tells what shadow rules would have had done.
type rulesShadowCmd struct {
	storeFlags
	Since Duration `help:"Not older than this, such as 12h or 30d (default: all that the journal has)." placeholder:"SPAN"`
	JSON  bool     `name:"json" help:"As JSON."`
}

// Help is shown by --help.
func (rulesShadowCmd) Help() string {
	return "Example:\n  postern rules shadow --since 7d\n\n" +
		"It reads what the gateway recorded beside each verdict. A rule that is not decided often lacks facts that no live\n" +
		"rule asks for: gather: true has them found out for it."
}

// Run tells.
func (c *rulesShadowCmd) Run(out output) error {
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	var since time.Time
	if c.Since > 0 {
		since = time.Now().Add(-time.Duration(c.Since))
	}
	report, err := shadowsOf(ctx, a.journal, since)
	if err != nil {
		return err
	}
	if c.JSON {
		return printObject(out.out, report)
	}
	report.print(out.out)
	return nil
}

// A shadowReport is what shadow rules said of past mail.
type shadowReport struct {
	Since     time.Time     `json:"since,omitzero"`
	Decisions int           `json:"decisions"`
	Rules     []*shadowRule `json:"rules"`
}

// A shadowRule is what one of them said.
type shadowRule struct {
	Rule        string         `json:"rule"`
	Seen        int            `json:"seen"` // how often it was looked at: no rule had decided before
	Matched     int            `json:"matched"`
	Undecidable int            `json:"undecidable"`
	Why         string         `json:"why,omitempty"` // it was not decided, the last time
	Would       int            `json:"would_change"`  // outcomes that it alone, or as the first, would have changed
	Changes     []*changeGroup `json:"changes"`

	groups map[changeKey]*changeGroup
}

// A shadowStep is what a walk tells of one shadow rule.
type shadowStep struct {
	Rule    string      `json:"rule"`
	Result  rules.Truth `json:"result"`
	Matched bool        `json:"matched"`
	Shadow  bool        `json:"shadow"`
	Why     string      `json:"why"`
}

// maxWalksRead bounds the walks that are remembered.
const maxWalksRead = 4096

// A shadowCount counts while it goes through the journal.
type shadowCount struct {
	j      *journal.Store
	report *shadowReport
	byName map[string]*shadowRule
	walks  map[string][]shadowStep
}

// shadowsOf goes through the journal since then.
func shadowsOf(ctx context.Context, j *journal.Store, since time.Time) (*shadowReport, error) {
	c := &shadowCount{j: j, report: &shadowReport{Since: since, Rules: []*shadowRule{}}, byName: map[string]*shadowRule{}, walks: map[string][]shadowStep{}}
	if err := j.Scan(ctx, since, time.Time{}, func(rec *journal.Record) error {
		for o := range rec.Each() {
			if len(o.Walk) == 0 {
				continue
			}
			c.report.Decisions++
			if err := c.outcome(ctx, rec, o); err != nil {
				return err
			}
		}
		return ctx.Err()
	}); err != nil {
		return nil, err
	}
	for _, r := range c.byName {
		r.Changes = []*changeGroup{}
		for _, g := range r.groups {
			r.Changes = append(r.Changes, g)
		}
		slices.SortFunc(r.Changes, func(a, b *changeGroup) int {
			return cmp.Or(b.Count-a.Count, cmp.Compare(a.Was+a.WasRule, b.Was+b.WasRule))
		})
		c.report.Rules = append(c.report.Rules, r)
	}
	slices.SortFunc(c.report.Rules, func(a, b *shadowRule) int { return cmp.Or(b.Would-a.Would, strings.Compare(a.Rule, b.Rule)) })
	return c.report, nil
}

func (c *shadowCount) outcome(ctx context.Context, rec *journal.Record, o *journal.RecordOutcome) error {
	steps, err := c.steps(ctx, o)
	if err != nil {
		return err
	}
	for _, s := range steps {
		r := c.rule(s.Rule)
		r.Seen++
		if s.Matched {
			r.Matched++
		} else if s.Result == rules.Unknown {
			r.Undecidable++
			r.Why = s.Why
		}
	}
	if len(o.Shadow) == 0 {
		return nil
	}
	var x journal.Shadow
	if err := json.Unmarshal(o.Shadow, &x); err != nil {
		return fmt.Errorf("entry %s: %w", rec.ID, err)
	}
	c.rule(x.Rule).would(rec, o, &x)
	return nil
}

func (c *shadowCount) rule(name string) *shadowRule {
	r := c.byName[name]
	if r == nil {
		r = &shadowRule{Rule: name, groups: map[changeKey]*changeGroup{}}
		c.byName[name] = r
	}
	return r
}

// steps gives the shadow rules of a walk; most walks come again and again.
func (c *shadowCount) steps(ctx context.Context, o *journal.RecordOutcome) ([]shadowStep, error) {
	if s, ok := c.walks[string(o.Walk)]; ok {
		return s, nil
	}
	text, err := c.j.Walk(ctx, o)
	if err != nil {
		return nil, err
	}
	var all, shadows []shadowStep
	if len(text) > 0 {
		if err := json.Unmarshal(text, &all); err != nil {
			return nil, fmt.Errorf("a walk: %w", err)
		}
	}
	for _, s := range all {
		if s.Shadow {
			shadows = append(shadows, s)
		}
	}
	if len(c.walks) >= maxWalksRead {
		clear(c.walks)
	}
	c.walks[string(o.Walk)] = shadows
	return shadows, nil
}

// would counts an outcome that the rule would have changed.
func (r *shadowRule) would(rec *journal.Record, o *journal.RecordOutcome, x *journal.Shadow) {
	r.Would++
	was := o.Verdict.Text()
	if was == "" {
		was = o.Do.Text()
	}
	key := changeKey{was: was, wasRule: o.Rule.Text(), would: x.Do, effects: strings.Join(x.Effects, ", ")}
	g := r.groups[key]
	if g == nil {
		if len(r.groups) >= maxGroups {
			return
		}
		g = &changeGroup{Was: was, WasRule: key.wasRule, Would: x.Do, Rule: r.Rule, Effects: x.Effects}
		r.groups[key] = g
	}
	g.add(rec, o, x.Because, maxExamples)
}

// print shows the report to a person.
func (r *shadowReport) print(w io.Writer) {
	if len(r.Rules) == 0 {
		fmt.Fprintf(w, "The journal tells of %d decisions and of no shadow rule beside them.\n", r.Decisions)
		return
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "LOOKED AT\tMATCHED\tUNDECIDED\tWOULD CHANGE\t  RULE")
	for _, s := range r.Rules {
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t  %s\n", s.Seen, s.Matched, s.Undecidable, s.Would, s.Rule)
	}
	_ = t.Flush()
	for _, s := range r.Rules {
		for _, g := range s.Changes {
			did := "would be " + didWord(g.Would)
			if len(g.Effects) > 0 {
				did += " with " + strings.Join(g.Effects, ", ")
			}
			fmt.Fprintf(w, "\n%s: %d %s (was %s)\n", s.Rule, g.Count, did, didBy(g.Was, g.WasRule))
			g.printExamples(w)
		}
	}
	for _, s := range r.Rules {
		if s.Undecidable > 0 {
			fmt.Fprintf(w, "\n%s: %d not decided, the last time since %s\n", s.Rule, s.Undecidable, cmp.Or(s.Why, "a fact was missing"))
		}
	}
}
