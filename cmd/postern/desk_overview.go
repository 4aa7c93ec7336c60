package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/breaker"
	"postern/quarantine"
	"postern/review"
	"postern/rules"
	"postern/tally"
)

// How long answers of the overview are good for.
const (
	numbersLife = 15 * time.Second
	fatesLife   = time.Minute
	healthLife  = 10 * time.Second
	maxDays     = 90
	hourlyDays  = 2 // up to so many are shown by the hour
)

// Overview gives the numbers of the last days.
func (d *deskRules) Overview(ctx context.Context, days int, domains []string) (*review.Overview, error) {
	days = max(1, min(days, maxDays))
	o, err := d.numbers.get(ctx, askedFor(days, domains), numbersLife, func(ctx context.Context) (*review.Overview, error) {
		return d.overview(ctx, days, domains, time.Now())
	})
	if err != nil {
		return nil, err
	}
	out := *o // the Desk adds to it
	out.Rules = slices.Clone(o.Rules)
	return &out, nil
}

// askedFor names numbers in a cache: those of all mail are not those of no domain.
func askedFor(days int, domains []string) string {
	return fmt.Sprintf("%d %t %q", days, domains == nil, domains)
}

func (d *deskRules) overview(ctx context.Context, days int, domains []string, now time.Time) (*review.Overview, error) {
	o := &review.Overview{Until: now, Step: "day"}
	next := func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }
	o.Since = time.Date(now.Year(), now.Month(), now.Day()-days+1, 0, 0, 0, 0, now.Location())
	if days <= hourlyDays {
		o.Step, o.Since = "hour", now.Truncate(time.Hour).Add(time.Duration(1-24*days)*time.Hour)
		next = func(t time.Time) time.Time { return t.Add(time.Hour) }
	}
	for at := o.Since; at.Before(now); at = next(at) {
		o.Slots = append(o.Slots, review.Slot{At: at})
	}
	hours, whole, err := d.p.tally.Between(ctx, o.Since, now, domains)
	if err != nil {
		return nil, err
	}
	o.Counting = !whole
	sum := &tally.Counts{}
	at := 0
	for i := range hours {
		for at+1 < len(o.Slots) && !hours[i].At.Before(o.Slots[at+1].At) {
			at++
		}
		s, c := &o.Slots[at], &hours[i].Counts
		s.Delivered += c.Delivered
		s.Held += c.Held
		s.Refused += c.Refused
		s.Deferred += c.Deferred
		s.Discarded += c.Discarded
		sum.Add(c)
	}
	fates, err := d.fatesSince(ctx, days, o.Since, domains)
	if err != nil {
		return nil, err
	}
	o.Rules = ruleUses(d.p.policy.current().rules.Rules(), sum, fates)
	for _, f := range fates {
		o.Held += f.Count
		switch f.State {
		case quarantine.Released:
			o.Released += f.Count
		case quarantine.Spam:
			o.Spam += f.Count
		}
	}
	if domains == nil {
		o.Filters = filterUses(sum)
	}
	o.Open = d.alarms(domains == nil)
	o.Health, err = d.health.get(ctx, "", healthLife, func(context.Context) ([]review.Neighbour, error) { return d.neighbours(), nil })
	if domains != nil { // what is wrong with a neighbour may tell of others' mail
		o.Health = slices.Clone(o.Health)
		for i := range o.Health {
			o.Health[i].Why = ""
		}
	}
	return o, err
}

func (d *deskRules) fatesSince(ctx context.Context, days int, since time.Time, domains []string) ([]quarantine.Fate, error) {
	return d.fates.get(ctx, askedFor(days, domains), fatesLife, func(ctx context.Context) ([]quarantine.Fate, error) {
		return d.p.quarantine.Fates(ctx, since, domains)
	})
}

// ruleUses tells how each rule in force fares, in their order, and behind them the rules of before
// that did something.
func ruleUses(list []rules.RuleInfo, sum *tally.Counts, fates []quarantine.Fate) []review.RuleUse {
	out := []review.RuleUse{}
	at := map[string]int{}
	add := func(u review.RuleUse) {
		if c := sum.Rules[u.Rule]; c != nil {
			u.Hits, u.Would = c.Hits, c.Would
		}
		at[u.Rule] = len(out)
		out = append(out, u)
	}
	for i := range list {
		r := &list[i]
		add(review.RuleUse{Rule: r.Name, Class: r.Class, Place: placeOf(r), Do: doOf(r.Do), Shadow: r.Shadow})
	}
	for _, name := range slices.Sorted(maps.Keys(sum.Rules)) {
		if _, there := at[name]; !there {
			add(review.RuleUse{Rule: name})
		}
	}
	for _, f := range fates {
		if _, there := at[f.Rule]; !there {
			add(review.RuleUse{Rule: f.Rule})
		}
		u := &out[at[f.Rule]]
		u.Held += f.Count
		switch f.State {
		case quarantine.Released:
			u.Released += f.Count
		case quarantine.Spam:
			u.Spam += f.Count
		}
	}
	for i := range out {
		out[i].Never = out[i].Hits == 0 && out[i].Would == 0
	}
	return out
}

func filterUses(sum *tally.Counts) (out []review.FilterUse) {
	for name, f := range sum.Filters {
		out = append(out, review.FilterUse{Filter: name, Ran: f.Ran, Failed: f.Failed, TimedOut: f.TimedOut,
			Median: f.Took.Part(0.5), P95: f.Took.Part(0.95)})
	}
	slices.SortFunc(out, func(a, b review.FilterUse) int {
		return cmp.Or(cmp.Compare(b.P95, a.P95), strings.Compare(a.Filter, b.Filter))
	})
	return out
}

// alarms are the breakers that are open, and the rules of which an alarm stands; with numbers for
// who may see those of all mail.
func (d *deskRules) alarms(numbers bool) (out []review.Alarm) {
	if d.p.breaker == nil {
		return nil
	}
	states := d.p.breaker.States()
	for _, rule := range slices.Sorted(maps.Keys(states)) {
		s := states[rule]
		if !s.Open {
			continue
		}
		why := "its breaker is open: it only tags"
		if s.Mode == breaker.Alarm {
			why = "it goes on as ever"
		}
		if numbers {
			why = fmt.Sprintf("it decided more than %.0f messages in a while, where %.1f are usual; %s", s.Limit, s.Baseline, why)
		}
		out = append(out, review.Alarm{Rule: rule, Since: s.Since, Why: why})
	}
	return out
}

func (d *deskRules) neighbours() (out []review.Neighbour) {
	for _, n := range d.p.neighbours() {
		x := review.Neighbour{Name: n.name, OK: n.err == nil}
		if n.err != nil {
			x.Why = n.err.Error()
		}
		out = append(out, x)
	}
	return out
}
