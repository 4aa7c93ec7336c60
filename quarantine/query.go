package quarantine

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"postern/search"
	"postern/store"
)

// Any is Query's word for every state that people see: all but Held.
const Any State = "any"

// A Query picks items; what is empty does not matter. Text is compared without case. A message
// for several recipients is picked when one copy, among those that Only leaves, has all that is
// asked for; words of Text may stand in different copies.
type Query struct {
	State     State // of a copy. "": kept or releasing, what waits for somebody
	Class     string
	Rule      string
	Recipient string // an address, @domain, or a part of an address
	Sender    string // the same; <> is the null sender
	Subject   string // a part of it
	Text      string // each word stands in subject, From, sender, recipient or sentence
	SHA256    string // of the bytes as received, hex
	Since     time.Time
	Until     time.Time         // before this
	Where     *search.Condition // over Fields and Marks; nil: all
	Marks     map[string]Mark   // fields of other rooms, by name
	Only      []string          // whose copies may be seen, in lower case: addresses, @domains, user+@domain for all that begin so. nil: all; empty, but not nil: none
	Limit     int               // 0: 50; at most 500
	Cursor    string            // what List returned for the page before
}

// List returns a page of items, newest first, and the cursor of the next one ("" at the
// end). Pages do not shift when mail arrives meanwhile. With Only, items have those copies
// alone, see Item.For.
func (s *Store) List(ctx context.Context, q Query) (items []*Item, next string, err error) {
	fail := func(err error) ([]*Item, string, error) { return nil, "", fmt.Errorf("list quarantine: %w", err) }
	limit := store.Page(q.Limit)
	p, err := s.plan(ctx, &q)
	if err == nil {
		err = p.from(q.Cursor)
	}
	if err != nil {
		return fail(err)
	}
	text, args := p.statement(limit + 1)
	seqs, err := s.index.seqs(ctx, text, args)
	if err != nil {
		return fail(err)
	}
	if len(seqs) > limit {
		seqs = seqs[:limit]
		next = cursorAfter(seqs[limit-1])
	}
	if items, err = s.index.list(ctx, seqs); err == nil {
		err = s.index.addCopies(ctx, items)
	}
	if err != nil {
		return fail(err)
	}
	if q.Only != nil {
		for _, it := range items {
			it.For(q.Only)
		}
	}
	return items, next, nil
}

// condition is all that is asked for but state, Only and Cursor.
func (q *Query) condition() *search.Condition {
	var parts []*search.Condition
	equal := func(field, value string) {
		if value != "" {
			parts = append(parts, search.OfText(field, search.Equal, value))
		}
	}
	equal("class", q.Class)
	equal("rule", q.Rule)
	equal("sha256", q.SHA256)
	parts = append(parts, address("rcpt", q.Recipient), address("sender", q.Sender))
	if q.Subject != "" {
		parts = append(parts, search.OfText("subject", search.Has, q.Subject))
	}
	for _, word := range strings.Fields(q.Text) {
		parts = append(parts, search.OfText(search.Anything, search.Has, word))
	}
	if !q.Since.IsZero() {
		parts = append(parts, search.OfTime("received", search.AtLeast, q.Since))
	}
	if !q.Until.IsZero() {
		parts = append(parts, search.OfTime("received", search.Less, q.Until))
	}
	return search.All(append(parts, q.Where)...)
}

// address looks for an address, a domain after @, or a part of an address; <> is the null sender.
func address(field, s string) *search.Condition {
	switch {
	case s == "":
		return nil
	case s == "<>":
		return search.OfText(field, search.Equal, "")
	case s[0] == '@':
		return search.OfText(field+".domain", search.Equal, s[1:])
	case strings.Contains(s, "@"):
		return search.OfText(field, search.Equal, s)
	}
	return search.OfText(field, search.Has, s)
}

// only is the condition that a row of sought, under the name of row, may be seen.
func (q *Query) only(row string) (string, []any) {
	if q.Only == nil {
		return "TRUE", nil
	}
	var whole, domains, tags []any
	tagged := ""
	for _, o := range q.Only {
		if name, ok := strings.CutPrefix(o, "@"); ok {
			domains = append(domains, name)
		} else if begin, name, ok := tag(o); ok {
			tagged += fmt.Sprintf(" OR (%s.domain = ? AND substr(%s.rcpt, 1, length(?)) = ?)", row, row)
			tags = append(tags, name, begin, begin)
		} else {
			whole = append(whole, o)
		}
	}
	places := func(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }
	return fmt.Sprintf("(%s.rcpt IN (%s) OR %s.domain IN (%s)%s)", row, places(len(whole)), row, places(len(domains)), tagged),
		append(append(whole, domains...), tags...)
}

// tag takes apart what stands in Only for all addresses with something behind a "+".
func tag(only string) (begin, domain string, ok bool) {
	at := strings.LastIndex(only, "+@")
	if at < 1 {
		return "", "", false
	}
	return only[:at+1], only[at+2:], true
}

// For leaves in it only the copies for some addresses and @domains (in lower case), with a
// state, and words about it, that are theirs; false when there is none.
func (it *Item) For(only []string) bool {
	var copies []Copy
	for i := range it.Copies {
		if sees(only, &it.Copies[i]) {
			copies = append(copies, it.Copies[i])
		}
	}
	it.Copies = copies
	it.Envelope.Recipients = nil
	it.Changed, it.By, it.Note = it.Received, "", ""
	states := map[State]bool{}
	for i := range copies {
		c := &copies[i]
		states[c.State] = true
		it.Envelope.Recipients = append(it.Envelope.Recipients, c.Recipient)
		if !c.Changed.Before(it.Changed) {
			it.Changed, it.By, it.Note = c.Changed, c.By, c.Note
		}
	}
	it.State = stateOf(states)
	return len(copies) > 0
}

func sees(only []string, c *Copy) bool {
	address, at := key(c.Recipient.Address), "@"+domain(c.Recipient.Address)
	for _, o := range only {
		if o == address || o == at {
			return true
		}
		if begin, _, ok := tag(o); ok && strings.HasPrefix(address, begin) && strings.HasSuffix(o, at) {
			return true
		}
	}
	return false
}

func (x index) seqs(ctx context.Context, text string, args []any) (seqs []int64, err error) {
	rows, err := x.db.Reader().QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		if err := rows.Scan(&seq); err != nil {
			return nil, err
		}
		seqs = append(seqs, seq)
	}
	return seqs, rows.Err()
}

// list reads items by their places, newest first.
func (x index) list(ctx context.Context, seqs []int64) (items []*Item, err error) {
	if len(seqs) == 0 {
		return nil, nil
	}
	args := make([]any, len(seqs))
	for i, seq := range seqs {
		args[i] = seq
	}
	var rows *sql.Rows
	rows, err = x.db.Reader().QueryContext(ctx, "SELECT "+columns+" FROM items WHERE seq IN (?"+strings.Repeat(", ?", len(seqs)-1)+
		") AND state <> '"+string(Held)+"' ORDER BY seq DESC", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		it, err := scanItem(rows)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return items, rows.Err()
}
