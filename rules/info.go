package rules

import (
	"slices"
	"time"
)

// RuleInfo describes a rule for people.
type RuleInfo struct {
	Name    string      `json:"name"`
	File    string      `json:"file"`
	Line    int         `json:"line"`
	When    string      `json:"when"`
	Class   string      `json:"class"`
	Do      Disposition `json:"do"`
	Score   float64     `json:"score,omitempty"`
	Effects []string    `json:"effects,omitempty"` // their names
	Because string      `json:"because,omitempty"` // as written
	Reply   string      `json:"reply,omitempty"`   // as written
	Unknown string      `json:"unknown,omitempty"` // what it makes of a filter without an answer; "": as the filter says
	Shadow  bool        `json:"shadow,omitempty"`
	Breaker string      `json:"breaker,omitempty"` // tag alarm off; "" for what the configuration says of its class
	Gather  bool        `json:"gather,omitempty"`  // what this shadow rule needs is found out for it
	From    time.Time   `json:"from,omitzero"`
	Until   time.Time   `json:"until,omitzero"`
	Needs   []string    `json:"needs"` // filters that it reads, those that are off left out
	Off     []string    `json:"off,omitempty"`
}

func (c *compiler) describe(t *ruleText, r *rule) RuleInfo {
	info := RuleInfo{Name: r.name, File: r.file, Line: r.line, When: t.when.value, Class: r.class, Do: r.do, Score: r.score,
		Because: t.because.value, Reply: t.reply.value, Unknown: t.unknown.String(), Shadow: r.shadow, Gather: r.gather, Breaker: t.breaker, From: t.from, Until: t.until}
	for _, e := range t.effects {
		info.Effects = append(info.Effects, e.name.value)
	}
	needs := slices.Clone(r.says)
	if r.when != nil {
		r.when.leaves(func(n *node) {
			needs = append(append(needs, n.leaf.reads...), n.leaf.errs...)
			if o := n.leaf.off; o != "" && !slices.Contains(info.Off, o) {
				info.Off = append(info.Off, o)
			}
		})
	}
	slices.Sort(needs)
	info.Needs = []string{}
	for _, i := range slices.Compact(needs) {
		if slices.Contains(c.o.Off, c.names[i]) {
			continue
		}
		info.Needs = append(info.Needs, c.names[i])
	}
	return info
}

// Needs lists, sorted, the filters whose facts a rule reads in its condition or its texts.
// Those that are off, and those that only shadow rules read which do not ask for them, are not
// among them.
func (p *Policy) Needs() []string {
	var out []string
	for _, r := range p.rules {
		if !r.shadow || r.gather {
			out = append(out, r.info.Needs...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ShadowNeeds lists, sorted, the filters that only shadow rules read.
func (p *Policy) ShadowNeeds() []string {
	needs := p.Needs()
	var out []string
	for _, r := range p.rules {
		for _, name := range r.info.Needs {
			if r.shadow && !slices.Contains(needs, name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// GatherNeeds lists, sorted, the filters that shadow rules ask for.
func (p *Policy) GatherNeeds() []string {
	var out []string
	for _, r := range p.rules {
		if r.gather {
			out = append(out, r.info.Needs...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Version names the rules, what they were compiled with, and the engine.
func (p *Policy) Version() string { return p.version }

// Rules describes the rules in their order.
func (p *Policy) Rules() []RuleInfo {
	out := make([]RuleInfo, len(p.rules))
	for i, r := range p.rules {
		out[i] = r.info
	}
	return out
}

// Tests are those that stand beside the rules.
func (p *Policy) Tests() []Test { return slices.Clone(p.tests) }
