package review

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/people"
	"postern/quarantine"
	"postern/store"
)

// marks are what people did with some messages beside releasing and deleting them.
type marks struct {
	seen     map[string]*Mark
	taken    map[string]string
	pending  map[string]*Pending
	requests map[string][]*Request // newest first
}

// marks reads those of the ids, at most some hundred.
func (d *Desk) marks(ctx context.Context, who *people.Actor, ids []string) (*marks, error) {
	m := &marks{seen: map[string]*Mark{}, taken: map[string]string{}, pending: map[string]*Pending{}, requests: map[string][]*Request{}}
	if len(ids) == 0 {
		return m, nil
	}
	in, args := among("item", ids)
	err := d.each(ctx, "SELECT item, by, at FROM review_seen WHERE whose = ? AND "+in, append([]any{whose(who)}, args...), func(rows *sql.Rows) error {
		var item string
		var mark Mark
		err := rows.Scan(&item, &mark.By, (*micro)(&mark.At))
		m.seen[item] = &mark
		return err
	})
	if err == nil && reviews(who) {
		err = d.each(ctx, "SELECT item, by FROM review_taken WHERE "+in, args, func(rows *sql.Rows) error {
			var item, by string
			err := rows.Scan(&item, &by)
			m.taken[item] = by
			return err
		})
	}
	if err == nil {
		err = d.each(ctx, "SELECT "+requestColumns+" FROM review_requests WHERE "+in+" ORDER BY n DESC", args, func(rows *sql.Rows) error {
			item, r, err := scanRequest(rows)
			m.requests[item] = append(m.requests[item], r)
			return err
		})
	}
	if err == nil {
		err = d.pendings(ctx, who, ids, m.pending)
	}
	return m, err
}

// request is the newest one that is for a copy in sight.
func (m *marks) request(who *people.Actor, it *quarantine.Item) *Request {
	for _, r := range m.requests[it.ID] {
		if slices.ContainsFunc(it.Copies, func(c quarantine.Copy) bool { return lower(c.Recipient.Address) == r.For }) {
			return r
		}
	}
	return nil
}

// mark carries out Seen, Unseen, Take and Leave.
func (d *Desk) mark(tx *store.Tx, who *people.Actor, v Verb, item string) (changed bool, err error) {
	var n int64
	switch v {
	case Seen:
		n, err = tx.Exec("INSERT INTO review_seen VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", item, whose(who), who.Login, d.now().UnixMicro())
	case Unseen:
		n, err = tx.Exec("DELETE FROM review_seen WHERE item = ? AND whose = ?", item, whose(who))
	case Take:
		n, err = tx.Exec("INSERT INTO review_taken VALUES (?, ?, ?) ON CONFLICT (item) DO UPDATE SET by = excluded.by, at = excluded.at WHERE by <> excluded.by",
			item, who.Login, d.now().UnixMicro())
	case Leave:
		n, err = tx.Exec("DELETE FROM review_taken WHERE item = ?", item)
	}
	return n > 0, err
}

// each runs a SELECT and gives its rows one by one.
func (d *Desk) each(ctx context.Context, query string, args []any, one func(*sql.Rows) error) error {
	rows, err := d.o.DB.Reader().QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("desk: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := one(rows); err != nil {
			return fmt.Errorf("desk: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("desk: %w", err)
	}
	return nil
}

// among is the condition that a column is one of some values.
func among(column string, values []string) (string, []any) {
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	return column + " IN (?" + strings.Repeat(", ?", max(len(values)-1, 0)) + ")", args
}

// within is the condition that a recipient is one of those of sight; nobody for none.
func within(column string, only []string) (string, []any) {
	terms, args := []string{"FALSE"}, []any{}
	for _, o := range only {
		at := strings.LastIndexByte(o, '@')
		switch {
		case at == 0:
			terms = append(terms, "substr("+column+", -length(?)) = ?")
			args = append(args, o, o)
		case at > 1 && o[at-1] == '+':
			terms = append(terms, "(substr("+column+", -length(?)) = ? AND substr("+column+", 1, length(?)) = ?)")
			args = append(args, o[at:], o[at:], o[:at], o[:at])
		default:
			terms = append(terms, column+" = ?")
			args = append(args, o)
		}
	}
	return "(" + strings.Join(terms, " OR ") + ")", args
}

// micro scans a time that is kept in microseconds; 0 is none.
type micro time.Time

// Scan is database/sql's.
func (m *micro) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("a time that is %T", v)
	}
	*m = micro{}
	if n != 0 {
		*m = micro(time.UnixMicro(n).UTC())
	}
	return nil
}

// jsonColumn scans what is kept as JSON.
type jsonColumn struct{ into any }

// Scan is database/sql's.
func (c jsonColumn) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("JSON that is %T", v)
	}
	return json.Unmarshal([]byte(text), c.into)
}
