package gateway

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/filters"
	"postern/mail"
)

// A conversation is one connection: who is there, the policy that was in force when it came,
// and what was found out about it. Its methods are called from the session's goroutine, but for end.
type conversation struct {
	g      *Gateway
	policy *Policy
	plan   *schedule
	ctx    context.Context
	cancel context.CancelCauseFunc
	alone  func() bool // ends the care for the current transaction when ctx is cancelled from outside
	client mail.Client
	scope  *filters.Scope
	gone   func() bool // whether the client has hung up; nil: nobody knows

	mu          sync.Mutex
	current     *transaction
	unconfirmed *memory // of a message whose 250 may not have reached the client (RFC 1047)
	ended       bool
}

// Causes of cancelled contexts, as the trace shows them.
var (
	errDecided = errors.New("decided")
	errOver    = errors.New("the transaction was over")
)

// connect begins a conversation; end ends it. ctx is the connection's: when it is cancelled,
// what has not been relayed or held yet is given up.
func (g *Gateway) connect(ctx context.Context, client mail.Client) talk {
	client.Trusted = g.trusts(client.Addr)
	c := &conversation{g: g, policy: g.policy.Load(), client: client, scope: filters.NewScope(nil)}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.alone = context.AfterFunc(c.ctx, c.cut)
	if c.policy != nil {
		c.plan = c.policy.schedule(client.Trusted)
		c.scope.Start(c.ctx, c.plan.eager[mail.Connect], filters.Input{Envelope: mail.Envelope{Client: client, Received: g.now()}})
	}
	return c
}

// hello notes what was said in EHLO or HELO and the state of TLS.
func (c *conversation) hello(helo string, esmtp bool, tls string) {
	c.confirm()
	c.client.Helo, c.client.ESMTP, c.client.TLS = helo, esmtp, tls
}

// begin starts a transaction at MAIL, or says why not.
func (c *conversation) begin(from mail.Address, o mail.Options) (deal, *mail.Reply) {
	c.confirm()
	if c.policy == nil {
		return nil, replyLater
	}
	if r := c.refuses(from, o); r != nil {
		return nil, r
	}
	if c.g.room != nil {
		if err := c.g.room(); err != nil {
			c.g.log.Warn("nothing is taken while nothing can be stored", "client", c.client.Addr, "error", err)
			return nil, noRoom(err)
		}
	}
	t := newTransaction(c, from, o)
	c.mu.Lock()
	before := c.current
	c.current = t
	c.mu.Unlock()
	if before != nil {
		before.abandon(errOver)
	}
	return t, nil
}

// refuses says why no transaction is begun: which option the internal server lacks, for one, since
// none is silently dropped.
func (c *conversation) refuses(from mail.Address, o mail.Options) *mail.Reply {
	e := c.g.extensions()
	switch {
	case c.g.cfg.RequireTLS && c.client.TLS == "":
		return replyNeedsTLS
	case strings.EqualFold(c.client.Helo, c.g.cfg.Hostname): // it is us: each RCPT would open the next round (S-50)
		c.g.log.Error("a client calls itself what we are called: is an internal server set to ourselves?", "client", c.client.Addr, "helo", c.client.Helo)
		return replyOurself
	case e.Size > 0 && o.Size > e.Size:
		return replyTooBig
	case (o.UTF8 || from.NeedsUTF8()) && !e.UTF8:
		return replyNoUTF8
	case o.RequireTLS && (!e.RequireTLS || c.client.TLS == ""):
		return replyNoRequireTLS
	case o.Body == "8BITMIME" && !e.EightBitMIME, (o.Ret != "" || o.EnvID != "") && !e.DSN:
		return replyNoParameter
	}
	return nil
}

// confirm notes that the client went on, so the last reply reached it.
func (c *conversation) confirm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unconfirmed != nil {
		c.g.resends.settle(c.unconfirmed.print, c, false)
	}
	c.unconfirmed = nil
}

// remember notes a message that the internal server has taken, until confirm.
func (c *conversation) remember(m memory) {
	c.mu.Lock()
	late := c.ended
	if !late {
		c.g.resends.settle(m.print, c, true)
		c.unconfirmed = &m
	}
	c.mu.Unlock()
	if late {
		c.g.resendable(m)
		c.g.resends.settle(m.print, c, false)
	}
}

// left tells whether the client has hung up, though we may not have come to read that. It may be
// called from another goroutine.
func (c *conversation) left() bool { return c.gone != nil && c.gone() }

// forget lets go of a transaction that is over, so that an idle connection holds nothing of it.
func (c *conversation) forget(t *transaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == t {
		c.current = nil
	}
}

// end ends the connection: cause is nil or errQuit after QUIT, else why it was cut. It may be called from
// another goroutine, and more than once.
func (c *conversation) end(cause error) {
	if cause = cmp.Or(cause, errQuit); errors.Is(cause, errQuit) {
		c.confirm()
	}
	c.mu.Lock()
	t, unread := c.current, c.unconfirmed
	c.unconfirmed, c.ended = nil, true
	c.mu.Unlock()
	if unread != nil {
		c.g.resendable(*unread)
		c.g.resends.settle(unread.print, c, false)
	}
	if t != nil {
		t.abandon(cause)
	}
	c.alone()
	c.cancel(cause)
	c.g.join(c.scope)
}

// cut ends what is done for the current transaction when the connection is to end.
func (c *conversation) cut() {
	c.mu.Lock()
	t := c.current
	c.mu.Unlock()
	if t != nil {
		t.cancel(context.Cause(c.ctx))
	}
}

// joinLimit is how long we wait for filters that were told to stop.
const joinLimit = 10 * time.Second

// join waits until the filters of these scopes have returned, which were told to; one that
// does not listen is left behind after a while rather than hold up the mail.
func (g *Gateway) join(scopes ...*filters.Scope) {
	wait := func() {
		for _, s := range scopes {
			s.Join()
		}
	}
	if !slices.ContainsFunc(scopes, (*filters.Scope).Busy) {
		wait()
		return
	}
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	t := time.NewTimer(joinLimit)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		g.log.Error("a filter does not stop when told to")
	}
}
