package gateway

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"postern/mail"
	"postern/rules"
)

const notifyEffect = "notify"

// Bounds of notices. A rule tells one address no more often than every noticeEvery.
const (
	noticeEvery  = 10 * time.Minute
	maxNotices   = 100              // that wait to be sent
	maxNoticeAge = 10_000           // rules and addresses whose last notice is remembered
	noticeLimit  = 60 * time.Second // for one to be sent
	noticeWait   = 10 * time.Second // for what waits, when the gateway stops
)

// A notice is a short message about a message. It goes to an address of ours, never to a sender:
// the address stands in a rule.
type notice struct {
	to     mail.Address
	rule   string
	said   string // what the rule wants said
	about  mail.Envelope
	known  summary
	result string
	why    string
	rcpts  []string
	missed int // notices like this one that were not sent since the last
}

// notify hands the notices that rules ask for over to be sent. The message has had its answer by
// then: whatever fails here, its fate stays.
func (t *transaction) notify() {
	defer func() {
		if v := recover(); v != nil {
			t.panicked(v)
		}
	}()
	var list []*notice
	for _, r := range t.rcpts {
		if !r.decided || r.did == rules.None {
			continue
		}
		for i := range r.verdict.Effects {
			if x := &r.verdict.Effects[i]; x.Name == notifyEffect {
				list = t.noticed(list, r, x)
			}
		}
	}
	for _, n := range list {
		if t.g.notices.due(n, t.g.now()) && !t.g.notices.add(t.g, n) {
			t.g.log.Warn("a notice is not sent, since too many wait", "id", t.env.ID, "rule", n.rule, "to", n.to.String())
		}
	}
}

// noticed adds a recipient to the notice of its rule, and a notice when there is none yet.
func (t *transaction) noticed(list []*notice, r *recipient, x *rules.Effect) []*notice {
	n := &notice{to: parsed(x.Args[0]), rule: x.Rule, about: t.env, known: t.summary(), result: t.sum(), why: r.because(nil)}
	if len(x.Args) > 1 {
		n.said = x.Args[1]
	}
	at := slices.IndexFunc(list, func(o *notice) bool { return o.to == n.to && o.rule == n.rule })
	if at < 0 {
		list, at = append(list, n), len(list)
	}
	list[at].rcpts = append(list[at].rcpts, r.to.Address.String())
	return list
}

// A notifier sends notices one after the other, by a goroutine that is there while any wait.
type notifier struct {
	mu     sync.Mutex
	queue  []*notice
	done   chan struct{} // closed when the goroutine ends; nil while there is none
	cancel context.CancelFunc
	last   map[noticeKey]*spell
}

type noticeKey struct {
	rule string
	to   mail.Address
}

// A spell begins with a notice that was sent.
type spell struct {
	began  time.Time
	missed int
}

// due reports whether it is time again for a notice of its kind, and notes it when it is not.
func (ns *notifier) due(n *notice, now time.Time) bool {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	key := noticeKey{n.rule, n.to}
	s := ns.last[key]
	if s != nil && now.Sub(s.began) < noticeEvery && !now.Before(s.began) {
		s.missed++
		return false
	}
	if ns.last == nil || len(ns.last) >= maxNoticeAge {
		ns.last = map[noticeKey]*spell{}
	}
	if s != nil {
		n.missed = s.missed
	}
	ns.last[key] = &spell{began: now}
	return true
}

// add queues a notice; false when too many wait.
func (ns *notifier) add(g *Gateway, n *notice) bool {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if len(ns.queue) >= maxNotices {
		return false
	}
	ns.queue = append(ns.queue, n)
	if ns.done == nil {
		ctx, cancel := context.WithCancel(context.Background())
		ns.cancel, ns.done = cancel, make(chan struct{})
		go ns.run(ctx, g)
	}
	return true
}

// run sends what waits, and ends.
func (ns *notifier) run(ctx context.Context, g *Gateway) {
	for {
		ns.mu.Lock()
		if len(ns.queue) == 0 || ctx.Err() != nil {
			ns.queue = nil
			ns.cancel()
			close(ns.done)
			ns.done = nil
			ns.mu.Unlock()
			return
		}
		n := ns.queue[0]
		ns.queue = ns.queue[1:]
		ns.mu.Unlock()
		g.tell(ctx, n)
	}
}

// wait returns when nothing is sent any more; after some time the rest is given up.
func (ns *notifier) wait(most time.Duration) {
	ns.mu.Lock()
	done, cancel := ns.done, ns.cancel
	ns.mu.Unlock()
	if done == nil {
		return
	}
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		cancel()
		<-done
	}
}

// tell sends one notice through the internal server, from the null sender: nobody answers it.
func (g *Gateway) tell(ctx context.Context, n *notice) {
	defer func() {
		if v := recover(); v != nil {
			g.front.panicked(v)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, noticeLimit)
	defer cancel()
	r := Releaser{Upstream: g.upstream}
	fate := r.Tell(ctx, g.cfg.Hostname, n.about.ID, n.to, g.noticeText(n))
	if fate.Fate != FateDelivered {
		g.log.Warn("a notice could not be sent", "id", n.about.ID, "rule", n.rule, "to", n.to.String(), "fate", fate.Fate, "reply", fate.Reply, "error", fate.Err)
	}
}

// noticeText makes the message. What strangers wrote is reduced to printable ASCII on one line.
func (g *Gateway) noticeText(n *notice) []byte {
	ours := g.front.postmaster()
	b := appendField(nil, "Date", g.now().Format(traceDate))
	b = appendField(b, "From", "Postern <"+ours.String()+">")
	b = appendField(b, "To", n.to.String())
	b = appendField(b, "Subject", mail.Printable(fmt.Sprintf("[Postern] %s: %s, from %s", n.rule, n.result, cmp.Or(n.known.from, n.about.Sender.String(), "the null sender")), 200))
	b = appendField(b, "Message-ID", "<"+n.about.ID+".notice@"+g.cfg.Hostname+">")
	b = appendField(b, "Auto-Submitted", "auto-generated") // RFC 3834
	b = appendField(b, "MIME-Version", "1.0")
	b = appendField(b, "Content-Type", "text/plain; charset=us-ascii")
	b = append(b, "\r\n"...)
	line := func(name, value string) {
		if value = mail.Printable(value, 400); value != "" {
			b = append(b, fmt.Sprintf("%-10s %s\r\n", name, value)...)
		}
	}
	if n.said != "" {
		b = append(b, mail.Printable(n.said, 900)+"\r\n\r\n"...)
	}
	line("rule", n.rule)
	line("result", n.result)
	line("because", n.why)
	line("from", n.known.from)
	line("sender", "<"+n.about.Sender.String()+">")
	for i, to := range n.rcpts {
		if i == maxShownRcpts {
			line("and", fmt.Sprintf("%d more recipients", len(n.rcpts)-i))
			break
		}
		line("for", to)
	}
	line("subject", n.known.subject)
	line("id", n.about.ID+" (postern log show "+n.about.ID+")")
	if n.missed > 0 {
		b = append(b, fmt.Sprintf("\r\nSince the last notice of this rule it was %d times more; such notices are sent every %v at most.\r\n", n.missed, noticeEvery)...)
	}
	return b
}

const maxShownRcpts = 10
