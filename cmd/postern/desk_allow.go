package main

import (
	"bytes"
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/filters"
	"postern/journal"
	"postern/lists"
	"postern/mail"
	"postern/review"
	"postern/rules"
)

// effectRows is how many messages are shown that an entry would have let in.
const effectRows = 20

// WouldAllow tells what an entry of the lists would have let in: past mail that was held or
// refused is looked up in the lists with it, and decided again by the rules in force.
func (d *deskRules) WouldAllow(ctx context.Context, e *lists.Entry, days int, in review.Sight, spam func(id string) bool) (*review.Effect, error) {
	end, err := turn(ctx, d.asking)
	if err != nil {
		return nil, err
	}
	defer end()
	live := d.p.policy.current()
	entry := *e
	entry.Allow = true
	t := &allowTrial{policy: live.rules, entry: &entry, index: d.p.lists.Index().With(entry), sight: in, spam: spam,
		facts: newStoredFacts(newFactReader(live.filters, nil)), out: &review.Effect{Days: days, Entry: entry, Rows: []review.Row{}}}
	t.out.Why = unread(live.rules, []*lists.Entry{&entry})
	t.out.Since, t.out.Cut, err = backwards(ctx, d.p.journal, time.Now(), min(days, trialDays), t.message)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(t.out.Rows, func(a, b review.Row) int { return cmp.Or(b.Received.Compare(a.Received), strings.Compare(b.ID, a.ID)) })
	t.out.Rows = t.out.Rows[:min(len(t.out.Rows), effectRows)]
	return t.out, nil
}

// An allowTrial holds an entry against past mail.
type allowTrial struct {
	policy *rules.Policy
	entry  *lists.Entry
	index  *lists.Index
	sight  review.Sight
	spam   func(id string) bool
	facts  *storedFacts
	out    *review.Effect
}

// A fateAllowed is what would become of a message.
type fateAllowed uint8

const (
	notAbout fateAllowed = iota // the entry is not about it, or does not let it in
	denied
	unsure
	letIn
)

// message counts one entry of the journal.
func (t *allowTrial) message(rec *journal.Record) {
	if t.sight == nil || t.inSight(rec) {
		t.out.Looked++
	}
	began, fate := false, notAbout
	for o := range rec.Each() {
		if !stopped(o) {
			continue
		}
		if !began {
			if !t.may(rec) {
				return
			}
			t.facts.entry(rec)
			began = true
		}
		if t.facts.recipient(o) != nil {
			continue
		}
		if t.sight == nil || t.sight(t.facts.rcpt) {
			fate = max(fate, t.copy(rec))
		}
	}
	switch fate {
	case denied:
		t.out.Denied++
	case unsure:
		t.out.Unsure++
	case letIn:
		t.out.In++
		if t.spam != nil && t.spam(rec.ID) {
			t.out.Spam++
		}
		at, _ := time.Parse(time.RFC3339Nano, rec.Received.Text())
		if t.out.Rows = append(t.out.Rows, review.Row{ID: rec.ID, Received: at}); len(t.out.Rows) > 50*effectRows {
			slices.SortFunc(t.out.Rows, func(a, b review.Row) int { return b.Received.Compare(a.Received) })
			t.out.Rows = t.out.Rows[:effectRows]
		}
	}
}

// inSight tells whether a copy of a message may be looked at.
func (t *allowTrial) inSight(rec *journal.Record) bool {
	for o := range rec.Each() {
		var to mail.Address
		if to.UnmarshalText([]byte(o.Recipient.Text())) == nil && t.sight(to) {
			return true
		}
	}
	return false
}

// stopped tells whether the rules have held or refused a copy.
func stopped(o *journal.RecordOutcome) bool {
	do := o.Do.Text()
	return (do == "quarantine" || do == "reject") && o.Verdict.Text() != "deliver" && len(o.Walk) > 0
}

// may tells quickly of most mail that the entry is not about it: what it names stands nowhere.
// Domains stand in facts in lower case, the names of mailing lists as they were written.
func (t *allowTrial) may(rec *journal.Record) bool {
	if t.entry.Kind == lists.Network {
		return true
	}
	name, facts := t.entry.Value, []byte(rec.Facts)
	if t.entry.Kind == lists.ListID {
		name, facts = strings.TrimPrefix(name, "list-id:"), bytes.ToLower(facts)
	}
	name = strings.TrimPrefix(name[strings.LastIndexByte(name, '@')+1:], ".")
	return bytes.Contains(facts, []byte(name)) || bytes.Contains(bytes.ToLower(rec.Envelope), []byte(name))
}

// copy decides about the copy that facts are of.
func (t *allowTrial) copy(rec *journal.Record) fateAllowed {
	q, whole := t.question(rec)
	a := t.index.Ask(&q)
	switch {
	case a.Allowed && a.Entry.Value == t.entry.Value && a.Entry.Scope == t.entry.Scope:
	case a.Denied && t.about(&q):
		return denied
	case !whole && a.Unproven != nil && a.Unproven.Value == t.entry.Value: // the header, which might have proven it, never came
		return unsure
	default:
		return notAbout
	}
	v, missing := t.policy.Replay(allowedFacts{t.facts, listsFacts(&a)})
	if t.facts.damaged != nil {
		missing, t.facts.damaged = []string{""}, nil
	}
	switch {
	case missing != nil:
		return unsure
	case v.Do == rules.Deliver:
		return letIn
	}
	return notAbout
}

// about tells whether the entry alone would allow the message.
func (t *allowTrial) about(q *lists.Question) bool {
	return (&lists.Index{}).With(*t.entry).Ask(q).Allowed
}

// question is what the lists are asked about, of what is kept; whole tells whether the header is
// known.
func (t *allowTrial) question(rec *journal.Record) (q lists.Question, whole bool) {
	at, _ := time.Parse(time.RFC3339Nano, rec.Received.Text())
	q = lists.Question{At: at, Recipient: t.facts.rcpt}
	for name, raw := range rec.Envelope.Members() {
		switch string(name) {
		case "sender":
			_ = q.Sender.UnmarshalText([]byte(raw.Text())) // else the null sender, about whom no entry is
		case "client":
			var c mail.Client
			if readClient(raw, &c) == nil && !c.Trusted {
				q.Client = c.Addr
			} else if spf, ok := t.gathered("spf").(filters.SPFFacts); ok { // whom the relay names
				q.Client, _ = netip.ParseAddr(spf.Client)
			}
		}
	}
	content, ok := t.gathered("content").(filters.ContentFacts)
	if !ok || content.Error != "" {
		return q, false
	}
	q.Header, q.Single, q.ListID = true, content.FromOK && len(content.From) == 1, content.ListID
	author := ""
	for _, f := range content.From {
		q.Authors = append(q.Authors, mail.Author{Name: f.Name, Address: f.Address, Domain: f.Domain})
	}
	if q.Single {
		author = q.Authors[0].Domain
	}
	proof := filters.Proof(func(name string) (any, error) {
		v, err, _ := t.facts.Lookup(name)
		return v, err
	})
	q.Proven = func(kind lists.Kind, domain string) bool {
		if kind == lists.ListID {
			return len(content.Headers["list-id"]) == 1 && proof.List(domain, author)
		}
		return author != "" && proof.Author(author)
	}
	return q, true
}

// gathered are the facts of a filter; nil when there are none.
func (t *allowTrial) gathered(name string) any {
	v, err, known := t.facts.Lookup(name)
	if !known || err != nil {
		return nil
	}
	return v
}

// allowedFacts are stored facts with what the lists would say.
type allowedFacts struct {
	*storedFacts
	lists filters.ListsFacts
}

// Lookup gives facts as they were, but for those of the lists.
func (a allowedFacts) Lookup(name string) (any, error, bool) {
	if name == "lists" {
		return a.lists, nil, true
	}
	return a.storedFacts.Lookup(name)
}

// Lacks tells which facts were not kept.
func (a allowedFacts) Lacks(filter, fact string) bool {
	return filter != "lists" && a.storedFacts.Lacks(filter, fact)
}
