package gateway

import (
	"context"
	"time"

	"postern/filters"
	"postern/mail"
	"postern/rules"
)

// A view is what rules see of a scope: what is off is known to have no answer. Recipients of
// one message share all but what was found out for each.
type view struct {
	t *transaction
	s *filters.Scope
}

// view is what rules see for one recipient now.
func (t *transaction) view(r *recipient) view { return view{t, r.scope} }

func (v view) Memory() *rules.Memory { return &v.t.memory }

func (v view) Own(name string) bool {
	return v.t.each && v.t.policy.filters[name].Stage == mail.Recipient
}

// Partial: before the message is there, some of its facts are.
func (v view) Partial() bool { return v.t.body == nil }

func (v view) Lacks(filter, fact string) bool {
	return filter == "message" && !filters.KnownAtOnce(fact)
}

func (v view) Lookup(name string) (any, error, bool) {
	if v.t.policy.off[name] {
		return nil, filters.ErrOff, true
	}
	value, err, known := v.s.Lookup(name)
	if known || name != "message" {
		return value, err, known
	}
	// It need not be waited for: what it says is at hand.
	size := int64(0)
	if b := v.t.body; b != nil {
		if !b.Complete() {
			return nil, nil, false
		}
		size = b.Size()
	}
	value, known = filters.Retell(name, &v.t.env, mail.Address{}, size)
	return value, nil, known
}

// gatherWait bounds what a decided message waits for facts that only shadow rules ask for.
const gatherWait = 10 * time.Second

// shadows decides again what was decided while a shadow rule still lacked facts: those that came
// meanwhile, and those that it asks for. The verdict stays the same.
func (t *transaction) shadows(ctx context.Context, r *recipient) {
	ctx, cancel := context.WithTimeout(ctx, gatherWait)
	defer cancel()
	for walks := 0; len(r.verdict.Wants) > 0 && walks < maxWalks; walks++ {
		if first := t.general; !t.each && first != nil && first != &r.verdict {
			r.verdict = *first
			return
		}
		v, waiting := t.policy.rules.Decide(t.view(r))
		if len(waiting) > 0 || t.ctx.Err() != nil {
			return
		}
		r.verdict = v
		var names []string
		for _, name := range v.Wants {
			if t.policy.gathered[name] {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			return
		}
		shared, own := t.plan.closure(names)
		t.scope.Start(&t.work, shared, t.input(nil))
		r.scope.Start(&t.work, own, t.input(r))
		if waited, err := t.awaitStarted(ctx, r.scope, names); err != nil || !waited {
			return
		}
	}
}
