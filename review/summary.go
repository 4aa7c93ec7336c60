package review

import (
	"context"
	"fmt"

	"postern/people"
	"postern/quarantine"
)

const (
	mostDangerous = 100    // dangerous messages that a summary names
	sumMost       = 20_000 // messages that it looks at one by one; all are counted
)

// Summary tells what an act would do.
func (d *Desk) Summary(ctx context.Context, who *people.Actor, a Act) (*Summary, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	p, _ := a.Do.permission()
	if err := d.may(ctx, who, p, "summary", string(a.Do)); err != nil {
		return nil, err
	}
	s := &Summary{Reason: d.o.Reasons.Verbs[a.Do], Words: []string{}}
	sum := &summing{d: d, who: who, a: &a, s: s, senders: map[string]bool{}, rules: map[string]bool{}}
	if a.Find != nil {
		f := d.upToNow(*a.Find)
		f.Limit, s.Until = batch, f.Until
		for more := true; more && sum.seen < sumMost; {
			items, next, err := d.pick(ctx, who, f)
			if err != nil {
				return nil, err
			}
			for _, it := range items {
				sum.add(it)
			}
			f.Cursor, more = next, next != ""
		}
		n, err := d.matching(ctx, who, f)
		if err != nil {
			return nil, err
		}
		s.Items.N = n
	} else {
		items, err := d.o.Quarantine.Some(ctx, a.IDs)
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			if own(who, it) {
				sum.add(it)
			}
		}
		s.Refused += len(a.IDs) - sum.seen
	}
	s.Senders, s.Rules = len(sum.senders), len(sum.rules)
	rows, err := d.rows(ctx, who, sum.danger)
	if err != nil {
		return nil, err
	}
	s.Dangerous = rows
	s.Words = d.say(&a, s)
	return s, nil
}

// summing goes through messages one by one.
type summing struct {
	d              *Desk
	who            *people.Actor
	a              *Act
	s              *Summary
	senders, rules map[string]bool
	danger         []*quarantine.Item
	seen           int
}

func (t *summing) add(it *quarantine.Item) {
	t.seen++
	t.s.Items.N++
	t.senders[lower(it.Envelope.Sender)] = true
	if perilous(it) && t.a.Do.undoable() {
		if len(t.danger) < mostDangerous {
			t.danger = append(t.danger, it)
		}
	}
	allowed := false
	for i := range it.Copies {
		c := &it.Copies[i]
		t.rules[c.Rule] = true
		if waits(c.State) {
			t.s.Copies++
		}
		allowed = allowed || t.a.Do != Release || mayRelease(t.who, c.Class)
	}
	if !allowed {
		t.s.Refused++
	}
	t.s.Reason = t.s.Reason || t.d.wantsReason(t.a, it)
}

// say tells it in sentences.
func (d *Desk) say(a *Act, s *Summary) []string {
	what := map[Verb]string{Release: "released to their recipients, after the virus scanner has looked at them again", Delete: "deleted; that cannot be taken back later",
		Spam: "marked as spam; nothing is sent, and they wait for nobody any more", Unspam: "no spam, and wait again", Seen: "marked as seen", Unseen: "marked as not seen",
		Take: "yours to look at", Leave: "nobody's", Ask: "asked for", Approve: "released to those who asked", Deny: "denied to those who asked"}[a.Do]
	are := "are"
	if s.Items.N == 1 {
		are = "is"
	}
	words := []string{fmt.Sprintf("%s %s %s.", plural(s.Items.N), are, what)}
	if a.Find != nil && len(s.Dangerous) > 0 {
		words = append(words, fmt.Sprintf("%d of them may be dangerous (virus, malformed or attachment) and are left out, unless you tick them.", len(s.Dangerous)))
	}
	if s.Items.N > sumMost {
		words = append(words, fmt.Sprintf("Senders, rules and dangerous mail are those of the newest %d.", sumMost))
	}
	if s.Refused > 0 {
		words = append(words, fmt.Sprintf("With %s you may not do that.", plural(s.Refused)))
	}
	if s.Reason {
		words = append(words, "The site wants a reason.")
	}
	if a.Do.undoable() && a.Undoing {
		words = append(words, fmt.Sprintf("It can be undone for %d seconds; nothing happens before.", int(Grace.Seconds())))
	}
	return words
}
