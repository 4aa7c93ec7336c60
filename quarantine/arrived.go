package quarantine

import (
	"context"
	"fmt"
	"strings"
)

// An Arrival is one row of the quarantine as Arrived sees it.
type Arrival struct {
	Row  int64 // grows with each message, but for those that were dropped again
	ID   string
	Kept bool // visible
}

// Last is the number of the newest row; 0 when there is none.
func (s *Store) Last(ctx context.Context) (row int64, err error) {
	err = s.o.DB.Reader().QueryRowContext(ctx, "SELECT coalesce(max(rowid), 0) FROM items").Scan(&row)
	if err != nil {
		return 0, fmt.Errorf("newest in quarantine: %w", err)
	}
	return row, nil
}

// Arrived gives the rows behind one, oldest first, at most 500.
func (s *Store) Arrived(ctx context.Context, after int64) (list []Arrival, err error) {
	rows, err := s.o.DB.Reader().QueryContext(ctx, "SELECT rowid, id, state <> ? FROM items WHERE rowid > ? ORDER BY rowid LIMIT 500", Held, after)
	if err != nil {
		return nil, fmt.Errorf("new in quarantine: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var a Arrival
		if err := rows.Scan(&a.Row, &a.ID, &a.Kept); err != nil {
			return nil, fmt.Errorf("new in quarantine: %w", err)
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

// Some gives visible items by their ids, at most some hundred; those that are not there are left out.
func (s *Store) Some(ctx context.Context, ids []string) (items []*Item, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := []any{Held}
	for _, id := range ids {
		args = append(args, id)
	}
	rows, err := s.o.DB.Reader().QueryContext(ctx, "SELECT "+columns+" FROM items WHERE state <> ? AND id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", args...)
	if err != nil {
		return nil, fmt.Errorf("look up %d messages: %w", len(ids), err)
	}
	defer rows.Close()
	for rows.Next() {
		it, err := scanItem(rows)
		if err != nil {
			return nil, fmt.Errorf("look up %d messages: %w", len(ids), err)
		}
		items = append(items, it)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look up %d messages: %w", len(ids), err)
	}
	return items, s.index.addCopies(ctx, items)
}
