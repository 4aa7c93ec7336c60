package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/policies"
	"postern/review"
)

// rulebookDays is what a Rulebook counts when nobody says.
const rulebookDays = 30

// Rulebook is the rules in force, with what they did.
func (d *deskRules) Rulebook(ctx context.Context, days int, domains []string) (*review.Rulebook, error) {
	if days <= 0 {
		days = rulebookDays
	}
	o, err := d.Overview(ctx, days, domains)
	if err != nil {
		return nil, err
	}
	c := d.p.policy.current()
	b := &review.Rulebook{Version: c.rules.Version(), Files: filesInForce(c), Days: days, Rules: o.Rules, Tests: trialTests(c),
		Builtin: c.set.folder == nil, Fixed: d.fixed()}
	b.Warnings, err = d.lint.get(ctx, b.Version, time.Hour, func(context.Context) ([]string, error) {
		var out []string
		for _, w := range warningsOf(c.rules.Lint()) {
			out = append(out, w.Error())
		}
		return out, nil
	})
	if err != nil {
		return nil, err
	}
	d.p.policy.mu.Lock()
	if err := d.p.policy.error; err != nil {
		b.Problem = err.Error()
	}
	d.p.policy.mu.Unlock()
	if b.Builtin {
		return b, nil
	}
	switch v, err := d.p.policies.Version(ctx, 0); {
	case err == nil && v.Print == c.print():
		b.N = v.N
	case err != nil && !errors.Is(err, policies.ErrNotFound):
		return nil, fmt.Errorf("history of the rules: %w", err)
	}
	return b, nil
}
