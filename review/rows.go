package review

import (
	"context"
	"errors"
	"slices"
	"strings"

	"postern/journal"
	"postern/mail"
	"postern/people"
	"postern/quarantine"
)

// rows makes rows of items of which own has left the copies.
func (d *Desk) rows(ctx context.Context, who *people.Actor, items []*quarantine.Item) ([]Row, error) {
	rows := make([]Row, len(items))
	ids := make([]string, len(items))
	for i, it := range items {
		var err error
		if rows[i], err = d.bareRow(ctx, it); err != nil {
			return nil, err
		}
		ids[i] = it.ID
	}
	m, err := d.marks(ctx, who, ids)
	if err == nil {
		err = d.pendingAll(ctx, who, items, m.pending)
	}
	if err != nil {
		return nil, err
	}
	for i, it := range items {
		r := &rows[i]
		r.Seen, r.Assigned, r.Pending = m.seen[it.ID], m.taken[it.ID], m.pending[it.ID]
		r.Asked = m.request(who, it)
		r.May = d.verbs(who, it, r.Asked != nil && r.Asked.State == asked)
		r.Reasons = d.reasonsFor(r.May, it)
	}
	return rows, nil
}

// bareRow is what item and journal tell.
func (d *Desk) bareRow(ctx context.Context, it *quarantine.Item) (Row, error) {
	r := heldRow(it)
	rec, err := d.o.Journal.Look(ctx, it.ID)
	if errors.Is(err, journal.ErrNotFound) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	r.Auth, r.Attachments = told(rec.Facts)
	return r, nil
}

// heldRow is what the item itself tells.
func heldRow(it *quarantine.Item) Row {
	r := Row{ID: it.ID, Received: it.Received, State: it.State, Sender: it.Envelope.Sender.String(), Subject: it.Subject,
		From: it.From, Envelope: it.Envelope, Copies: it.Copies, Size: it.Size, Expires: it.Expires,
		SHA256: it.SHA256, Policy: it.Policy, Changed: it.Changed, By: it.By, Note: it.Note}
	r.from(it.From, it.Envelope.Sender)
	if len(it.Copies) > 0 {
		first := firstOf(it)
		r.Class, r.Rule, r.Because, r.Score = first.Class, first.Rule, first.Because, first.Score
	}
	return r
}

// firstOf is the copy that speaks for the item: one that waits, when there is one, and of those
// the most dangerous.
func firstOf(it *quarantine.Item) *quarantine.Copy {
	best := &it.Copies[0]
	weight := func(c *quarantine.Copy) int {
		n := 0
		if c.State == it.State {
			n += 4
		}
		if locked(c.Class) {
			n += 2
		} else if dangerous(c.Class) {
			n++
		}
		return n
	}
	for i := range it.Copies {
		if weight(&it.Copies[i]) > weight(best) {
			best = &it.Copies[i]
		}
	}
	return best
}

// from takes the From field apart, and compares it with the envelope.
func (r *Row) from(field string, sender mail.Address) {
	authors, ok := mail.ParseAuthors(field)
	if len(authors) == 0 {
		r.FromName, r.Mismatch = field, field != ""
		return
	}
	r.FromName, r.FromAddress = authors[0].Name, authors[0].Address
	r.Mismatch = !ok || len(authors) > 1 || !sender.IsNull() && !strings.EqualFold(authors[0].Domain, sender.Domain)
}

// maxTypes bounds what a row shows of attachments.
const maxTypes = 8

// told reads from an entry's facts what was found out about the sender, and which attachments
// there are.
func told(facts journal.Raw) (auth Auth, types []string) {
	for name, f := range facts.Members() {
		switch string(name) {
		case "spf":
			auth.SPF = member(f, "result").Text()
		case "dkim":
			auth.DKIM = member(f, "result").Text()
		case "dmarc":
			auth.DMARC = member(f, "result").Text()
		case "content":
			for a := range member(f, "attachments").Items() {
				if t := member(a, "type").Text(); t != "" && len(types) < maxTypes && !slices.Contains(types, t) && len(member(a, "archive")) == 0 {
					types = append(types, t)
				}
			}
		}
	}
	return auth, types
}

func member(object journal.Raw, name string) journal.Raw {
	for n, v := range object.Members() {
		if string(n) == name {
			return v
		}
	}
	return nil
}
