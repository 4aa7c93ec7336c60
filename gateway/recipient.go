package gateway

import (
	"postern/filters"
	"postern/mail"
	"postern/rules"
)

// A recipient is one RCPT and what became of its copy.
type recipient struct {
	to      mail.RcptTo
	scope   *filters.Scope // what is known for it; the message's when no rule looks at the recipient
	goal    mail.RcptTo    // who gets the copy: to, unless a rule says otherwise
	route   string
	bcc     []companion
	plan    *partPlan // of the parts; nil: they stay as they are
	verdict rules.Verdict
	instead *rules.Verdict // what is done in place of verdict, since its effects could not be had; nil: verdict
	decided bool
	refused *mail.Reply // at RCPT
	errand  *errand     // nil: it is mail for somebody else than Postern

	did      rules.Disposition // what was done in the end
	reply    *mail.Reply
	upstream *mail.Reply // what the internal server said
	held     string
	note     string
}

// A route is our transaction with one internal server.
type route struct {
	delivery Delivery
	failed   *mail.Reply    // why there is none
	asked    []mail.Address // besides those that the client named
}

// acting is the verdict that is acted on.
func (r *recipient) acting() *rules.Verdict {
	if r.instead != nil {
		return r.instead
	}
	return &r.verdict
}

// admit enters the recipient with its answer.
func (t *transaction) admit(r *recipient, reply *mail.Reply) {
	if t.byAddr == nil {
		t.byAddr = map[mail.Address]*recipient{}
	}
	t.byAddr[r.to.Address] = r
	t.rcpts = append(t.rcpts, r)
	if r.refused = reply; reply == nil {
		t.env.Recipients = append(t.env.Recipients, r.to)
		return
	}
	r.did, r.reply = rules.Reject, reply
	if reply.Temporary() {
		r.did = rules.Defer
	}
}

// accepted lists the recipients that will have a copy.
func (t *transaction) accepted() []*recipient {
	list := make([]*recipient, 0, len(t.rcpts))
	for _, r := range t.rcpts {
		if r.refused == nil {
			list = append(list, r)
		}
	}
	return list
}

// undecided reports whether the message is needed for some verdict.
func undecided(rcpts []*recipient) bool {
	for _, r := range rcpts {
		if !r.decided {
			return true
		}
	}
	return false
}

// taken reports whether the internal server has taken this copy.
func (r *recipient) taken() bool { return r.did == rules.Deliver && r.refused == nil }
