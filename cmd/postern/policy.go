package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/gateway"
	"postern/policies"
	"postern/rules"
)

// policyState is what serve and health tell about the rules in force.
type policyState struct {
	loading sync.Mutex // one reload at a time
	mu      sync.Mutex
	off     []string // filters that rules name and that are not configured
	error   error    // of the last reload; nil when it succeeded
	now     *candidate
}

// loadPolicy builds a complete policy, where all that can fail happens, and swaps it in. After
// an error the old one stays in force. how is policies.Started or policies.Reloaded; a reload
// wants the files to have been left alone for a moment.
func (p *program) loadPolicy(how string) error {
	p.policy.loading.Lock()
	defer p.policy.loading.Unlock()
	wait := settled
	if how == policies.Started {
		wait = 0
	}
	c, err := newCandidate(p.cfg, p.asks(p.resolver), wait)
	if err == nil {
		err = p.accepts(c, how)
	}
	var policy *gateway.Policy
	if err == nil {
		policy, err = p.watchRules(c)
	}
	p.policy.mu.Lock()
	defer p.policy.mu.Unlock()
	p.policy.error = err
	if err != nil {
		return err
	}
	p.policy.off, p.policy.now = offFilters(c.rules), c
	p.gateway.SetPolicy(policy)
	p.log.Info("policy in force", "version", policy.Version(), "rules", len(c.rules.Rules()), "tests", c.tests.All, "filters", c.policy.Filters())
	if len(p.policy.off) > 0 {
		p.log.Warn("rules name filters that are not configured, and are skipped (clamav: give clamav.addresses or --clamd)", "filters", p.policy.off)
	}
	p.remember(c, how)
	p.saveBreakers(context.Background()) // for rules list
	return nil
}

// accepts refuses rules whose tests fail, unless somebody took them by force. A start takes also
// what was in force before: a test that fails now is no reason to take no mail.
func (p *program) accepts(c *candidate, how string) error {
	err := c.passes()
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), historyTime)
	defer cancel()
	known, forced, kerr := p.policies.Known(ctx, c.print())
	if kerr != nil {
		return errors.Join(err, kerr)
	}
	switch {
	case p.cfg.forceRules || forced:
		p.log.Warn("rules whose tests fail are taken by force", "failed", c.tests.Failed, "tests", c.tests.All)
	case known && how == policies.Started:
		p.log.Error("tests beside the rules fail, but these rules were in force before: they are taken", "error", err)
	default:
		return err
	}
	return nil
}

// historyTime is how long the history may take.
const historyTime = 15 * time.Second

// remember records what is in force, unless apply has done so. A history that cannot be written
// is no reason to go on with other rules than those in the folder.
func (p *program) remember(c *candidate, how string) {
	if c.set.folder == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), historyTime)
	defer cancel()
	note := "files changed by hand"
	if how == policies.Started {
		note = "found at the start"
	}
	err := recordHand(ctx, p.policies, rulesOnly(c.set.folder.Files()), &policies.Version{How: how, Note: note,
		Policy: c.rules.Version(), Rules: len(c.rules.Rules()), Forced: c.tests.Failed > 0})
	if err != nil {
		p.log.Error("history of the rules", "error", err)
	}
}

// print names the rule files of a candidate; "" for the built-in policy.
func (c *candidate) print() string {
	if c.set.folder == nil {
		return ""
	}
	return c.set.folder.Files().Print()
}

// print names the rule files in force.
func (s *policyState) print() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.print()
}

// A failingTests is why rules that load are not taken.
type failingTests struct{ report *testReport }

func (e *failingTests) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d tests beside the rules fail:\n", e.report.Failed, e.report.All)
	e.report.printFailures(&b)
	b.WriteString("put them right, or see --force of postern check, --force-rules of postern serve")
	return b.String()
}

// passes is a *failingTests when the tests of a candidate fail.
func (c *candidate) passes() error {
	if c.tests.Failed > 0 {
		return &failingTests{c.tests}
	}
	return nil
}

// offFilters lists the filters that rules name though they are not configured.
func offFilters(p *rules.Policy) []string {
	var names []string
	for _, r := range p.Rules() {
		names = append(names, r.Off...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// takeRules takes changed rule files; whatever fails leaves the old ones in force.
func (p *program) takeRules() error {
	err := p.loadPolicy(policies.Reloaded)
	if err != nil {
		p.metrics.reloads.WithLabelValues("failed").Inc()
		p.log.Error("reload: the old policy stays in force; postern check shows the same errors", "error", err)
	} else {
		p.metrics.reloads.WithLabelValues("ok").Inc()
	}
	return err
}

// reload takes changed rule files and certificates; whatever fails leaves the old in force.
func (p *program) reload() {
	_ = p.takeRules() // told
	for _, c := range []*certificates{p.certs, p.webCerts} {
		if c == nil {
			continue
		}
		c.renew(p.log)
	}
}
