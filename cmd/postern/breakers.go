package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"postern/breaker"
	"postern/gateway"
	"postern/journal"
	"postern/policies"
	"postern/rules"
)

// newBreaker makes the breaker of the rules; nil when it is switched off.
func newBreaker(cfg *Config, now time.Time) *breaker.Breaker {
	c := cfg.Breaker
	if c.Off {
		return nil
	}
	return breaker.New(breaker.Config{Factor: c.Factor, Least: c.Least, Window: time.Duration(c.Window)}, now)
}

// watched lists the rules that keep mail back, each with what becomes of it when it decides too
// much: what it says itself, or the configuration says of its class. Viruses only raise an
// alarm: whoever sends many must not get them through.
func (c *BreakerConf) watched(list []rules.RuleInfo) []breaker.Rule {
	var out []breaker.Rule
	for _, r := range list {
		if r.Shadow || r.Do == rules.None || r.Do == rules.Deliver {
			continue
		}
		mode := breaker.Mode(r.Breaker)
		if mode == "" {
			mode = breaker.Alarm
			if slices.Contains(c.Classes, r.Class) {
				mode = breaker.Tag
			}
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s", r.Do, r.When))
		out = append(out, breaker.Rule{Name: r.Name, Print: hex.EncodeToString(sum[:8]), Mode: mode})
	}
	return out
}

// counted has each entry's rules counted, once a message: those that decided, and those that
// would have, were their breaker not open.
func counted(b *breaker.Breaker) journal.Sink {
	seed := maphash.MakeSeed()
	return func(e *journal.Entry) {
		from := source(seed, e)
		for i := range e.Outcomes {
			o := &e.Outcomes[i]
			if o.Rule != "" && !earlier(e.Outcomes[:i], func(x *journal.Outcome) bool { return x.Rule == o.Rule }) {
				b.Hit(o.Rule, from)
			}
			for _, rule := range o.Breaker {
				if !earlier(e.Outcomes[:i], func(x *journal.Outcome) bool { return slices.Contains(x.Breaker, rule) }) {
					b.Hit(rule, from)
				}
			}
		}
	}
}

func earlier(list []journal.Outcome, same func(*journal.Outcome) bool) bool {
	for i := range list {
		if same(&list[i]) {
			return true
		}
	}
	return false
}

// source names the network that a message came from; behind a relay of ours, the domain of its
// sender.
func source(seed maphash.Seed, e *journal.Entry) uint64 {
	if e.Envelope.Client.Trusted {
		return maphash.String(seed, e.Envelope.Sender.Domain)
	}
	addr := e.Envelope.Client.Addr.Unmap()
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return 0
	}
	return maphash.Comparable(seed, network.Addr().As16())
}

// watchRules has the breaker watch the rules of a candidate, and gives the policy with those
// tripped that are open.
func (p *program) watchRules(c *candidate) (*gateway.Policy, error) {
	if p.breaker == nil {
		return c.policy, nil
	}
	p.breaker.Watch(p.cfg.Breaker.watched(c.rules.Rules()), p.savedBreakers())
	return p.tripped(c)
}

// tripped is the policy of a candidate with the breakers as they are.
func (p *program) tripped(c *candidate) (*gateway.Policy, error) {
	open, _ := p.breaker.Open()
	p.metrics.open.Reset()
	for _, rule := range open {
		p.metrics.open.WithLabelValues(rule).Set(1)
	}
	if len(open) == 0 {
		return c.policy, nil
	}
	return gateway.NewPolicy(c.rules.Tripped(open), c.filters)
}

// savedBreakers is what the store knows of breakers. Without it they learn anew.
func (p *program) savedBreakers() map[string]breaker.State {
	ctx, cancel := context.WithTimeout(context.Background(), historyTime)
	defer cancel()
	states, err := readBreakers(ctx, p.stores)
	if err != nil {
		p.log.Error("breakers", "error", err)
	}
	return states
}

func readBreakers(ctx context.Context, s *stores) (map[string]breaker.State, error) {
	raw, err := s.policies.Breakers(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]breaker.State{}
	for rule, text := range raw {
		var st breaker.State
		if err := json.Unmarshal(text, &st); err != nil {
			return out, fmt.Errorf("breaker of %s: %w", rule, err)
		}
		out[rule] = st
	}
	return out, nil
}

// saveBreakers keeps what is known of them.
func (p *program) saveBreakers(ctx context.Context) {
	if p.breaker == nil || p.policy == nil || p.policy.now == nil { // it has not begun to watch
		return
	}
	raw := map[string]json.RawMessage{}
	for rule, st := range p.breaker.States() {
		text, err := json.Marshal(st)
		if err != nil { // numbers, words and times: it cannot fail
			continue
		}
		raw[rule] = text
	}
	if err := p.policies.SaveBreakers(ctx, raw); err != nil && ctx.Err() == nil {
		p.log.Error("breakers", "error", err)
	}
}

// tickBreakers looks for rules that decide too much, and has the next connections get a policy
// in which they only tag.
func (p *program) tickBreakers(ctx context.Context, now time.Time) {
	if p.breaker == nil {
		return
	}
	events, ended := p.breaker.Tick(now)
	p.tellBreakers(events)
	if len(events) > 0 || ended {
		p.saveBreakers(ctx)
	}
}

// tellBreakers tells of events and puts a policy in force that goes by them.
func (p *program) tellBreakers(events []breaker.Event) {
	for _, e := range events {
		fields := []any{"rule", e.Rule, "why", e.Why, "messages", e.State.Count, "limit", e.State.Limit, "usual", e.State.Baseline}
		switch {
		case !e.State.Open:
			p.log.Warn("breaker closed: the rule has its say again", fields...)
		case e.State.Mode == breaker.Alarm:
			p.metrics.alarms.WithLabelValues(e.Rule).Inc()
			p.log.Error("a rule decides far more than it used to; it goes on", fields...)
		default:
			p.metrics.alarms.WithLabelValues(e.Rule).Inc()
			p.log.Error("breaker opened: the rule only tags from now on; postern rules breaker reset ends that", fields...)
		}
	}
	if len(events) == 0 {
		return
	}
	p.policy.loading.Lock()
	defer p.policy.loading.Unlock()
	policy, err := p.tripped(p.policy.now)
	if err != nil {
		p.log.Error("breaker", "error", err)
		return
	}
	p.gateway.SetPolicy(policy)
}

// resetBreaker is what an order asks for.
func (p *program) resetBreaker(rule string) error {
	if p.breaker == nil {
		return errors.New("the breaker is switched off (breaker.off)")
	}
	e, ok := p.breaker.Reset(rule)
	if !ok {
		return fmt.Errorf("no breaker of a rule %q is open (postern rules list)", rule)
	}
	p.tellBreakers([]breaker.Event{e})
	p.saveBreakers(context.Background())
	return nil
}

// rulesBreakerCmd closes breakers.
type rulesBreakerCmd struct {
	Reset rulesBreakerResetCmd `cmd:"" help:"Close the breaker of a rule: what it decided last is what is usual from now on."`
}

// Help is shown by --help.
func (rulesBreakerCmd) Help() string { return "Example:\n  postern rules breaker reset newsletters" }

type rulesBreakerResetCmd struct {
	storeFlags
	Rule string `arg:"" help:"Name of the rule."`
}

// Help is shown by --help.
func (rulesBreakerResetCmd) Help() string {
	return "Example:\n  postern rules list && postern rules breaker reset newsletters\n\nA breaker also closes by itself, after three windows in which the rule decided less than half of the limit."
}

// Run asks the running gateway.
func (c *rulesBreakerResetCmd) Run(out output) error {
	s := settings{Config: c.Config, Data: c.Data}
	cfg, err := s.read()
	if err != nil {
		return err
	}
	return withHistory(cfg, func(ctx context.Context, h *policies.Store) error {
		running, problem, err := order(ctx, cfg, h, &policies.Order{At: time.Now(), Who: whoami(), What: policies.Reset, Arg: c.Rule})
		switch {
		case err != nil:
			return err
		case !running:
			return errors.New("rules breaker reset: no gateway runs on this data")
		case problem != "":
			return fmt.Errorf("rules breaker reset: %s", problem)
		}
		fmt.Fprintf(out.out, "The breaker of %s is closed: the rule has its say again.\n", c.Rule)
		return nil
	})
}
