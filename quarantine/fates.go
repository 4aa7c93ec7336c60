package quarantine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// A Fate is what became of copies that one rule had held.
type Fate struct {
	Rule  string
	State State
	Count int
}

// Fates counts the visible copies of messages that were received since then, by rule and state:
// all of them, or those for some domains of recipients.
func (s *Store) Fates(ctx context.Context, since time.Time, domains []string) ([]Fate, error) {
	query, args := "SELECT rule, state, count(*) FROM copies WHERE item >= ? AND state <> ?", []any{firstID(since), Held}
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

// firstID is before every id of a moment and later: ids begin with their time.
func firstID(at time.Time) string {
	var id ulid.ULID
	if id.SetTime(ulid.Timestamp(at)) != nil { // before 1970
		return ""
	}
	return id.String()
}
