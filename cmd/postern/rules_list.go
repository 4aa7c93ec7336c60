package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/segmentio/encoding/json"

	"postern/breaker"
	"postern/journal"
	"postern/rules"
)

// rulesListCmd shows each rule with what became of mail by it.
type rulesListCmd struct {
	storeFlags
	Since Duration `help:"Count decisions not older than this." default:"7d"`
	JSON  bool     `name:"json" help:"As JSON, one object a line."`
}

// Help is shown by --help.
func (rulesListCmd) Help() string {
	return "Example:\n  postern rules list --since 24h\n\n" +
		"The cost is the mean over the latest decisions, measured now on this machine, with all facts at hand."
}

// A ruleUse is a rule and what it did.
type ruleUse struct {
	rules.RuleInfo
	Hits       int            `json:"hits"` // messages that it decided, or to which it gave score or effects
	LastHit    time.Time      `json:"last_hit,omitzero"`
	ShadowHits int            `json:"shadow_hits"` // decisions that it would have changed, were it live
	CostUS     float64        `json:"cost_us"`     // microseconds a decision; 0: nothing to measure with
	State      *breaker.State `json:"breaker_state,omitempty"`

	alone *rules.Policy
	spent time.Duration
}

// costSample is how many of the latest messages the cost is measured with.
const costSample = 1000

// Run lists.
func (c *rulesListCmd) Run(out output) error {
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	list, err := a.ruleUse(ctx, time.Now().Add(-time.Duration(c.Since)))
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, list, func(u *ruleUse) *ruleUse { return u })
	}
	return printRuleUse(out.out, list)
}

// ruleUse counts what the journal tells of each rule since then.
func (a *archive) ruleUse(ctx context.Context, since time.Time) ([]*ruleUse, error) {
	j, err := newJudge(a.cfg, "", a.stores)
	if err != nil {
		return nil, fmt.Errorf("the rules do not load:\n%w", err)
	}
	defer j.close()
	states, err := readBreakers(ctx, a.stores)
	if err != nil {
		return nil, err
	}
	var list []*ruleUse
	byName := map[string]*ruleUse{}
	for _, info := range j.policy.Rules() {
		u := &ruleUse{RuleInfo: info}
		if st, there := states[info.Name]; there {
			u.State = &st
		}
		list, byName[info.Name] = append(list, u), u
	}
	latest, err := count(ctx, a.journal, since, byName)
	if err != nil || latest.IsZero() {
		return list, err
	}
	facts := newStoredFacts(newFactReader(j.filters, j.policy.Reads()))
	return list, measure(ctx, a.journal, latest, j.policy, facts, list)
}

// count counts hits, and tells from when on the messages are that cost is measured with; zero
// when there are none.
func count(ctx context.Context, j *journal.Store, since time.Time, rules map[string]*ruleUse) (from time.Time, err error) {
	var latest []time.Time // a ring
	n := 0
	matched := matchedIn{}
	err = j.Scan(ctx, since, time.Time{}, func(rec *journal.Record) error {
		at, err := time.Parse(time.RFC3339Nano, rec.Received.Text())
		if err != nil {
			return fmt.Errorf("entry %s: %w", rec.ID, err)
		}
		if len(latest) < costSample {
			latest = append(latest, at)
		} else {
			latest[n%costSample] = at
		}
		n++
		for o := range rec.Each() {
			names, err := matched.by(ctx, j, o)
			if err != nil {
				return err
			}
			for _, name := range names {
				if u := rules[name]; u != nil && !u.LastHit.Equal(at) {
					u.Hits, u.LastHit = u.Hits+1, at
				}
			}
			for name, v := range o.Shadow.Members() {
				if u := rules[v.Text()]; string(name) == "rule" && u != nil {
					u.ShadowHits++
				}
			}
		}
		return ctx.Err()
	})
	if len(latest) > 0 {
		from = slices.MinFunc(latest, time.Time.Compare)
	}
	return from, err
}

// matchedIn remembers which live rules matched in a walk: many messages have the same walk.
type matchedIn map[string][]string

// maxWalks bounds how many walks are remembered.
const maxWalks = 10000

// by lists the live rules that matched in an outcome, and the one that decided it.
func (m matchedIn) by(ctx context.Context, j *journal.Store, o *journal.RecordOutcome) (names []string, err error) {
	names, known := m[string(o.Walk)]
	if !known {
		walk, err := j.Walk(ctx, o)
		if err != nil {
			return nil, err
		}
		var steps []rules.Step
		if len(walk) > 0 && json.Unmarshal(walk, &steps) != nil {
			steps = nil // of another version: the rule that decided is told beside it
		}
		for i := range steps {
			if steps[i].Matched && !steps[i].Shadow {
				names = append(names, steps[i].Rule)
			}
		}
		if len(m) < maxWalks {
			m[string(o.Walk)] = names
		}
	}
	if rule := o.Rule.Text(); rule != "" && !slices.Contains(names, rule) {
		return append(slices.Clip(names), rule), nil
	}
	return names, nil
}

// measure times each rule by itself on past messages. Facts are decoded before the clock
// runs, and what a walk of no rule takes is taken off.
func measure(ctx context.Context, j *journal.Store, from time.Time, p *rules.Policy, facts *storedFacts, list []*ruleUse) error {
	for _, u := range list {
		u.alone = p.Alone(u.Name)
	}
	none := &ruleUse{alone: p.Alone("")}
	all := append(slices.Clone(list), none)
	n := 0
	err := j.Scan(ctx, from, time.Time{}, func(rec *journal.Record) error {
		facts.entry(rec)
		for o := range rec.Each() {
			if len(o.Walk) == 0 || facts.recipient(o) != nil {
				continue
			}
			for _, u := range all {
				u.alone.Replay(facts) // decodes
				began := time.Now()
				u.alone.Replay(facts)
				u.spent += time.Since(began)
			}
			n++
			break
		}
		return ctx.Err()
	})
	for _, u := range list {
		if n > 0 {
			u.CostUS = max(float64((u.spent-none.spent).Nanoseconds())/float64(n)/1000, 0)
		}
	}
	return err
}

func printRuleUse(w io.Writer, list []*ruleUse) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "RULE\tDOES\tCLASS\tHITS\tLAST\tSHADOW\tCOST\tBREAKER\tFILE")
	for _, u := range list {
		last, cost, shadow := "never", "-", "-"
		if !u.LastHit.IsZero() {
			last = u.LastHit.Local().Format("Jan 02 15:04")
		}
		if u.CostUS > 0 {
			cost = fmt.Sprintf("%.2f us", u.CostUS)
		}
		if u.Shadow {
			shadow = fmt.Sprint(u.ShadowHits)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s:%d\n", u.Name, does(&u.RuleInfo), u.Class, u.Hits, last, shadow, cost, u.state(), filepath.Base(u.File), u.Line)
	}
	return t.Flush()
}

// state tells of the breaker in a word or two.
func (u *ruleUse) state() string {
	switch s := u.State; {
	case s == nil:
		return "-"
	case s.Open && s.Mode == breaker.Tag:
		return "OPEN since " + s.Since.Local().Format("Jan 02 15:04")
	case s.Open:
		return "ALARM since " + s.Since.Local().Format("Jan 02 15:04")
	default:
		return fmt.Sprintf("%s, usual %.1f", s.Mode, s.Baseline)
	}
}
