package review

import (
	"context"
	"strings"

	"github.com/oklog/ulid/v2"

	"postern/journal"
	"postern/people"
	"postern/rules"
	"postern/store"
)

// Track is a page of what became of every message in the actor's sight, held or not, newest first.
// Its total is what is on the page.
func (d *Desk) Track(ctx context.Context, who *people.Actor, f Find) (*Page, error) {
	if err := d.may(ctx, who, people.ReadJournal, "track", ""); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	q := journal.Query{Result: f.Result, Rule: f.Rule, Class: f.Class, Sender: f.Sender, Recipient: f.Recipient,
		Since: f.Since, Until: f.Until, Only: sight(who), Limit: store.Page(f.Limit), Cursor: f.Cursor}
	var text string
	text, q.ID, q.MessageID = f.named()
	var err error
	if q.Where, err = rules.ParseSearch(text, journal.Fields(), d.now()); err != nil {
		return nil, queryError(text, err)
	}
	entries, next, err := d.o.Journal.Search(ctx, q)
	if err != nil {
		return nil, err
	}
	page := &Page{Rows: []Row{}, Next: next}
	for _, e := range entries {
		if ownEntry(who, e) {
			page.Rows = append(page.Rows, trackRow(e))
		}
	}
	page.Total = Count{N: len(page.Rows), More: next != "" || f.Cursor != ""}
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

// trackRow is an entry's row with what was found out about the sender.
func trackRow(e *journal.Entry) Row {
	r := toldRow(e)
	r.Auth = Auth{SPF: result(e, "spf"), DKIM: result(e, "dkim"), DMARC: result(e, "dmarc")}
	return r
}

func result(e *journal.Entry, filter string) string {
	return member(journal.Raw(e.Facts[filter]), "result").Text()
}
