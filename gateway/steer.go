package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"postern/mail"
	"postern/rules"
)

// This file is what effects change about where a copy goes. All addresses that they name are
// ours, and each is offered to its internal server before anything is stored or sent.

// aim says where the recipient's copy goes, and through which internal server.
func (t *transaction) aim(r *recipient, e *edits) {
	r.goal, r.route = r.to, t.g.upstream.Route(r.to.Address)
	if to := e.redirect; !to.IsNull() && to != r.to.Address {
		r.goal.Address = to
		r.route = t.g.upstream.Route(to)
	}
	if e.route != "" {
		r.route = e.route
	}
}

// prepare does what the effects of the verdicts ask for beforehand: it counts, asks the internal
// servers for the recipients that no client named, and plans what is to be done to the parts. A
// reply refuses the message.
func (t *transaction) prepare(ctx context.Context, rcpts []*recipient) *mail.Reply {
	for _, r := range rcpts {
		if r.verdict.Do != rules.Deliver || len(r.verdict.Effects) == 0 {
			continue
		}
		e := editsOf(r.verdict.Effects)
		if r.instead = t.throttled(r, &e); r.instead != nil {
			return nil // the whole message is put off
		}
		if reply := t.steer(ctx, r, &e); reply != nil {
			return reply
		}
		if list := onMessage(r.verdict.Effects); edited(list) {
			var err error
			if r.plan, err = t.planParts(ctx, list); err != nil {
				return t.failed("edit parts", err)
			}
			if p := r.plan; p.hold != "" {
				r.instead = &rules.Verdict{Do: rules.Quarantine, Rule: p.rule, Class: "attachment", Because: p.hold, Score: r.verdict.Score}
			}
		}
	}
	for _, r := range rcpts { // now that it is known who gets it anyway
		if r.acting().Do != rules.Deliver || len(r.verdict.Effects) == 0 {
			continue
		}
		e := editsOf(r.verdict.Effects)
		if reply := t.accompany(ctx, r, rcpts, e.bcc); reply != nil {
			return reply
		}
	}
	return nil
}

// steer aims a copy and offers its new goal.
func (t *transaction) steer(ctx context.Context, r *recipient, e *edits) *mail.Reply {
	goal, route := r.goal, r.route
	if t.aim(r, e); r.goal != goal || r.route != route {
		if reply := t.ask(ctx, r, r.route, r.goal); reply != nil {
			return reply
		}
	}
	return nil
}

// accompany offers those to whom rules give the copy as well, unless they get it anyway.
func (t *transaction) accompany(ctx context.Context, r *recipient, rcpts []*recipient, bcc []mail.Address) *mail.Reply {
	for _, to := range bcc {
		if to == r.goal.Address || slices.ContainsFunc(rcpts, func(o *recipient) bool {
			return o.to.Address == to && o.goal.Address == to && o.acting().Do == rules.Deliver
		}) ||
			slices.ContainsFunc(r.bcc, func(c companion) bool { return c.to.Address == to }) {
			continue // who gets it gets it once
		}
		c := companion{to: mail.RcptTo{Address: to}, route: t.g.upstream.Route(to)}
		if t.g.extensions().DSN {
			c.to.Notify = "NEVER" // the sender is told of the recipients that it named
		}
		if reply := t.ask(ctx, r, c.route, c.to); reply != nil {
			return reply
		}
		r.bcc = append(r.bcc, c)
	}
	return nil
}

// ask offers an address that the client did not name. Were it refused for good, that would be no
// fault of the sender: it is asked to try again until the address is put right.
func (t *transaction) ask(ctx context.Context, r *recipient, route string, to mail.RcptTo) *mail.Reply {
	ctx, cancel := context.WithTimeout(ctx, upstreamWait)
	defer cancel()
	way := t.way(ctx, route)
	if slices.Contains(way.asked, to.Address) {
		return nil
	}
	if way.failed != nil {
		return way.failed
	}
	way.asked = append(way.asked, to.Address)
	err := way.delivery.Rcpt(ctx, to)
	if err == nil {
		return nil
	}
	reply := t.neighbour(fmt.Sprintf("internal server: RCPT %s", to.Address), err, replyUnreachable)
	if to.Address == r.to.Address { // it is the recipient's own, at another server
		_ = errors.As(err, &r.upstream)
		return reply
	}
	t.g.log.Error("an address that a rule names is refused: mail is put off until it is taken", "id", t.env.ID,
		"address", to.Address.String(), "reply", reply.String())
	if r := (*mail.Reply)(nil); errors.As(err, &r) { // its words may name the address
		return replyNotTaken
	}
	return reply
}

// A companion is a recipient that a rule adds to another.
type companion struct {
	to    mail.RcptTo
	route string
}

// archive sends to those companions of a group whose internal server is another than its own,
// before the group: what cannot be archived is not delivered. A copy too many is better than one
// too few, should the group be refused then.
func (t *transaction) archive(ctx context.Context, rcpts []*recipient, g group) *mail.Reply {
	routes := map[string][]mail.RcptTo{}
	for _, i := range g.to {
		for _, c := range rcpts[i].bcc {
			if c.route != g.route && !slices.Contains(routes[c.route], c.to) {
				routes[c.route] = append(routes[c.route], c.to)
			}
		}
	}
	for _, route := range slices.Sorted(maps.Keys(routes)) {
		g.route = route
		replies, err := t.transmit(ctx, rcpts, g, routes[route])
		if err != nil {
			return discreet(t.unsent(err), rcpts, &g)
		}
		for i := range replies {
			if !replies[i].OK() {
				t.note("archive", replies[i].String())
				return replyNotTaken
			}
		}
	}
	return nil
}

// goals lists who gets the copies of a group, each once: its recipients, and their companions at
// the same internal server. at is by recipient of the group its place among them.
func (g *group) goals(rcpts []*recipient) (to []mail.RcptTo, at []int) {
	add := func(x mail.RcptTo) int {
		for i := range to {
			if to[i].Address == x.Address {
				return i
			}
		}
		to = append(to, x)
		return len(to) - 1
	}
	at = make([]int, len(g.to))
	steered := false
	for n, i := range g.to {
		r := rcpts[i]
		if !steered && r.goal == r.to && len(r.bcc) == 0 { // all that the client named are different
			to, at[n] = append(to, r.goal), len(to)
			continue
		}
		steered = true
		at[n] = add(r.goal)
		for _, c := range r.bcc {
			if c.route == g.route {
				add(c.to)
			}
		}
	}
	return to, at
}

// discreet takes the words off a reply that tell of an address which a rule named for one of the
// group: the sender is not to hear of it.
func discreet(said *mail.Reply, rcpts []*recipient, g *group) *mail.Reply {
	text := strings.ToLower(said.Text)
	told := func(a mail.Address) bool { return strings.Contains(text, strings.ToLower(a.Local)) }
	for _, i := range g.to {
		r := rcpts[i]
		if r.goal.Address != r.to.Address && told(r.goal.Address) ||
			slices.ContainsFunc(r.bcc, func(c companion) bool { return told(c.to.Address) }) {
			return &mail.Reply{Code: said.Code, Enhanced: said.Enhanced}
		}
	}
	return said
}

// companionsRefused lists those of a group's goals that no client named and the internal server
// did not take. place is as goals gives it.
func companionsRefused(to []mail.RcptTo, place []int, replies []mail.Reply) (list []mail.RcptTo) {
	for n := range to {
		if !replies[n].OK() && !slices.Contains(place, n) {
			list = append(list, to[n])
		}
	}
	return list
}
