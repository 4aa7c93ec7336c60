package gateway

import (
	"context"
	"fmt"
	"strings"

	"postern/filters"
	"postern/mail"
)

// decide walks the rules for one recipient until they decide or wait for what cannot be known
// yet. A fact that was not started is worth no wait; a lazy filter is started when the walk
// cannot go on without it.
func (t *transaction) decide(ctx context.Context, r *recipient, now mail.Stage) error {
	if !t.each && t.general != nil {
		r.verdict, r.decided = *t.general, true
	}
	for walks := 0; !r.decided; walks++ {
		v, waiting := t.policy.rules.Decide(t.view(r))
		if len(waiting) == 0 {
			if t.ctx.Err() != nil {
				return t.ctx.why() // filters were stopped: what they left is no ground for a verdict
			}
			r.verdict, r.decided = v, true
			if !t.each {
				t.general = &r.verdict
			}
			return nil
		}
		if walks == maxWalks {
			return fmt.Errorf("rules wait for %s for ever", strings.Join(waiting, ", "))
		}
		waited, err := t.awaitStarted(ctx, r.scope, waiting)
		if err != nil {
			return err
		}
		if !waited && !t.startLazy(r, waiting, now) {
			if now == mail.Data {
				return fmt.Errorf("rules wait for %s, which nothing provides", strings.Join(waiting, ", "))
			}
			return nil
		}
	}
	return nil
}

// maxWalks bounds the walks for one verdict; after each at least one more fact is known.
const maxWalks = 1000

// awaitStarted waits for those of the facts that are under way, and says whether any was.
func (t *transaction) awaitStarted(ctx context.Context, s *filters.Scope, names []string) (waited bool, err error) {
	for _, name := range names {
		if !s.Started(name) {
			continue
		}
		if err := t.await(ctx, s, name); err != nil {
			return false, err
		}
		waited = true
	}
	return waited, nil
}

// await waits for a fact, as long as the client is there and ctx allows.
func (t *transaction) await(ctx context.Context, s *filters.Scope, name string) error {
	if _, _, known := s.Lookup(name); known {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(&t.ctx, func() { cancel(t.ctx.why()) })
	defer stop()
	return s.Wait(ctx, name)
}

// startLazy starts what was named and can be started now, and says whether that was anything.
func (t *transaction) startLazy(r *recipient, names []string, now mail.Stage) bool {
	started := false
	for _, f := range t.plan.named(names, now) {
		if r.scope.Started(f.Name) {
			continue
		}
		s, ctx, in := t.scope, context.Context(&t.work), t.input(r)
		switch f.Stage {
		case mail.Connect:
			s, ctx = t.c.scope, t.c.ctx
		case mail.Recipient:
			s = r.scope
		}
		s.Start(ctx, []filters.Filter{f}, in)
		t.note("started", f.Name)
		started = true
	}
	return started
}
