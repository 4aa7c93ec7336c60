package quarantine

import (
	"context"
	"fmt"
	"strings"

	"postern/mail"
)

// Matching tells which copies of some items, at most some hundred, a query picks: the recipients
// by the item's id. Limit and Cursor do not matter.
func (s *Store) Matching(ctx context.Context, q Query, items []*Item) (map[string][]mail.Address, error) {
	out := map[string][]mail.Address{}
	if len(items) == 0 {
		return out, nil
	}
	p, err := s.plan(ctx, &q)
	if err != nil {
		return nil, fmt.Errorf("match copies: %w", err)
	}
	byKey := map[string]mail.Address{}
	args := make([]any, len(items))
	for i, it := range items {
		args[i] = it.seq
		for k := range it.Copies {
			a := it.Copies[k].Recipient.Address
			byKey[it.ID+" "+key(a)] = a
		}
	}
	states := "s.bin IN (1, 2)"
	if q.State == "" {
		states = "s.bin = 1"
	}
	rows, err := s.o.DB.Reader().QueryContext(ctx, "SELECT s.item, s.rcpt FROM sought AS s WHERE "+states+" AND s.seq IN (?"+strings.Repeat(", ?", len(items)-1)+
		") AND "+p.where+" ORDER BY s.seq, s.n", append(args, p.args...)...)
	if err != nil {
		return nil, fmt.Errorf("match copies: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, rcpt string
		if err := rows.Scan(&id, &rcpt); err != nil {
			return nil, fmt.Errorf("match copies: %w", err)
		}
		if a, ok := byKey[id+" "+rcpt]; ok {
			out[id] = append(out[id], a)
		}
	}
	return out, rows.Err()
}
