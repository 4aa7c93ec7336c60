package quarantine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postern/store"
)

// A Fate is what became of copies that one rule had held.
type Fate struct {
	Rule  string
	State State
	Count int
}

// fatesFor is how long it is known what became of copies.
const fatesFor = 90 * 24 * time.Hour

// Fates counts the visible copies of messages that were received since the beginning of that hour,
// 90 days ago at most, by rule and state: all of them, or those for some domains of recipients.
// What is past its retention counts as what it was in the end.
func (s *Store) Fates(ctx context.Context, since time.Time, domains []string) ([]Fate, error) {
	query, args := "SELECT rule, state, sum(n) FROM fates WHERE hour >= ? AND n > 0", []any{since.Unix() / 3600}
	if domains != nil {
		query += " AND domain IN (''" + strings.Repeat(", ?", len(domains)) + ")"
		for _, d := range domains {
			args = append(args, strings.ToLower(d))
		}
	}
	rows, err := s.o.DB.Reader().QueryContext(ctx, query+" GROUP BY rule, state ORDER BY rule, state", args...)
	if err != nil {
		return nil, fmt.Errorf("count held copies: %w", err)
	}
	defer rows.Close()
	var out []Fate
	for rows.Next() {
		var f Fate
		if err := rows.Scan(&f.Rule, &f.State, &f.Count); err != nil {
			return nil, fmt.Errorf("count held copies: %w", err)
		}
		out = append(out, f)
	}
	return out, rows.Err()
}

// forget removes what was known for long enough.
func (x index) forget(ctx context.Context, now time.Time) error {
	return x.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("DELETE FROM fates WHERE hour < ?", now.Add(-fatesFor).Unix()/3600)
		return err
	})
}
