package review

import (
	"context"
	"database/sql"

	"postern/store"
)

// Answered is a request for release that was approved or denied.
type Answered struct {
	N    int64 // for Told
	Item string
	Request
}

// Untold are the oldest answers, at most so many, of which whoever asked has not been told.
func (d *Desk) Untold(ctx context.Context, most int) (out []Answered, err error) {
	err = d.each(ctx, "SELECT n, item, rcpt, by, at, comment, state, answer, decider, decided FROM review_requests WHERE told = 0 AND state <> 'asked' ORDER BY decided LIMIT ?", []any{most},
		func(rows *sql.Rows) error {
			a, m := Answered{}, Mark{}
			err := rows.Scan(&a.N, &a.Item, &a.For, &a.By, (*micro)(&a.At), &a.Comment, &a.State, &a.Answer, &m.By, (*micro)(&m.At))
			a.Decided = &m
			out = append(out, a)
			return err
		})
	return out, err
}

// Told notes that whoever asked has been told of an answer, or need not be.
func (d *Desk) Told(ctx context.Context, n int64) error {
	return d.o.DB.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("UPDATE review_requests SET told = 1 WHERE n = ?", n)
		return err
	})
}
