package gateway

import (
	"context"
	"fmt"
	"slices"

	"postern/mail"
	"postern/quarantine"
	"postern/rules"
)

// A holding is what one message has in quarantine while its course is run. Everything in it is
// invisible until it is kept, and settle leaves nothing open.
type holding struct {
	t        *transaction
	rcpts    []*recipient
	main     *copies         // the copies to be held
	doubt    *copies         // the copies to be discarded beside others, until the journal has that on disk
	spare    map[int]*copies // by group: copies to be delivered, in case they are refused late
	original map[int]*copies // by group: what it gets only a part of
	made     int
	accepted bool // the answer is 250
}

// copies is one item in quarantine.
type copies struct {
	id   string
	to   []int
	open bool // neither kept nor dropped
	gone bool // not wanted any more, though dropping it failed
}

// hold holds what the course says, and a spare of each group but the first: when that is refused
// after others were taken, it is too late to refuse.
func (h *holding) hold(ctx context.Context, c course) error {
	for _, i := range c.hold {
		if r := h.rcpts[i]; r.acting().Do == rules.Reject {
			r.did, r.note = rules.Quarantine, "held, not refused: other recipients accept the message"
		}
	}
	var err error
	if len(c.hold) > 0 {
		if h.main, err = h.put(ctx, c.hold, ""); err != nil {
			return err
		}
	}
	if len(c.discard) > 0 && len(c.discard) < len(h.rcpts) {
		if h.doubt, err = h.put(ctx, c.discard, unrecorded); err != nil {
			return err
		}
	}
	for n := 1; n < len(c.send); n++ {
		if h.spare == nil {
			h.spare = map[int]*copies{}
		}
		if h.spare[n], err = h.put(ctx, c.send[n].to, undelivered); err != nil {
			return err
		}
	}
	for n := range c.send {
		if err := h.holdOriginal(ctx, n, &c.send[n]); err != nil {
			return err
		}
	}
	return nil
}

// holdOriginal holds the whole of what a group gets without some of its files.
func (h *holding) holdOriginal(ctx context.Context, n int, g *group) error {
	if p := h.rcpts[g.to[0]].plan; p == nil || len(p.removals) == 0 {
		return nil
	}
	c, err := h.put(ctx, g.to, whole)
	if err != nil {
		return err
	}
	if h.original == nil {
		h.original = map[int]*copies{}
	}
	h.original[n], g.original = c, c.id
	return nil
}

// keepOriginal makes it visible, once the rest is delivered.
func (h *holding) keepOriginal(n int) {
	c := h.original[n]
	if c == nil {
		return
	}
	h.keep(c)
	for _, i := range c.to {
		h.rcpts[i].held = c.id
	}
}

// Why copies are held, though their verdict was another. The first is a class too.
const (
	undelivered = "undelivered"
	unrecorded  = "unrecorded"
	whole       = "whole"
)

// put makes one item durable. why is "" for those that the verdicts hold.
func (h *holding) put(ctx context.Context, to []int, why string) (*copies, error) {
	t := h.t
	h.made++
	c := &copies{id: t.env.ID, to: to}
	if h.made > 1 {
		c.id = fmt.Sprintf("%s-%d", t.env.ID, h.made)
	}
	s := t.summary()
	it := &quarantine.Item{ID: c.id, Received: t.env.Received, State: quarantine.Held, Envelope: t.env,
		Subject: s.subject, From: s.from, MessageID: s.messageID, Size: t.body.Size(), Policy: t.policy.version}
	it.Envelope.Recipients = nil
	for _, i := range to {
		r := h.rcpts[i]
		v := r.acting()
		k := quarantine.Copy{Recipient: r.to, Class: v.Class, Rule: v.Rule, Because: v.Because, Score: v.Score}
		if k.Class == "" {
			k.Class = "policy"
		}
		switch why {
		case undelivered:
			k.Recipient, k.Class, k.Because = r.goal, undelivered, "the internal server refused it after it had taken other copies"
		case whole:
			p := r.plan
			k.Recipient, k.Class, k.Rule, k.Because = r.goal, "attachment", p.rule, "this is the whole message, delivered without "+p.removed
		case unrecorded:
			k.Because = "was to be discarded, but that could not be recorded"
		}
		it.Copies = append(it.Copies, k)
		it.Envelope.Recipients = append(it.Envelope.Recipients, k.Recipient)
	}
	src := t.body.Open()
	defer src.Close()
	err := t.g.quarantine.Hold(ctx, it, src)
	t.g.trouble.set(troubleQuarantine, err)
	if err != nil {
		return nil, fmt.Errorf("hold %s: %w", c.id, err)
	}
	t.note("held", c.id)
	c.open = true
	if why == "" {
		for _, i := range to {
			h.rcpts[i].held = c.id
		}
	}
	return c, nil
}

// keep makes an item visible and reports whether that worked; if not it is still held, and the
// next sweep keeps it.
func (h *holding) keep(c *copies) bool {
	if c == nil || !c.open {
		return true
	}
	ctx := h.t.afterwards()
	defer ctx.end()
	err := h.t.g.quarantine.Keep(ctx, c.id)
	if err != nil {
		err = h.t.g.quarantine.Keep(ctx, c.id) // once more: what it costs to give up is worse
	}
	h.t.g.trouble.set(troubleQuarantine, err)
	if err != nil {
		h.t.failed("keep "+c.id, err)
		return false
	}
	c.open = false
	return true
}

// drop removes an item; when that fails it is still held, and the next sweep keeps it.
func (h *holding) drop(c *copies) bool {
	if c == nil || !c.open {
		return true
	}
	c.gone = true
	ctx := h.t.afterwards()
	defer ctx.end()
	err := h.t.g.quarantine.Drop(ctx, c.id)
	h.t.g.trouble.set(troubleQuarantine, err)
	if err != nil {
		h.t.failed("drop "+c.id, err)
		return false
	}
	c.open = false
	return true
}

// undelivered keeps the copies of group n that were refused after others had been taken. all
// says that they are the whole group; of a part a new item is made.
func (h *holding) undelivered(n int, left []int, all bool) {
	if all {
		h.drop(h.original[n])
	} else {
		h.keepOriginal(n)
	}
	c := h.spare[n]
	if c == nil || !all {
		h.drop(c)
		ctx := h.t.afterwards()
		defer ctx.end()
		var err error
		if c, err = h.put(ctx, left, undelivered); err != nil {
			h.t.failed("UNDELIVERED and not held", err)
			return
		}
	}
	h.keep(c)
	for _, i := range left {
		r := h.rcpts[i]
		r.did, r.held, r.note = rules.Quarantine, c.id, undelivered
	}
	h.t.g.log.Error("undelivered: the internal server refused some copies after it had taken others",
		"id", h.t.env.ID, "held", c.id)
}

// unarchived keeps the copies of companions that were refused, though that of recipient i, or
// another, was taken: each as one more recipient of its own.
func (h *holding) unarchived(i int, refused []mail.RcptTo) {
	if len(refused) == 0 {
		return
	}
	var left []int
	rcpts := slices.Clone(h.rcpts)
	for _, to := range refused {
		left = append(left, len(rcpts))
		rcpts = append(rcpts, &recipient{to: to, goal: to, verdict: h.rcpts[i].verdict})
	}
	ctx := h.t.afterwards()
	defer ctx.end()
	beside := holding{t: h.t, rcpts: rcpts, made: h.made}
	c, err := beside.put(ctx, left, undelivered)
	h.made = beside.made
	if err != nil {
		h.t.failed("a copy for an address that a rule names is UNDELIVERED and not held", err)
		return
	}
	beside.keep(c)
	h.t.g.log.Error("undelivered: the internal server refused copies for addresses that rules name", "id", h.t.env.ID, "held", c.id)
}

// discard ends the copies to be discarded: when the journal does not have that on disk, they are
// kept.
func (h *holding) discard(err error) {
	if err == nil {
		h.drop(h.doubt)
		return
	}
	h.t.failed("discard", err)
	h.keep(h.doubt)
	for _, i := range h.doubt.to {
		r := h.rcpts[i]
		r.did, r.held, r.note = rules.Quarantine, h.doubt.id, "held, since the discard could not be recorded"
	}
}

// settle closes what is open, also when a panic passes: with an answer of 250 it is kept, else
// dropped.
func (h *holding) settle() {
	all := []*copies{h.main, h.doubt}
	for _, c := range h.spare {
		all = append(all, c)
	}
	for _, c := range h.original {
		all = append(all, c)
	}
	for _, c := range all {
		if c != nil && !c.gone && (h.accepted || h.t.taken != nil) {
			h.keep(c)
		} else {
			h.drop(c)
		}
	}
}

// afterwards is a context for what must be tried once the reply is certain, whoever has gone.
func (t *transaction) afterwards() *until {
	return within(context.WithoutCancel(&t.ctx), settleLimit, nil)
}
