package review

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"postern/journal"
	"postern/mail"
	"postern/people"
	"postern/quarantine"
)

// Message is all about one message in the actor's sight, held or not, by its id or that of its
// transaction.
func (d *Desk) Message(ctx context.Context, who *people.Actor, id string) (*Message, error) {
	if err := d.may(ctx, who, people.SeeMail, "look", id); err != nil {
		return nil, err
	}
	m, err := d.message(ctx, who, id)
	if errors.Is(err, ErrNotFound) {
		return nil, d.refuse(ctx, who, "look", id, ErrNotFound)
	}
	return m, err
}

func (d *Desk) message(ctx context.Context, who *people.Actor, id string) (*Message, error) {
	m := &Message{}
	it, err := d.item(ctx, who, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	held := err == nil
	e, err := d.story(ctx, who, id, held)
	switch {
	case err != nil:
		return nil, err
	case e == nil && !held:
		return nil, ErrNotFound
	case held:
		rows, err := d.rows(ctx, who, []*quarantine.Item{it})
		if err != nil {
			return nil, err
		}
		m.Row = rows[0]
		m.Text = it.State != quarantine.Deleted && who.May(people.ReadMail)
	default:
		m.Row = toldRow(e)
	}
	m.Entry = e
	if e != nil && whole(who) && e.Reply.Code != 0 {
		m.Answer = &Answer{e.Reply.Code, e.Reply.EnhancedString(), e.Reply.Text}
	}
	if err := d.known(ctx, m); err != nil {
		return nil, err
	}
	if e != nil {
		m.Place = placeOf(e, m.Rule)
	}
	if e != nil {
		if m.Explain, err = d.explain(ctx, who, e.ID); err != nil {
			return nil, err
		}
	}
	m.Timeline, err = d.timeline(ctx, who, m)
	return m, err
}

// story is the journal's entry as the actor may see it; nil when there is none. What is held for
// the actor has one for everybody, other mail for those who read the journal.
func (d *Desk) story(ctx context.Context, who *people.Actor, id string, held bool) (*journal.Entry, error) {
	if !held && !who.May(people.ReadJournal) {
		return nil, nil
	}
	e, err := d.o.Journal.Get(ctx, id)
	if errors.Is(err, journal.ErrNotFound) || err == nil && !ownEntry(who, e) {
		return nil, nil
	}
	return e, err
}

// toldFacts are those that say nothing of other recipients.
func toldFacts() []string {
	return []string{"spf", "dkim", "dmarc", "content", "clamav", "client", "sender"}
}

// ownEntry leaves the outcomes that the actor sees, and of the rest what tells nothing of the
// others. false: nothing is left.
func ownEntry(who *people.Actor, e *journal.Entry) bool {
	if whole(who) {
		return true
	}
	e.Outcomes = slices.DeleteFunc(e.Outcomes, func(o journal.Outcome) bool {
		return !who.Sees(o.Recipient) || !reviews(who) && who.Right(o.Class) < people.RightSee
	})
	e.Envelope.Recipients = slices.DeleteFunc(e.Envelope.Recipients, func(r mail.RcptTo) bool { return !who.Sees(r.Address) })
	if len(e.Outcomes) == 0 {
		return false
	}
	if !reviews(who) { // users are not told how the rules work
		e.Policy = ""
		for i := range e.Outcomes {
			o := &e.Outcomes[i]
			o.Rules, o.Shadow, o.Breaker, o.Effects, o.Facts, o.Place = nil, nil, nil, nil, nil, ""
		}
	}
	e.Result = resultOf(e.Outcomes)
	e.Reply = mail.Reply{}
	e.Steps = slices.DeleteFunc(e.Steps, func(s journal.Step) bool { return s.What != "received" && s.What != "decided" })
	for name := range e.Facts {
		if !slices.Contains(toldFacts(), name) {
			delete(e.Facts, name)
		}
	}
	return true
}

// resultOf is that of an entry with these outcomes alone.
func resultOf(outcomes []journal.Outcome) string {
	words := map[string]string{"deliver": "delivered", "quarantine": "held", "reject": "refused", "defer": "deferred", "discard": "discarded", "command": "command"}
	result := ""
	for i := range outcomes {
		one := cmp.Or(words[outcomes[i].Do], "abandoned")
		if result != "" && one != result {
			return "mixed"
		}
		result = one
	}
	return result
}

func placeOf(e *journal.Entry, rule string) string {
	for i := range e.Outcomes {
		if o := &e.Outcomes[i]; o.Rule == rule {
			return o.Place
		}
	}
	return ""
}

// known tells what the sender sent to the first recipient before.
func (d *Desk) known(ctx context.Context, m *Message) (err error) {
	to := mail.Address{}
	switch {
	case len(m.Copies) > 0:
		to = m.Copies[0].Recipient.Address
	case m.Entry != nil && len(m.Entry.Outcomes) > 0:
		to = m.Entry.Outcomes[0].Recipient
	default:
		return nil
	}
	m.Known.Count, m.Known.First, m.Known.Last, err = d.o.Journal.Delivered(ctx, m.Envelope.Sender, to, m.Received)
	return err
}

// Content opens a held message as it was received, for somebody who may read it; each time is
// noted. why is what it is for: page, text, html, headers, raw or download. Close it.
func (d *Desk) Content(ctx context.Context, who *people.Actor, id string, why string) (io.ReadCloser, error) {
	act, p := "read", people.ReadMail
	if why == "download" {
		act, p = "download", people.Download
	}
	if err := d.may(ctx, who, p, act, id); err != nil {
		return nil, err
	}
	it, err := d.item(ctx, who, id)
	if err == nil && it.State == quarantine.Deleted {
		err = fmt.Errorf("%w: it is deleted", ErrNotFound)
	}
	if errors.Is(err, ErrNotFound) {
		return nil, d.refuse(ctx, who, act, id, err)
	}
	if err != nil {
		return nil, err
	}
	r, err := d.o.Quarantine.Content(ctx, id)
	if errors.Is(err, quarantine.ErrState) || errors.Is(err, quarantine.ErrNotFound) {
		return nil, d.refuse(ctx, who, act, id, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	line := d.line(who, act, id, lineDone)
	line.Note = why
	if err := d.note(ctx, line); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// toldRow is a row of the journal.
func toldRow(e *journal.Entry) Row {
	r := Row{ID: e.ID, Received: e.Received, Result: e.Result, From: e.From, Envelope: e.Envelope, Sender: e.Envelope.Sender.String(),
		Subject: e.Subject, Copies: []quarantine.Copy{}, Size: e.Size, Policy: e.Policy, May: []Verb{}}
	r.from(e.From, e.Envelope.Sender)
	if len(r.Envelope.Recipients) == 0 { // all were refused
		for i := range e.Outcomes {
			r.Envelope.Recipients = append(r.Envelope.Recipients, mail.RcptTo{Address: e.Outcomes[i].Recipient})
		}
	}
	for i := range e.Outcomes {
		if o := &e.Outcomes[i]; i == 0 || o.Do != "deliver" && r.Class == "" {
			r.Class, r.Rule, r.Because, r.Score = o.Class, o.Rule, o.Because, o.Score
		}
	}
	return r
}
