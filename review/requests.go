package review

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"postern/people"
	"postern/quarantine"
	"postern/store"
)

// States of a Request.
const (
	asked    = "asked"
	approved = "approved"
	denied   = "denied"
)

const requestColumns = "item, rcpt, by, at, comment, state, answer, decider, decided"

func scanRequest(rows *sql.Rows) (item string, r *Request, err error) {
	r = &Request{}
	var by Mark
	err = rows.Scan(&item, &r.For, &r.By, (*micro)(&r.At), &r.Comment, &r.State, &r.Answer, &by.By, (*micro)(&by.At))
	if by.By != "" {
		r.Decided = &by
	}
	return item, r, err
}

// Requests is a page of requests for release in the actor's sight, the newest first: those of a
// state, or all. A user sees those for own addresses.
func (d *Desk) Requests(ctx context.Context, who *people.Actor, state string, cursor string, limit int) (*Page, error) {
	if who == nil || !who.May(people.Approve) && !who.May(people.Ask) {
		return nil, d.refuse(ctx, who, "requests", "", ErrForbidden)
	}
	w := &store.Where{}
	switch state {
	case "":
	case asked, approved, denied:
		w.Add("state = ?", state)
	default:
		return nil, &InputError{fmt.Sprintf("there is no state %q of a request: asked, approved or denied", state)}
	}
	if only := sight(who); only != nil {
		in, args := within("rcpt", only)
		w.Add(in, args...)
	}
	page := &Page{Rows: []Row{}}
	if err := d.countRequests(ctx, w, &page.Total); err != nil {
		return nil, err
	}
	if cursor != "" {
		n, err := strconv.ParseInt(cursor, 10, 64)
		if err != nil {
			return nil, &InputError{"that is no cursor"}
		}
		w.Add("n < ?", n)
	}
	limit = store.Page(limit)
	type found struct {
		n    int64
		item string
		r    *Request
	}
	var list []found
	err := d.each(ctx, "SELECT n, "+requestColumns+" FROM review_requests WHERE "+w.String()+" ORDER BY n DESC LIMIT ?", append(w.Args, limit+1), func(rows *sql.Rows) error {
		f := found{r: &Request{}}
		var by Mark
		err := rows.Scan(&f.n, &f.item, &f.r.For, &f.r.By, (*micro)(&f.r.At), &f.r.Comment, &f.r.State, &f.r.Answer, &by.By, (*micro)(&by.At))
		if by.By != "" {
			f.r.Decided = &by
		}
		list = append(list, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(list) > limit {
		list = list[:limit]
		page.Next = strconv.FormatInt(list[limit-1].n, 10)
	}
	for _, f := range list {
		it, err := d.item(ctx, who, f.item)
		if errors.Is(err, ErrNotFound) {
			continue // gone since
		}
		if err != nil {
			return nil, err
		}
		rows, err := d.rows(ctx, who, []*quarantine.Item{it})
		if err != nil {
			return nil, err
		}
		rows[0].Asked = f.r
		page.Rows = append(page.Rows, rows[0])
	}
	return page, nil
}

func (d *Desk) countRequests(ctx context.Context, w *store.Where, c *Count) error {
	err := d.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*) FROM review_requests WHERE "+w.String(), w.Args...).Scan(&c.N)
	if err != nil {
		return fmt.Errorf("count requests: %w", err)
	}
	return nil
}

// ask writes a request for each of the copies that has none open.
func (d *Desk) ask(tx *store.Tx, who *people.Actor, item, comment string, to []string) (n int64, err error) {
	for _, rcpt := range to {
		one, err := tx.Exec("INSERT INTO review_requests (item, rcpt, by, at, comment, state, answer, decider, decided) VALUES (?, ?, ?, ?, ?, 'asked', '', '', 0) ON CONFLICT DO NOTHING",
			item, rcpt, who.Login, d.now().UnixMicro(), comment)
		if err != nil {
			return n, err
		}
		n += one
	}
	return n, nil
}

// decide answers the open requests for these copies.
func (d *Desk) decide(tx *store.Tx, who *people.Actor, item, state, answer string, to []string) (n int64, err error) {
	if len(to) == 0 {
		return 0, nil
	}
	in, args := among("rcpt", to)
	return tx.Exec("UPDATE review_requests SET state = ?, answer = ?, decider = ?, decided = ? WHERE item = ? AND state = 'asked' AND "+in,
		append([]any{state, answer, who.Login, d.now().UnixMicro(), item}, args...)...)
}

// open gives the recipients for whose copies of an item a release was asked for.
func (d *Desk) open(ctx context.Context, it *quarantine.Item) (to []string, err error) {
	err = d.each(ctx, "SELECT rcpt FROM review_requests WHERE item = ? AND state = 'asked'", []any{it.ID}, func(rows *sql.Rows) error {
		var rcpt string
		err := rows.Scan(&rcpt)
		if slices.ContainsFunc(it.Copies, func(c quarantine.Copy) bool { return lower(c.Recipient.Address) == rcpt }) {
			to = append(to, rcpt)
		}
		return err
	})
	return to, err
}

// item looks a message up as the actor sees it: ErrNotFound when it does not.
func (d *Desk) item(ctx context.Context, who *people.Actor, id string) (*quarantine.Item, error) {
	it, err := d.o.Quarantine.Get(ctx, id)
	if errors.Is(err, quarantine.ErrNotFound) || err == nil && (!who.May(people.SeeMail) || !own(who, it)) {
		return nil, ErrNotFound
	}
	return it, err
}
