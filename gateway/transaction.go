package gateway

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/filters"
	"postern/journal"
	"postern/mail"
	"postern/rules"
)

// This file is the way of one message, from top to bottom: newTransaction (MAIL), rcpt, ready
// (DATA), data (receive and inspect in receive.go, judge, dispose), finish.

// A transaction is one message's way: a fresh value for each MAIL, thrown away whole.
type transaction struct {
	g      *Gateway
	c      *conversation
	policy *Policy
	plan   *schedule
	ctx    tether        // the client's being there
	work   tether        // the filters'
	env    mail.Envelope // Recipients: those accepted
	began  time.Time
	scope  *filters.Scope

	each    bool         // recipients may have facts, and so verdicts, of their own
	rcpts   []*recipient // each RCPT that was answered, once
	byAddr  map[mail.Address]*recipient
	general *rules.Verdict // for all, when no rule looks at the recipient
	memory  rules.Memory   // what rules found out for all
	routes  map[string]*route

	body    *mail.Body
	header  *mail.Header
	content maphash.Hash // of the body's bytes
	lasting uint32       // CRC-32C of them, for a Recall
	counted []count      // by throttles
	outline *filters.Outline
	plans   []*partPlan
	texted  int64       // bytes of texts that plans hold
	taken   *mail.Reply // the internal server's first 2xx: from then on the answer is 250
	steps   []journal.Step

	errands []*errand // then it is mail to Postern itself, and nothing else
	toInbox bool      // some recipient was in the inbox's domain

	mu   sync.Mutex
	busy bool  // a command is at work
	over bool  // finished
	gone error // why it was abandoned while busy

	result   string
	recorded bool
	crashed  bool // something panicked
	unheard  bool // the upload broke off: nobody is told a reply
}

// rcptWait bounds what RCPT waits for facts, upstreamWait what it waits for the internal server,
// stampWait what a decided message waits for results to be stamped, settleLimit what it takes to
// settle the quarantine and the journal once the reply is certain.
const (
	rcptWait     = 10 * time.Second
	upstreamWait = 60 * time.Second
	stampWait    = 30 * time.Second
	settleLimit  = 15 * time.Second
)

func newTransaction(c *conversation, from mail.Address, o mail.Options) *transaction {
	g := c.g
	t := &transaction{g: g, c: c, policy: c.policy, plan: c.plan, each: c.policy.eachRecipient(), began: time.Now(), scope: filters.NewScope(c.scope), steps: make([]journal.Step, 0, usualSteps)}
	t.ctx.Context, t.work.Context = c.ctx, &t.ctx
	now := g.now()
	t.env = mail.Envelope{ID: g.ids.next(now), Received: now, Client: c.client, Sender: from, Options: o}
	t.scope.Start(&t.work, t.plan.eager[mail.Sender], t.input(nil))
	return t
}

// input is what filters may look at now.
func (t *transaction) input(r *recipient) filters.Input {
	in := filters.Input{Envelope: t.env, Body: t.body}
	if r != nil && t.each {
		in.Recipient = r.to.Address
	}
	return in
}

// rcpt answers RCPT TO: nil accepts.
func (t *transaction) rcpt(to mail.RcptTo) (reply *mail.Reply) {
	if !t.enter() {
		return replyClosing
	}
	defer t.leave()
	if r := t.byAddr[to.Address]; r != nil { // twice the same: one copy, the first answer
		return r.refused
	}
	if most := t.g.cfg.Limits.Recipients; most > 0 && (len(t.env.Recipients) >= most || len(t.rcpts) >= 2*most) {
		return replyTooMany
	}
	if t.sentAway() {
		return replyHarvest
	}
	r := &recipient{to: to, goal: to, scope: t.scope}
	defer func() {
		if v := recover(); v != nil {
			reply = t.panicked(v)
		}
		reply = t.harvesting(r, reply)
		t.admit(r, reply)
	}()
	if t.g.inbox != nil && to.Address.Domain == t.g.inboxDomain {
		return t.errand(r)
	}
	if reply := t.g.serves(to); reply != nil {
		return reply
	}
	if len(t.errands) > 0 {
		return replySplit
	}
	if t.each {
		r.scope = filters.NewScope(t.scope)
	}
	if len(t.plan.eager[mail.Recipient]) > 0 {
		r.scope.Start(&t.work, t.plan.eager[mail.Recipient], t.input(r))
	}
	if reply := t.foresee(r); reply != nil {
		return reply
	}
	if r.decided && r.verdict.Do == rules.Discard {
		return nil
	}
	return t.offer(r)
}

// serves says whether we take mail for the address at all.
func (g *Gateway) serves(to mail.RcptTo) *mail.Reply {
	switch {
	case !g.cfg.Domains.Contains(to.Address.Domain):
		return replyNotOurs
	case strings.ContainsAny(to.Address.Local, "@%!"): // routes of old: some server behind may follow them
		return replyAmbiguousTo
	case to.Address.NeedsUTF8() && !g.extensions().UTF8:
		return replyNoUTF8
	case (to.Notify != "" || to.ORcpt != "") && !g.extensions().DSN:
		return replyNoParameter
	}
	return nil
}

// foresee decides before the data, when what is known or under way is enough, and refuses then.
func (t *transaction) foresee(r *recipient) *mail.Reply {
	ctx := within(&t.ctx, rcptWait, nil)
	defer ctx.end()
	switch err := t.decide(ctx, r, mail.Recipient); {
	case t.ctx.Err() != nil:
		return replyClosing
	case err != nil && !errors.Is(err, context.DeadlineExceeded): // too slow for RCPT: after the data, then
		return t.failed("decide at RCPT", err)
	}
	if r.decided && (r.verdict.Do == rules.Reject || r.verdict.Do == rules.Defer) {
		return refusal(&r.verdict, t.env.ID)
	}
	if t.g.cfg.Split {
		for _, first := range t.rcpts {
			if first.refused == nil && first.verdict.Do != r.verdict.Do {
				return replySplit
			}
		}
	}
	return nil
}

// offer asks the internal server whether it takes the recipient, and passes its answer on.
func (t *transaction) offer(r *recipient) *mail.Reply {
	ctx := within(&t.ctx, upstreamWait, nil)
	defer ctx.end()
	r.goal, r.route = r.to, t.g.upstream.Route(r.to.Address)
	if r.decided && len(r.verdict.Effects) > 0 {
		e := editsOf(r.verdict.Effects)
		if t.aim(r, &e); r.goal.Address != r.to.Address {
			return t.ask(ctx, r, r.route, r.goal)
		}
	}
	way := t.way(ctx, r.route)
	if way.failed != nil {
		return way.failed
	}
	if err := way.delivery.Rcpt(ctx, r.goal); err != nil {
		_ = errors.As(err, &r.upstream)
		return t.neighbour("internal server: RCPT", err, replyUnreachable)
	}
	return nil
}

// way is our transaction with an internal server, begun when there is none yet.
func (t *transaction) way(ctx context.Context, name string) *route {
	way := t.routes[name]
	if way != nil {
		return way
	}
	way = &route{}
	if t.routes == nil {
		t.routes = map[string]*route{}
	}
	t.routes[name] = way
	var err error
	if way.delivery, err = t.g.upstream.Begin(ctx, name, t.env); err != nil {
		way.failed = t.neighbour("internal server", err, replyUnreachable)
	}
	return way
}

// ready answers DATA before 354: nil goes on.
func (t *transaction) ready() *mail.Reply {
	reply := replyNoRecipient
	for _, r := range t.rcpts {
		switch {
		case r.refused == nil:
			return t.shed()
		case r.refused.Temporary():
			reply = replyAllDeferred
		case reply == replyNoRecipient:
			reply = replyAllRefused
		}
	}
	return reply
}

// shed puts the message off before its data when what it may need has too much to do already: to
// read it for nothing would make that worse (S-35).
func (t *transaction) shed() *mail.Reply {
	if len(t.errands) > 0 || !slices.ContainsFunc(t.policy.full, func(full func() bool) bool { return full() }) || !undecided(t.accepted()) {
		return nil
	}
	if !t.enter() {
		return replyClosing
	}
	defer t.leave()
	t.note("put off", "too much waits to be checked")
	for _, r := range t.accepted() {
		r.refused, r.reply, r.did = replyBusy, replyBusy, rules.Defer
	}
	t.env.Recipients = nil // it has none any more
	return replyBusy
}

// data takes the message and brings it to its end. There is always a reply, and the transaction
// is over.
func (t *transaction) data(u upload) (reply *mail.Reply) {
	if !t.enter() {
		return replyClosing
	}
	defer func() {
		if v := recover(); v != nil {
			reply = t.panicked(v)
		}
		if t.unheard {
			t.finish(nil)
			return
		}
		t.finish(reply)
	}()
	rcpts := t.accepted()
	t.body = t.g.spool.New()
	if r := t.receive(u, len(t.errands) == 0 && undecided(rcpts)); r != nil {
		return r
	}
	ctx := within(context.WithoutCancel(&t.ctx), t.g.cfg.Limits.Decide, errDeadline)
	defer ctx.end()
	if r := t.inspect(u); r != nil {
		return r
	}
	if len(t.errands) > 0 {
		return t.carryOut(ctx)
	}
	print, known := t.print()
	if known = known && !t.g.cfg.RelayResends; known {
		switch what, first := t.g.resends.begin(print, t.c, t.env.ID, t.g.now()); what {
		case wasTaken:
			return t.again(rcpts, first)
		case isUnderway:
			t.note("sent again", "it is being delivered for a connection that broke")
			return replyLater
		case unsent:
		}
		defer func() {
			if known { // the internal server has nothing of it
				t.g.resends.settle(print, t.c, false)
			}
		}()
	}
	if t.poison() {
		t.isolate(rcpts)
	} else if r := t.judge(ctx, rcpts); r != nil {
		return r
	}
	if cause := t.ctx.why(); cause != nil { // until here the client's leaving counts, from here it does not
		return t.lost(cause)
	}
	reply = t.dispose(ctx, rcpts)
	t.vouch(rcpts)
	if known && t.taken != nil {
		t.c.remember(memory{print, t.env.ID, t.g.now()})
		known = false
	}
	return reply
}

// errDeadline ends the wait for facts or for the internal server.
var errDeadline = fmt.Errorf("took too long: %w", context.DeadlineExceeded)

// again answers for a message that the internal server took already, though our client did not
// learn it.
func (t *transaction) again(rcpts []*recipient, first string) *mail.Reply {
	t.note("sent again", "it was taken as "+first+", but the connection broke before the reply was read")
	for _, r := range rcpts {
		r.did, r.note = rules.Deliver, "taken before, as "+first
	}
	return accepted(t.env.ID)
}

// judge finds the verdict for each recipient, waiting for exactly what it needs.
func (t *transaction) judge(ctx context.Context, rcpts []*recipient) *mail.Reply {
	deliver := false
	for _, r := range rcpts {
		if err := t.decide(ctx, r, mail.Data); err != nil {
			if cause := t.ctx.why(); cause != nil {
				return t.lost(cause)
			}
			if errors.Is(err, errDeadline) {
				t.note("gave up", err.Error())
				return replyTooSlow
			}
			return t.failed("decide", err)
		}
		if len(r.verdict.Wants) > 0 {
			t.shadows(ctx, r)
		}
		deliver = deliver || r.verdict.Do == rules.Deliver
	}
	t.note("decided", "")
	if deliver {
		t.awaitStamped(ctx)
	}
	t.work.cut(errDecided)
	return nil
}

// awaitStamped waits for the results that are stamped; what does not come in time is not.
func (t *transaction) awaitStamped(ctx context.Context) {
	var cancel context.CancelFunc
	for _, name := range t.policy.stamped {
		if _, _, known := t.scope.Lookup(name); known {
			continue
		}
		if cancel == nil {
			ctx, cancel = context.WithTimeout(ctx, stampWait)
			defer cancel()
		}
		_ = t.scope.Wait(ctx, name)
	}
}
