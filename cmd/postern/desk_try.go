package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/journal"
	"postern/review"
	"postern/rules"
)

// Bounds of a trial against past mail. The newest mail is looked at first.
const (
	trialTime     = 10 * time.Second
	trialMost     = 500_000 // messages
	trialExamples = 5       // of each change
	trialChanges  = 50
	trialDays     = 365
)

// Try tells what a draft would do, and changes nothing.
func (d *deskRules) Try(ctx context.Context, draft *review.Draft, days int, in review.Sight) (*review.Trial, error) {
	live := d.p.policy.current()
	p, problems, err := d.plan(live, draft.Files)
	if err != nil || problems != nil {
		return &review.Trial{Problems: problems}, err
	}
	if days == review.OnlyErrors {
		t := &review.Trial{}
		if err := p.look(d.p.cfg, live.filters); err != nil {
			t.Problems = problemsOf(err)
		}
		t.Warnings = warningsOf(p.Lint)
		return t, nil
	}
	end, err := turn(ctx, d.trying)
	if err != nil {
		return nil, err
	}
	defer end()
	t, c := d.look(p, live)
	if c == nil || days <= 0 {
		return t, nil
	}
	t.Replay, err = d.replay(ctx, c, min(days, trialDays), in, append(slices.Clone(t.New), t.Changed...))
	return t, err
}

// turn waits until nobody else is at the same; one at a time costs others enough. end ends it.
func turn(ctx context.Context, room chan struct{}) (end func(), err error) {
	select {
	case room <- struct{}{}:
		return func() { <-room }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("others look at past mail at the moment: %w", context.Cause(ctx))
	}
}

// replay decides past mail again under a candidate; rules are those whose matches are told.
func (d *deskRules) replay(ctx context.Context, c *candidate, days int, in review.Sight, list []string) (*review.Replayed, error) {
	r := newReplay(c.rules, c.filters)
	r.sight, r.examples = in, trialExamples
	matches := make([]review.Match, len(list))
	for i, name := range list {
		matches[i].Rule = name
	}
	r.matched = func(rec *journal.Record, _ *journal.RecordOutcome, v *rules.Verdict) {
		i := slices.Index(list, v.Rule)
		if i < 0 {
			return
		}
		m := &matches[i]
		if m.Count++; len(m.Rows) < trialExamples && !slices.ContainsFunc(m.Rows, func(x review.Row) bool { return x.ID == rec.ID }) {
			m.Rows = append(m.Rows, review.Row{ID: rec.ID})
		}
	}
	out := &review.Replayed{Days: days}
	var err error
	out.Since, out.Cut, err = backwards(ctx, d.p.journal, time.Now(), days, func(rec *journal.Record) { r.entry(ctx, rec) })
	if err != nil {
		return nil, err
	}
	tellReplay(out, r.done())
	out.Matches = matches
	return out, nil
}

// tellReplay puts a report into the words of the Desk.
func tellReplay(out *review.Replayed, r *replayReport) {
	out.Looked, out.Decisions, out.Unchanged, out.Undecidable = r.Messages, r.Decisions, r.Unchanged, r.Undecidable
	for _, m := range r.Missing[:min(len(r.Missing), 10)] {
		out.Missing = append(out.Missing, m.Fact)
	}
	for _, g := range r.Changes[:min(len(r.Changes), trialChanges)] {
		c := review.Change{What: newly(g.Would), Rule: g.Rule, Was: didWord(g.Was), WasRule: g.WasRule, Effects: g.Effects, Count: g.Count, Rows: []review.Row{}}
		if g.Would == g.Was {
			c.What = "other effects"
		}
		for i, x := range g.Examples {
			if i == 0 {
				c.Because = x.Because
			}
			if !slices.ContainsFunc(c.Rows, func(r review.Row) bool { return r.ID == x.ID }) {
				c.Rows = append(c.Rows, review.Row{ID: x.ID})
			}
		}
		out.Changes = append(out.Changes, c)
	}
}

// backwards gives past entries to each, stretch by stretch, the newest stretch first, until days
// are over or the bounds of a trial are met. since is how far back it got.
func backwards(ctx context.Context, j *journal.Store, now time.Time, days int, each func(*journal.Record)) (since time.Time, cut bool, err error) {
	bound := errors.New("enough")
	in, cancel := context.WithTimeoutCause(ctx, trialTime, bound)
	defer cancel()
	first := now.AddDate(0, 0, -days)
	end, looked := time.Time{}, 0 // the first stretch has no end: what comes meanwhile is looked at too
	since = now
	for step := time.Hour; since.After(first); step *= 2 {
		if since = since.Add(-step); since.Before(first) {
			since = first
		}
		err := j.Scan(in, since, end, func(rec *journal.Record) error {
			if looked++; looked > trialMost {
				return bound
			}
			each(rec)
			return context.Cause(in)
		})
		switch {
		case ctx.Err() != nil:
			return since, false, context.Cause(ctx)
		case errors.Is(err, bound) || in.Err() != nil:
			return since, true, nil
		case err != nil:
			return since, false, err
		}
		end = since
	}
	return since, false, nil
}
