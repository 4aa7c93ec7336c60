package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/policies"
)

// orderStep is how often the gateway looks for what commands ask of it.
const orderStep = time.Second

// watch carries out what commands ask for, until ctx ends.
func (p *program) watch(ctx context.Context) {
	tick := time.NewTicker(orderStep)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			p.orders(ctx, now)
			p.tickBreakers(ctx, now)
		case <-ctx.Done():
			return
		}
	}
}

// orders carries out what is asked for now.
func (p *program) orders(ctx context.Context, now time.Time) {
	list, err := p.policies.Orders(ctx, now)
	if err != nil && ctx.Err() == nil {
		p.log.Error("orders of commands", "error", err)
	}
	for _, o := range list {
		problem := p.obey(o)
		p.log.Info("order", "what", o.What, "arg", o.Arg, "who", o.Who, "refused", problem != nil)
		if err := p.policies.Answer(ctx, o.N, time.Now(), problem); err != nil {
			p.log.Error("orders of commands", "error", err)
		}
	}
}

func (p *program) obey(o *policies.Order) error {
	switch o.What {
	case policies.Reload:
		if err := p.takeRules(); err != nil {
			return err
		}
		if p.policy.print() != o.Arg {
			return fmt.Errorf("the gateway reads its rules from %q, where other files stand", p.cfg.Rules)
		}
		return nil
	case policies.Reset:
		return p.resetBreaker(o.Arg)
	}
	return errors.New("this gateway does not know how: it is older than the command")
}
