package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"postern/policies"
	"postern/review"
	"postern/rules"
)

// Apply puts a draft in force in the running gateway. What must not be applied is told by the
// trial, and the number is 0.
func (d *deskRules) Apply(_ context.Context, draft *review.Draft, who string) (*review.Trial, int64, error) {
	if why := d.fixed(); why != "" {
		return nil, 0, &review.InputError{Text: why}
	}
	d.applying.Lock()
	defer d.applying.Unlock()
	live := d.p.policy.current()
	if draft.Base != live.rules.Version() {
		return nil, 0, fmt.Errorf("other rules are in force by now: %w", review.ErrChanged)
	}
	if err := d.byHand(live); err != nil {
		return nil, 0, err
	}
	p, problems, err := d.plan(live, draft.Files)
	if err != nil || problems != nil {
		return &review.Trial{Problems: problems}, 0, err
	}
	t, c := d.look(p, live)
	if c == nil || t.Failed > 0 && !draft.Force {
		return t, 0, nil
	}
	n, err := d.carryOut(p, who, policies.Applied, draft.Note)
	return t, n, err
}

// byHand tells whether somebody has changed the files by hand, and nobody has loaded them yet.
func (d *deskRules) byHand(live *candidate) error {
	disk, err := policies.ReadAll(d.p.cfg.Rules)
	if err != nil {
		return fmt.Errorf("the rules in force: %w", err)
	}
	if disk.Print() != live.print() {
		return fmt.Errorf("the files in %s were changed by hand and are not in force; reload the gateway first: %w", filepath.Base(d.p.cfg.Rules), review.ErrChanged)
	}
	return nil
}

// look compiles and tests a plan; no candidate when it does not load.
func (d *deskRules) look(p *rulePlan, live *candidate) (*review.Trial, *candidate) {
	t := &review.Trial{}
	c, err := d.candidate(p, live)
	if err == nil {
		err = p.look(d.p.cfg, live.filters)
	}
	if err != nil {
		t.Problems = problemsOf(err)
		return t, nil
	}
	p.take(c, live.rules.Rules())
	t.Warnings, t.Version, t.Tests, t.Failed = warningsOf(p.Lint), p.Version, trialTests(c), c.tests.Failed
	t.New, t.Changed, t.Gone = p.Rules.New, p.Rules.Changed, p.Rules.Gone
	return t, c
}

func (d *deskRules) carryOut(p *rulePlan, who, how, note string) (int64, error) {
	if names := policies.Hidden(d.p.cfg.Rules); len(names) > 0 {
		return 0, wrong("the folder of the rules holds %s, which would be taken away: keep it elsewhere", names[0])
	}
	done, err := p.carryOut(d, d.p.cfg.Rules, who, how, note)
	switch {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		d.p.log.Error("rules not applied", "who", who, "error", err)
		return 0, wrong("the gateway may not replace the folder of the rules: apply with sudo postern rules apply, or have the folder around it belong to the user that runs the gateway")
	case err != nil:
		return 0, err
	case done.Refused != "":
		return 0, wrong("the gateway refused the rules, and the set before stands there again: %s", done.Refused)
	}
	return done.N, nil
}

// RollBack puts an earlier version in force again, tests and all.
func (d *deskRules) RollBack(ctx context.Context, n int64, note, who string) (int64, error) {
	if why := d.fixed(); why != "" {
		return 0, &review.InputError{Text: why}
	}
	v, err := d.version(ctx, n)
	if err != nil {
		return 0, err
	}
	d.applying.Lock()
	defer d.applying.Unlock()
	live := d.p.policy.current()
	p, _, err := d.plan(live, nil)
	if err != nil {
		return 0, err
	}
	if disk, err := policies.ReadAll(d.p.cfg.Rules); err == nil { // what somebody changed by hand is not lost
		p.live = disk
	}
	p.Carried = []string{}
	p.over(rulesOnly(v.Files))
	t, c := d.look(p, live)
	switch {
	case c == nil:
		return 0, wrong("version %d does not load any more: %s", n, t.Problems[0].Error())
	case t.Failed > 0:
		return 0, wrong("%d of %d tests of version %d fail today: take its files into a draft and put them right", t.Failed, len(t.Tests), n)
	}
	if note == "" {
		note = fmt.Sprintf("back to version %d", n)
	}
	return d.carryOut(p, who, policies.Rollback, note)
}

// fixed says why nothing can be applied; "" when it can.
func (d *deskRules) fixed() string {
	if d.p.cfg.Rules == "" {
		return "the configuration names no folder for rules, so the built-in policy decides: set rules: and restart once"
	}
	return ""
}

// maxHistory is how many versions are listed.
const maxHistory = 200

// History lists the versions that were in force.
func (d *deskRules) History(ctx context.Context) ([]review.RuleVersion, error) {
	list, err := d.p.policies.Versions(ctx, maxHistory)
	if err != nil {
		return nil, err
	}
	out, print, found := []review.RuleVersion{}, d.p.policy.print(), false
	for _, v := range list {
		live := !found && v.Print == print
		found = found || live
		out = append(out, review.RuleVersion{N: v.N, At: v.At, Who: v.Who, How: v.How, Note: v.Note, Live: live, Rules: v.Rules, Forced: v.Forced})
	}
	return out, nil
}

// Version gives the files of a version.
func (d *deskRules) Version(ctx context.Context, n int64) ([]review.RuleFile, error) {
	v, err := d.version(ctx, n)
	if err != nil {
		return nil, err
	}
	return ruleFiles(v.Files), nil
}

func (d *deskRules) version(ctx context.Context, n int64) (*policies.Version, error) {
	if n <= 0 {
		return nil, review.ErrNotFound
	}
	v, err := d.p.policies.Version(ctx, n)
	if errors.Is(err, policies.ErrNotFound) {
		err = review.ErrNotFound
	}
	return v, err
}

func ruleFiles(files policies.Files) (out []review.RuleFile) {
	for _, name := range policies.Of("", files).Names() {
		out = append(out, review.RuleFile{Name: name, Text: string(files[name])})
	}
	return out
}

// filesInForce are the rule files that decide now.
func filesInForce(c *candidate) []review.RuleFile {
	if c.set.folder == nil {
		b := rules.Builtin()
		return []review.RuleFile{{Name: b.Name, Text: strings.TrimSpace(string(b.Text)) + "\n"}}
	}
	return ruleFiles(inForce(c))
}
