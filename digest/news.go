package digest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"postern/mail"
	"postern/people"
	"postern/quarantine"
)

// Bounds of what one digest looks at.
const (
	lookPages  = 10            // of 500 messages, for each address of a person
	knownMost  = 200           // messages whose sender is asked after
	lateBy     = 3 * time.Hour // by how much a message may be received before it is held
	overlap    = time.Hour     // what was noted a little late is found all the same: see digest_told
	goodFor    = 30 * day      // how long an address releases
	maxSubject = 140
	maxName    = 80
	maxAddress = 120
	maxBecause = 300
)

// A news is one held message as a digest tells of it.
type news struct {
	item  *quarantine.Item
	n     int // which of its copies
	right people.Right
	known bool
}

func (n *news) copy() *quarantine.Copy { return &n.item.Copies[n.n] }

// news finds what was held for a person since a moment and stands in no digest yet, newest first.
// more: there was so much that not all was looked at. What the person has no right to see is not
// there.
func (d *Digests) news(ctx context.Context, who *people.Actor, since time.Time) (list []*news, more bool, err error) {
	seen := map[string]bool{}
	for _, a := range who.Addresses {
		q := quarantine.Query{Recipient: strings.ToLower(a.String()), Since: since.Add(-lateBy), Limit: 500}
		for page := range lookPages {
			items, next, err := d.o.Held.List(ctx, q)
			if err != nil {
				return nil, false, err
			}
			for _, it := range items {
				if n := d.newFor(who, it, since); n != nil && !seen[it.ID] {
					seen[it.ID] = true
					list = append(list, n)
				}
			}
			if q.Cursor = next; next == "" {
				break
			}
			more = more || page == lookPages-1
		}
	}
	if list, err = d.untold(ctx, d.address(who), list); err != nil {
		return nil, false, err
	}
	slices.SortStableFunc(list, func(a, b *news) int { return b.item.Received.Compare(a.item.Received) })
	return list, more, nil
}

// newFor gives the item as news when it waits, nobody has touched it, and the person may see it.
func (d *Digests) newFor(who *people.Actor, it *quarantine.Item, since time.Time) *news {
	for i := range it.Copies {
		c := &it.Copies[i]
		if c.State == quarantine.Kept && c.By == "" && !c.Changed.Before(since) && who.Sees(c.Recipient.Address) && who.Right(c.Class) >= people.RightSee {
			return &news{item: it, n: i, right: who.Right(c.Class)}
		}
	}
	return nil
}

// untold leaves out what stood in a digest before.
func (d *Digests) untold(ctx context.Context, address string, list []*news) ([]*news, error) {
	told := map[string]bool{}
	for part := range slices.Chunk(list, 500) {
		args := []any{address}
		for _, n := range part {
			args = append(args, n.item.ID)
		}
		rows, err := d.o.DB.Reader().QueryContext(ctx, "SELECT item FROM digest_told WHERE address = ? AND item IN (?"+strings.Repeat(", ?", len(part)-1)+")", args...)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				rows.Close()
				return nil, err
			}
			told[id] = true
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(list, func(n *news) bool { return told[n.item.ID] }), nil
}

// recognise notes which of the newest are from senders who wrote to the person before. A forged
// name stays what it is: mail of these classes is from nobody whom one knows.
func (d *Digests) recognise(ctx context.Context, list []*news) {
	if d.o.Known == nil {
		return
	}
	for _, n := range list[:min(len(list), knownMost)] {
		switch n.copy().Class {
		case "spoof", "virus", "malformed":
		default:
			n.known = d.o.Known(ctx, n.item, n.copy().Recipient.Address)
		}
	}
}

// A kind is a class of held mail as people call it, in the order of a digest.
type kind struct{ class, title string }

func kinds() []kind {
	return []kind{
		{"undelivered", "Could not be delivered"},
		{"policy", "Stopped by a rule of this site"},
		{"attachment", "With an attachment that is not let through"},
		{"spoof", "Perhaps not from whom it says"},
		{"spam", "Spam"},
		{"malformed", "Not built as mail should be"},
		{"virus", "With a virus"},
	}
}

// grouped sorts the news as a digest has them: whom one knows first, then by class.
func grouped(list []*news) (groups []group) {
	add := func(title string, in func(n *news) bool) {
		g := group{Title: title}
		for _, n := range list {
			if in(n) {
				g.news = append(g.news, n)
			}
		}
		if len(g.news) > 0 {
			groups = append(groups, g)
		}
	}
	add("From senders who wrote to you before", func(n *news) bool { return n.known })
	named := map[string]bool{}
	for _, k := range kinds() {
		named[k.class] = true
		add(k.title, func(n *news) bool { return !n.known && n.copy().Class == k.class })
	}
	add("Other", func(n *news) bool { return !n.known && !named[n.copy().Class] })
	return groups
}

// author is whom a From field shows, and the domain of the envelope where that is another one.
func author(it *quarantine.Item) (name, address, other string) {
	authors, ok := mail.ParseAuthors(it.From)
	if len(authors) == 0 {
		return it.From, "", ""
	}
	name, address = authors[0].Name, authors[0].Address
	if sender := it.Envelope.Sender; !sender.IsNull() && (!ok || len(authors) > 1 || !strings.EqualFold(authors[0].Domain, sender.Domain)) {
		other = sender.Domain
	}
	return cmp.Or(name, address), address, other
}
