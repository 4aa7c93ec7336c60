package main

import (
	"fmt"
	"slices"
	"sync"

	"postern/filters"
	"postern/gateway"
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
// an error the old one stays in force.
func (p *program) loadPolicy() error {
	policy, compiled, err := newPolicy(p.cfg, p.resolver)
	p.policy.mu.Lock()
	defer p.policy.mu.Unlock()
	p.policy.error = err
	if err != nil {
		return err
	}
	p.policy.off, p.policy.rules = offFilters(compiled), compiled
	p.gateway.SetPolicy(policy)
	p.log.Info("policy in force", "version", policy.Version(), "rules", len(compiled.Rules()), "filters", policy.Filters())
	if len(p.policy.off) > 0 {
		p.log.Warn("rules name filters that are not configured, and are skipped (clamav: give clamav.addresses or --clamd)", "filters", p.policy.off)
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

// newPolicy compiles the rule files and joins them with the filters they need.
func newPolicy(cfg *Config, r filters.Resolver) (*gateway.Policy, *rules.Policy, error) {
	fs := filterList(cfg, r)
	compiled, err := compile(cfg, fs)
	if err != nil {
		return nil, nil, fmt.Errorf("the rules do not load:\n%w", err)
	}
	policy, err := gateway.NewPolicy(compiled, fs)
	return policy, compiled, err
}

// reload takes changed rule files and certificates; whatever fails leaves the old in force.
func (p *program) reload() {
	if err := p.loadPolicy(); err != nil {
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
