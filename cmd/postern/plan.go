package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"postern/filters"
	"postern/filters/dnsfake"
	"postern/policies"
	"postern/rules"
)

// A rulePlan is what a folder of rules would change: one screen. Its fields are a contract of
// --json.
type rulePlan struct {
	Dir      string            `json:"dir"`
	Into     string            `json:"into,omitempty"`    // the folder in force; "" while the built-in policy decides
	Version  string            `json:"version,omitempty"` // compiled; "" when it does not load
	Files    []policies.Change `json:"files"`
	Carried  []string          `json:"carried"` // lists and messages of the folder in force that stay
	Errors   []checkError      `json:"errors"`
	Lint     []rules.Warning   `json:"lint"` // rules that load, but are hardly meant
	Rules    ruleChanges       `json:"rules"`
	Tests    *testReport       `json:"tests,omitempty"`
	Replay   *replayReport     `json:"replay,omitempty"`
	NoReplay string            `json:"no_replay,omitempty"` // why past mail was not decided again
	OK       bool              `json:"ok"`                  // it may be applied

	files policies.Files // all that the folder in force would hold
	live  policies.Files // what it holds
	rules *rules.Policy
}

// ruleChanges names the rules that differ.
type ruleChanges struct {
	All     int      `json:"all"`
	New     []string `json:"new"`
	Changed []string `json:"changed"`
	Gone    []string `json:"gone"`
}

// planFolder reads a folder and plans it.
func planFolder(cfg *Config, dir string, since Duration) (*rulePlan, error) {
	if same, err := sameFolder(dir, cfg.Rules); err != nil || same {
		if err == nil {
			err = fmt.Errorf("%s is the folder in force itself: plan and apply take a copy of it (postern check looks at what is in force)", dir)
		}
		return nil, err
	}
	files, err := policies.ReadAll(dir)
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	return newPlan(cfg, dir, files, since)
}

func sameFolder(a, b string) (bool, error) {
	real, err := filepath.EvalSymlinks(a)
	if err != nil {
		return false, fmt.Errorf("plan: %w", err)
	}
	real, err = filepath.Abs(real)
	if err != nil {
		return false, err
	}
	other, err := filepath.EvalSymlinks(b)
	if err != nil {
		return false, nil
	}
	other, err = filepath.Abs(other)
	return real == other, err
}

// newPlan compiles and tests files as they would stand in the folder in force, and decides past
// mail again under them. dir is what they are called by until then.
func newPlan(cfg *Config, dir string, files policies.Files, since Duration) (*rulePlan, error) {
	p := emptyPlan(cfg, dir)
	var err error
	if cfg.Rules != "" {
		if p.live, err = policies.ReadAll(cfg.Rules); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, policies.ErrEmpty) {
			return nil, fmt.Errorf("the rules in force: %w", err)
		}
	}
	p.over(files)
	if err := p.judge(cfg, since); err != nil {
		p.Errors = append(p.Errors, mistakes(err)...)
	}
	p.OK = len(p.Errors) == 0 && p.Tests.Failed == 0
	return p, nil
}

func emptyPlan(cfg *Config, dir string) *rulePlan {
	return &rulePlan{Dir: dir, Into: cfg.Rules, Errors: []checkError{}, Lint: []rules.Warning{}, Carried: []string{},
		Rules: ruleChanges{New: []string{}, Changed: []string{}, Gone: []string{}}}
}

// over lays files over those in force.
func (p *rulePlan) over(files policies.Files) {
	var carried []string
	p.files, carried = files.Over(p.live)
	p.Carried = append(p.Carried, carried...)
	p.Files = p.files.Changes(p.live)
}

// judge compiles what would be in force and runs its tests. Its error is what keeps the rules
// from loading.
func (p *rulePlan) judge(cfg *Config, since Duration) error {
	empty, err := dnsfake.Parse("")
	if err != nil {
		return err
	}
	zone := outside{Resolver: empty}
	fs := filterList(cfg, zone)
	if err := p.look(cfg, fs); err != nil {
		return err
	}
	set, err := newRuleSet(cfg, cfg.Rules, policies.Of(cfg.Rules, p.files)) // the version goes by where it will stand
	if err != nil {
		return err
	}
	c, err := set.candidate(cfg, zone)
	if err != nil {
		return err
	}
	var old []rules.RuleInfo
	if in, err := liveRules(cfg, p.live); err == nil {
		if was, err := in.compile(fs); err == nil {
			old = was.Rules()
		}
	}
	p.take(c, old)
	p.replay(cfg, c, time.Duration(since))
	return nil
}

// look compiles the rules under the names that mistakes are to be shown with, and looks for what
// is hardly meant.
func (p *rulePlan) look(cfg *Config, fs []filters.Filter) error {
	named, err := newRuleSet(cfg, p.Dir, policies.Of(p.Dir, p.files))
	if err != nil {
		return err
	}
	here, err := named.compile(fs)
	if err != nil {
		return err
	}
	p.Lint = append(p.Lint, here.Lint()...)
	return nil
}

// take notes a candidate that loads, beside the rules in force.
func (p *rulePlan) take(c *candidate, old []rules.RuleInfo) {
	p.rules, p.Version, p.Tests = c.rules, c.rules.Version(), c.tests
	p.Rules.compare(old, c.rules.Rules())
}

// replay decides the journal's mail again. That it cannot be read keeps nothing from being
// applied: whoever may write rules need not be allowed to read mail.
func (p *rulePlan) replay(cfg *Config, c *candidate, since time.Duration) {
	if since == 0 {
		p.NoReplay = "not asked for"
		return
	}
	err := withStores(cfg, func(ctx context.Context, s *stores) (err error) {
		p.Replay, err = newReplay(c.rules, c.filters).run(ctx, s.journal, time.Now().Add(-since))
		return err
	})
	if err != nil {
		p.Replay, p.NoReplay = nil, err.Error()
	}
}

// liveRules are the rules in force: those of the folder, or the built-in ones.
func liveRules(cfg *Config, live policies.Files) (*ruleSet, error) {
	if cfg.Rules == "" {
		return newRuleSet(cfg, "", nil)
	}
	return newRuleSet(cfg, cfg.Rules, policies.Of(cfg.Rules, live))
}

// compare names what differs between two lists of rules, wherever they stand in their files.
func (c *ruleChanges) compare(old, next []rules.RuleInfo) {
	c.All = len(next)
	was := map[string]rules.RuleInfo{}
	for _, r := range old {
		was[r.Name] = unplaced(r)
	}
	for _, r := range next {
		o, there := was[r.Name]
		switch {
		case !there:
			c.New = append(c.New, r.Name)
		case fmt.Sprintf("%+v", o) != fmt.Sprintf("%+v", unplaced(r)):
			c.Changed = append(c.Changed, r.Name)
		}
		delete(was, r.Name)
	}
	for _, r := range old {
		if _, left := was[r.Name]; left {
			c.Gone = append(c.Gone, r.Name)
		}
	}
}

func unplaced(r rules.RuleInfo) rules.RuleInfo {
	r.File, r.Line = "", 0
	return r
}

// why says what keeps a plan from being applied; nil when nothing does.
func (p *rulePlan) why() error {
	switch {
	case len(p.Errors) > 0:
		return fmt.Errorf("%d mistakes: it must not be applied", len(p.Errors))
	case p.Tests.Failed > 0:
		return fmt.Errorf("%d of %d tests beside the rules fail: it must not be applied (apply --force does it all the same)", p.Tests.Failed, p.Tests.All)
	}
	return nil
}

// rulesPlanCmd shows what a folder of rules would change.
type rulesPlanCmd struct {
	settings
	Since Duration `help:"Decide past mail again that is not older than this; 0 for none." default:"30d"`
	JSON  bool     `name:"json" help:"As JSON."`
	Dir   string   `arg:"" help:"Folder of rule files to be put in place of those in force." type:"path"`
}

// Help is shown by --help.
func (rulesPlanCmd) Help() string {
	return "Example:\n  cp -r /etc/postern/rules new && $EDITOR new/20-spoof.yaml && postern rules plan new\n\n" +
		"It changes nothing. Exit code 1 means that it must not be applied. Lists that only the folder in force has stay there."
}

// Run plans.
func (c *rulesPlanCmd) Run(out output) error {
	cfg, err := c.read()
	if err != nil {
		return err
	}
	p, err := planFolder(cfg, c.Dir, c.Since)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printObject(out.out, p)
	} else {
		p.print(out.out)
	}
	return errors.Join(err, p.why())
}

// touches tells whether a plan changes anything.
func (p *rulePlan) touches() bool { return len(p.Files) > 0 }

// rulesOnly are the rule files among the files of a folder.
func rulesOnly(files policies.Files) policies.Files {
	set := policies.Of("", files)
	out := policies.Files{}
	for _, n := range set.Names() {
		out[n] = files[n]
	}
	return out
}

// own are the files that a plan brings with it, without those that stay.
func (p *rulePlan) own() policies.Files {
	out := policies.Files{}
	for name, text := range p.files {
		if !slices.Contains(p.Carried, name) {
			out[name] = text
		}
	}
	return out
}
