package review

import (
	"context"
	"strings"

	"github.com/oklog/ulid/v2"

	"postern/journal"
	"postern/people"
	"postern/store"
)

// Track is a page of what became of every message in the actor's sight, held or not, newest first.
// Next may be given with fewer rows than were asked for: there may be more.
func (d *Desk) Track(ctx context.Context, who *people.Actor, f Find) (*Page, error) {
	if err := d.may(ctx, who, people.ReadJournal, "track", ""); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	q := journal.Query{Result: f.Result, Rule: f.Rule, Class: f.Class, Sender: f.Sender, Recipient: f.Recipient,
		Since: f.Since, Until: f.Until, Limit: store.Page(f.Limit), Cursor: f.Cursor}
	q.Text, q.ID, q.MessageID = f.named()
	page := &Page{Rows: []Row{}}
	for looked := 0; looked < 20_000; {
		entries, next, err := d.o.Journal.Search(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if ownEntry(who, e) && f.outcome(e) {
				page.Rows = append(page.Rows, trackRow(e))
			}
		}
		looked += len(entries)
		page.Next, q.Cursor = next, next
		if next == "" || len(page.Rows) > 0 {
			break
		}
	}
	page.Total = Count{N: len(page.Rows), More: page.Next != "" || f.Cursor != ""}
	return page, nil
}

// named takes a query that is an id of ours or a Message-ID for that.
func (f *Find) named() (text, id, messageID string) {
	q := strings.TrimSpace(f.Query)
	base, _, _ := strings.Cut(strings.ToUpper(q), "-")
	if _, err := ulid.ParseStrict(base); err == nil {
		return "", q, ""
	}
	if strings.HasPrefix(q, "<") && strings.HasSuffix(q, ">") && strings.Contains(q, "@") {
		return "", "", q
	}
	return q, "", ""
}

// outcome reports whether an outcome that is left in the entry has what the Find asks of one.
func (f *Find) outcome(e *journal.Entry) bool {
	if f.Result != "" && e.Result != f.Result {
		return false
	}
	if f.Rule == "" && f.Class == "" && f.Recipient == "" {
		return true
	}
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		if (f.Rule == "" || o.Rule == f.Rule) && (f.Class == "" || o.Class == f.Class) &&
			(f.Recipient == "" || addressed(lower(o.Recipient), strings.ToLower(f.Recipient))) {
			return true
		}
	}
	return false
}

// trackRow is an entry's row with what was found out about the sender.
func trackRow(e *journal.Entry) Row {
	r := toldRow(e)
	r.Auth = Auth{SPF: result(e, "spf"), DKIM: result(e, "dkim"), DMARC: result(e, "dmarc")}
	return r
}

func result(e *journal.Entry, filter string) string {
	return member(journal.Raw(e.Facts[filter]), "result").Text()
}

func addressed(address, want string) bool {
	switch {
	case strings.HasPrefix(want, "@"):
		return strings.HasSuffix(address, want)
	case strings.Contains(want, "@"):
		return address == want
	}
	return strings.Contains(address, want)
}
