package gateway

import (
	"context"
	"net/netip"
	"strings"

	"postern/mail"
)

// An Inbox takes the mail to Postern itself: people inside answer to what it wrote to them. It
// is neither relayed nor held, and no rule is asked.
type Inbox interface {
	// Domain has the inbox's addresses and no others.
	Domain() string
	// Knows is asked at RCPT: nil, or why the address takes no mail.
	Knows(to mail.Address) *mail.Reply
	// Take does what a message to the address asks for. It answers 2xx when nothing is left to
	// be done and what was done is durable. said tells the journal, on one line.
	Take(ctx context.Context, to mail.Address, env mail.Envelope, h *mail.Header) (reply *mail.Reply, said string)
}

// maxErrands is how many addresses of the inbox one message may name.
const maxErrands = 20

// An errand is one address of the inbox that a message is for.
type errand struct {
	to   mail.Address
	r    *recipient
	done bool
}

// admitsToInbox reports whether the client is one that we take mail to ourselves from.
func (g *Gateway) admitsToInbox(client netip.Addr) bool {
	for _, p := range g.cfg.InboxClients {
		if p.Contains(client.Unmap()) {
			return true
		}
	}
	return false
}

// errand answers RCPT for an address of the inbox. Strangers hear what they hear of any domain
// that is not ours. Such mail has no other recipients.
func (t *transaction) errand(r *recipient) *mail.Reply {
	to := r.to.Address
	t.toInbox = true
	switch {
	case !t.g.admitsToInbox(t.env.Client.Addr):
		return replyNotOurs
	case len(t.env.Recipients) > len(t.errands):
		return replySplit
	case len(t.errands) >= maxErrands:
		return replyTooMany
	}
	if reply := t.g.inbox.Knows(to); reply != nil {
		return clean(reply)
	}
	t.errands = append(t.errands, &errand{to: to, r: r})
	r.errand = t.errands[len(t.errands)-1]
	return nil
}

// carryOut does what a message to the inbox asks for: once for each address, and again when the
// client sends it again. When one address has to wait the client tries again; a refusal is the
// answer only when there is no other.
func (t *transaction) carryOut(ctx context.Context) (reply *mail.Reply) {
	rank := func(r *mail.Reply) int { return map[int]int{5: 1, 2: 2, 4: 3}[r.Code/100] }
	for _, e := range t.errands {
		answer, said := t.g.inbox.Take(ctx, e.to, t.env, t.header)
		answer = safeReply(answer)
		t.note("mail to Postern", said)
		e.r.verdict.Because, e.done = mail.Printable(said, maxText), answer.OK()
		if reply == nil || rank(answer) > rank(reply) {
			reply = answer
		}
	}
	return reply
}

// hideSecrets takes out of the inbox's addresses what makes them work: the journal and the log
// tell only what they are for.
func (t *transaction) hideSecrets() {
	hide := func(to *mail.RcptTo) {
		if to.Address.Domain == t.g.inboxDomain {
			to.Address.Local, _, _ = strings.Cut(to.Address.Local, "-")
			to.ORcpt = ""
		}
	}
	for _, r := range t.rcpts {
		hide(&r.to)
	}
	for i := range t.env.Recipients {
		hide(&t.env.Recipients[i])
	}
}
