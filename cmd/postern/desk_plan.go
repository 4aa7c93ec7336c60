package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"postern/policies"
	"postern/review"
	"postern/rules"
)

// ruleFileName is what people may call a rule file: no folder, nothing hidden.
var ruleFileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,94}\.yaml$`)

// maxDraft bounds the files of a draft.
const maxDraft = 200

// plan lays a draft over the rules in force, c. Mistakes in the names of its files are problems.
func (d *deskRules) plan(c *candidate, files []review.RuleFile) (*rulePlan, []review.RuleProblem, error) {
	p := emptyPlan(d.p.cfg, "")
	if p.Into != "" {
		disk, err := policies.ReadAll(p.Into)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, policies.ErrEmpty) {
			return nil, nil, fmt.Errorf("the rules in force: %w", err)
		}
		p.live = maps.Clone(inForce(c))
		for name, text := range disk {
			if !isRuleFile(name) {
				p.live[name] = text
			}
		}
	}
	if len(files) > maxDraft {
		return nil, []review.RuleProblem{{Text: fmt.Sprintf("more than %d files at once", maxDraft)}}, nil
	}
	next := policies.Files{}
	maps.Copy(next, inForce(c))
	var problems []review.RuleProblem
	for _, f := range files {
		switch {
		case !ruleFileName.MatchString(f.Name):
			problems = append(problems, review.RuleProblem{File: f.Name, Line: 1, Column: 1, Text: fmt.Sprintf("%q is no name for a rule file", f.Name),
				Hint: "it has letters, digits, . _ - and ends in .yaml, as in 20-spoof.yaml"})
		case strings.TrimSpace(f.Text) == "":
			delete(next, f.Name)
		default:
			next[f.Name] = []byte(f.Text)
		}
	}
	if len(next) == 0 && len(problems) == 0 {
		problems = append(problems, review.RuleProblem{Text: "there would be no rule file left", Hint: "keep one with: include: builtin"})
	}
	p.over(next)
	return p, problems, nil
}

// inForce are the rule files in force; none with the built-in policy.
func inForce(c *candidate) policies.Files {
	if c.set.folder == nil {
		return policies.Files{}
	}
	return rulesOnly(c.set.folder.Files())
}

func isRuleFile(name string) bool {
	return !strings.Contains(name, "/") && strings.HasSuffix(name, ".yaml")
}

// candidate compiles and tests a plan as it would stand. Message files of tests are read from the
// folder alone, or where the tests in force have theirs.
func (d *deskRules) candidate(p *rulePlan, live *candidate) (*candidate, error) {
	set, err := newRuleSet(d.p.cfg, d.p.cfg.Rules, policies.Of(d.p.cfg.Rules, p.files))
	if err != nil {
		return nil, err
	}
	var known []string
	for _, t := range live.rules.Tests() {
		known = append(known, t.Message)
	}
	set.outside = func(name string) bool { return slices.Contains(known, name) }
	return set.candidate(d.p.cfg, d.p.asks(d.p.resolver))
}

// problemsOf are the mistakes that keep rules from loading.
func problemsOf(err error) []review.RuleProblem {
	var out []review.RuleProblem
	for _, e := range mistakes(err) {
		out = append(out, review.RuleProblem{File: filepath.Base(e.File), Line: e.Line, Column: e.Column, Text: e.Message, Hint: e.Hint})
	}
	return out
}

func warningsOf(list []rules.Warning) []review.RuleProblem {
	var out []review.RuleProblem
	for _, w := range list {
		out = append(out, review.RuleProblem{File: filepath.Base(w.File), Line: w.Line, Column: w.Column,
			Text: fmt.Sprintf("rule %s: %s [%s]", w.Rule, w.Msg, w.Code), Hint: w.Hint})
	}
	return out
}

// trialTests tells of each test of a candidate whether it passes.
func trialTests(c *candidate) []review.TestResult {
	var out []review.TestResult
	for _, t := range c.rules.Tests() {
		r := review.TestResult{Name: t.Name, File: filepath.Base(t.File), OK: true}
		for _, f := range c.tests.Failures {
			if f.File == r.File && f.Line == t.Line {
				r.OK, r.Why = false, f.words()
			}
		}
		out = append(out, r)
	}
	return out
}

// words say why a test fails.
func (f *testFailure) words() string {
	var out []string
	if f.Error != "" {
		out = append(out, f.Error)
	}
	for _, x := range f.Diff {
		out = append(out, fmt.Sprintf("%s is %s, not %s", x.What, x.Got, x.Want))
	}
	return strings.Join(out, "; ")
}

// history and reload: the gateway itself puts rules in force.
func (d *deskRules) history(use func(ctx context.Context, h *policies.Store) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), historyTime)
	defer cancel()
	return use(ctx, d.p.policies)
}

func (d *deskRules) reload(_ context.Context, _ *policies.Store, who, print string) (bool, string, error) {
	err := d.p.obey(&policies.Order{Who: who, What: policies.Reload, Arg: print})
	d.p.log.Info("rules applied", "who", who, "refused", err != nil)
	if err != nil {
		return true, err.Error(), nil
	}
	return true, "", nil
}
