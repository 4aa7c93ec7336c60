package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/rules"
)

// policyState is what serve and health tell about the rules in force.
type policyState struct {
	mu    sync.Mutex
	off   []string // filters that rules name and that are not configured
	error error    // of the last reload; nil when it succeeded
	rules *rules.Policy
}

// loadPolicy builds a complete policy, where all that can fail happens, and swaps it in. After
// an error the old one stays in force. wait is how long the files must have been left alone.
func (p *program) loadPolicy(wait time.Duration) error {
	c, err := newCandidate(p.cfg, p.resolver, wait)
	if err == nil {
		err = c.passes()
	}
	if failing := (*failingTests)(nil); errors.As(err, &failing) && p.cfg.forceRules {
		p.log.Warn("rules whose tests fail are taken by force", "failed", failing.report.Failed, "tests", failing.report.All)
		err = nil
	}
	p.policy.mu.Lock()
	defer p.policy.mu.Unlock()
	p.policy.error = err
	if err != nil {
		return err
	}
	p.policy.off, p.policy.rules = offFilters(c.rules), c.rules
	p.gateway.SetPolicy(c.policy)
	p.log.Info("policy in force", "version", c.policy.Version(), "rules", len(c.rules.Rules()), "tests", c.tests.All, "filters", c.policy.Filters())
	if len(p.policy.off) > 0 {
		p.log.Warn("rules name filters that are not configured, and are skipped (clamav: give clamav.addresses or --clamd)", "filters", p.policy.off)
	}
	return nil
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

// reload takes changed rule files and certificates; whatever fails leaves the old in force.
func (p *program) reload() {
	if err := p.loadPolicy(settled); err != nil {
		p.metrics.reloads.WithLabelValues("failed").Inc()
		p.log.Error("reload: the old policy stays in force; postern check shows the same errors", "error", err)
	} else {
		p.metrics.reloads.WithLabelValues("ok").Inc()
	}
	if p.certs != nil {
		if err := p.certs.reload(); err != nil {
			p.log.Error("reload: the old certificate stays in force", "error", err)
		} else {
			p.log.Info("certificate in force", "until", p.certs.expires())
		}
	}
}
