package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"syscall"

	"postern/mail"
	"postern/quarantine"
	"postern/rules"
)

// A course is what is done with one message: one reply covers all of its recipients, which are
// given by their place in the list that chart got.
type course struct {
	refuse  rules.Disposition // Reject or Defer: that and nothing else; else None
	because int               // whose words the refusal has
	discard []int
	hold    []int   // also those whose refusal cannot be said any more
	send    []group // in the order of their first recipients
}

// A group gets the same bytes through the same internal server.
type group struct {
	route    string
	effects  []rules.Effect
	to       []int
	original string // what it gets less of lies whole in quarantine under this id
}

// chart makes one course of the verdicts of all recipients.
//
//	any Defer                 refuse for now
//	all Reject (or Discard)   refuse
//	some Reject, others not   hold those copies instead: no bounce, no loss
//	Quarantine                hold
//	Discard                   drop
//	Deliver                   send, grouped by internal server and effects
func chart(verdicts []rules.Verdict, routes []string) course {
	var c course
	reject, accept := -1, false
	for i := range verdicts {
		switch verdicts[i].Do {
		case rules.Deliver, rules.Quarantine:
			accept = true
		case rules.Reject:
			if reject < 0 {
				reject = i
			}
		case rules.Discard:
		case rules.Defer, rules.None:
			return course{refuse: rules.Defer, because: i}
		}
	}
	if reject >= 0 && !accept {
		return course{refuse: rules.Reject, because: reject}
	}
	for i := range verdicts {
		switch v := &verdicts[i]; v.Do {
		case rules.Deliver:
			c.deliver(i, routes[i], v.Effects)
		case rules.Quarantine, rules.Reject:
			c.hold = append(c.hold, i)
		case rules.Discard:
			c.discard = append(c.discard, i)
		case rules.Defer, rules.None: // returned above
		}
	}
	return c
}

func (c *course) deliver(i int, route string, effects []rules.Effect) {
	for g := range c.send {
		if c.send[g].route == route && sameEffects(c.send[g].effects, effects) {
			c.send[g].to = append(c.send[g].to, i)
			return
		}
	}
	c.send = append(c.send, group{route: route, effects: effects, to: []int{i}})
}

func sameEffects(a, b []rules.Effect) bool {
	return slices.EqualFunc(a, b, func(x, y rules.Effect) bool {
		return x.Name == y.Name && slices.Equal(x.Args, y.Args)
	})
}

// dispose acts on the verdicts: hold → send → keep or drop. Once the internal server has taken a
// copy the answer is 250, whatever else fails.
func (t *transaction) dispose(ctx context.Context, rcpts []*recipient) (reply *mail.Reply) {
	defer func() {
		if t.taken == nil && (reply == nil || !reply.OK()) {
			t.uncount()
		}
	}()
	if reply := t.prepare(ctx, rcpts); reply != nil {
		return t.fail(rcpts, reply)
	}
	verdicts, routes := make([]rules.Verdict, len(rcpts)), make([]string, len(rcpts))
	for i, r := range rcpts {
		verdicts[i], routes[i] = *r.acting(), r.route
		verdicts[i].Effects = onMessage(verdicts[i].Effects)
		r.did = verdicts[i].Do
	}
	c := chart(verdicts, routes)
	if c.refuse != rules.None {
		return t.turnDown(c, rcpts)
	}
	h := holding{t: t, rcpts: rcpts}
	defer h.settle()
	if err := h.hold(ctx, c); err != nil {
		return t.fail(rcpts, t.unstored(err))
	}
	if len(c.discard) == len(rcpts) {
		reply := t.thanks(rcpts)
		if err := t.recordDurably(reply); err != nil {
			return t.fail(rcpts, t.unstored(err))
		}
		return reply
	}
	for n := range c.send {
		if refused := t.archive(ctx, rcpts, c.send[n]); refused != nil {
			return t.fail(rcpts, refused)
		}
	}
	for n := range c.send {
		if refused := t.send(ctx, &h, n, c.send[n]); refused != nil {
			return t.fail(rcpts, refused)
		}
	}
	if t.taken == nil && len(c.hold) > 0 && !h.keep(h.main) && h.drop(h.main) {
		return t.fail(rcpts, replyLater) // with nothing kept; else the copy is on disk, and a sweep will show it
	}
	h.accepted = true
	reply = cmp.Or(t.taken, t.thanks(rcpts))
	if len(c.discard) > 0 {
		h.discard(t.recordDurably(reply))
	}
	return reply
}

// thanks is our own 250, in the words of the first rule that has some.
func (t *transaction) thanks(rcpts []*recipient) *mail.Reply {
	for _, r := range rcpts {
		if v := r.acting(); v.Reply != nil && v.Reply.OK() {
			return Answer(v, t.env.ID)
		}
	}
	return accepted(t.env.ID)
}

// turnDown refuses the whole message by its verdicts.
func (t *transaction) turnDown(c course, rcpts []*recipient) *mail.Reply {
	for _, r := range rcpts {
		if r.did = c.refuse; r.acting().Do != c.refuse {
			r.note = "refused with the whole message"
		}
	}
	return refusal(rcpts[c.because].acting(), t.env.ID)
}

// fail refuses the whole message since it could not be carried out.
func (t *transaction) fail(rcpts []*recipient, reply *mail.Reply) *mail.Reply {
	for _, r := range rcpts {
		r.did, r.held = rules.Reject, ""
		if reply.Temporary() {
			r.did = rules.Defer
		}
	}
	return reply
}

// unstored answers for a copy or a journal line that could not be stored.
func (t *transaction) unstored(err error) *mail.Reply {
	t.failed("store", err)
	return noRoom(err)
}

// noRoom tells a full disk from other trouble.
func noRoom(err error) *mail.Reply {
	for _, full := range []error{quarantine.ErrFull, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) {
			return replyFull
		}
	}
	return replyLater
}

// send sends to one group. It returns the refusal to pass on while nothing has been taken yet;
// later a refused copy stays in quarantine.
func (t *transaction) send(ctx context.Context, h *holding, n int, g group) *mail.Reply {
	to, place := g.goals(h.rcpts)
	replies, err := t.transmit(ctx, h.rcpts, g, to)
	if err != nil {
		replies = slices.Repeat([]mail.Reply{*t.unsent(err)}, len(to))
	}
	var left []int
	var refusal *mail.Reply
	for n, at := range g.to {
		said := &replies[place[n]]
		if err == nil && *said != *replyNotSent { // else the words are ours
			h.rcpts[at].upstream = said
		}
		switch {
		case !said.OK():
			left = append(left, at)
			refusal = worse(refusal, safeReply(discreet(said, h.rcpts, &g)))
		case t.taken == nil:
			t.taken = clean(discreet(said, h.rcpts, &g))
		}
	}
	if t.taken != nil {
		h.unarchived(g.to[0], companionsRefused(to, place, replies))
	}
	switch {
	case len(left) == 0:
		h.drop(h.spare[n])
		h.keepOriginal(n)
	case t.taken == nil:
		return refusal
	default:
		h.undelivered(n, left, len(left) == len(g.to))
	}
	return nil
}

// transmit gives the message to the internal server: one reply a recipient, or an error.
func (t *transaction) transmit(ctx context.Context, rcpts []*recipient, g group, to []mail.RcptTo) ([]mail.Reply, error) {
	size, src, err := t.relay(rcpts, g)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	replies, err := t.routes[g.route].delivery.Send(ctx, to, size, src)
	if err == nil && len(replies) != len(to) {
		err = fmt.Errorf("%d replies for %d recipients: %w", len(replies), len(to), ErrAmbiguous)
	}
	t.note("relay", strconv.Itoa(len(to))+" recipients")
	return replies, err
}

// unsent answers for a message that could not be transmitted.
func (t *transaction) unsent(err error) *mail.Reply {
	if errors.Is(err, ErrAmbiguous) {
		t.note("ambiguous", "the internal server broke off after the message; perhaps it took it")
		t.g.log.Warn("relay: ambiguous", "id", t.env.ID, "error", err)
		return replyUncertain
	}
	if errors.Is(err, errHeaderTooBig) {
		t.note("relay", err.Error())
		return replyHeaderTooBig
	}
	return t.neighbour("relay", err, replyUncertain)
}

// worse is the refusal that is passed on: the first temporary one if any, so that nothing is
// given up.
func worse(a, b *mail.Reply) *mail.Reply {
	if a == nil || !a.Temporary() && b.Temporary() {
		return b
	}
	return a
}
