package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"postern/quarantine"
	"postern/review"
)

// deskRules is the rules of the running gateway as the Desk sees them: review.RuleRoom.
type deskRules struct {
	p        *program
	trying   chan struct{} // has room while nobody tries rules
	asking   chan struct{} // has room while nobody asks what an entry of the lists would let in
	applying sync.Mutex
	numbers  cache[*review.Overview]
	fates    cache[[]quarantine.Fate]
	health   cache[[]review.Neighbour]
	lint     cache[[]string]

	mu   sync.Mutex
	past map[string]*judge // versions that are not in force any more, by name
}

var _ review.RuleRoom = (*deskRules)(nil)

func newDeskRules(p *program) *deskRules {
	return &deskRules{p: p, trying: make(chan struct{}, 1), asking: make(chan struct{}, 1), past: map[string]*judge{}}
}

// maxPast is how many earlier versions are kept compiled.
const maxPast = 8

// rulesOf gives the rules of a version, with the breakers open that were.
func (d *deskRules) rulesOf(ctx context.Context, version string) (*judge, error) {
	base, _, _ := strings.Cut(version, "!")
	if j := d.live(); j.policy.Version() == base {
		return j.as(version), nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if j := d.past[base]; j != nil {
		return j.as(version), nil
	}
	j, err := d.p.pastRules(ctx, d.p.cfg, d.p.asks(d.p.resolver), base)
	if err != nil {
		return nil, err
	}
	if len(d.past) >= maxPast {
		clear(d.past)
	}
	d.past[base] = j
	return j.as(version), nil
}

// live is the rules in force, all breakers closed.
func (d *deskRules) live() *judge {
	c := d.p.policy.current()
	return &judge{policy: c.rules, filters: c.filters, close: func() {}}
}

// current is what is in force.
func (s *policyState) current() *candidate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// wrong is what people should know of why something cannot be done.
func wrong(format string, args ...any) error {
	return &review.InputError{Text: fmt.Sprintf(format, args...)}
}
