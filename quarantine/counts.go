package quarantine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/search"
)

// CountMost is how far Counts and CountUpTo count when they are not told: more than that is
// nothing that anybody looks through.
const CountMost = 10_000

// countWithin is how long one of the counts of Counts may take.
const countWithin = 50 * time.Millisecond

// A Total is a number of items. Counting ends where it would take too long.
type Total struct {
	N    int  `json:"n"`
	More bool `json:"more,omitempty"` // there are, or may be, more than N
}

// Count tells how many items a query picks; Limit and Cursor do not matter. Of a million it
// takes a second: see CountUpTo.
func (s *Store) Count(ctx context.Context, q Query) (n int, err error) {
	p, err := s.plan(ctx, &q)
	if err == nil {
		text, args := p.statement(0)
		err = s.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*) FROM ("+text+")", args...).Scan(&n)
	}
	if err != nil {
		return 0, fmt.Errorf("count quarantine: %w", err)
	}
	return n, nil
}

// CountUpTo is Count that ends at most (0: CountMost) or when within is over (0: it is not
// limited), with what it has found by then.
func (s *Store) CountUpTo(ctx context.Context, q Query, most int, within time.Duration) (t Total, err error) {
	if most <= 0 {
		most = CountMost
	}
	short, cancel := ctx, context.CancelFunc(func() {})
	if within > 0 {
		short, cancel = context.WithTimeout(ctx, within)
	}
	defer cancel()
	if t, err = s.countUpTo(short, q, most); err == nil {
		return t, nil
	}
	if ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || short.Err() != nil) {
		t.More = true
		return t, nil
	}
	return Total{}, fmt.Errorf("count quarantine: %w", err)
}

func (s *Store) countUpTo(ctx context.Context, q Query, most int) (t Total, err error) {
	p, err := s.plan(ctx, &q)
	if err != nil {
		return t, err
	}
	text, args := p.statement(most + 1)
	rows, err := s.o.DB.Reader().QueryContext(ctx, text, args...)
	if err != nil {
		return t, err
	}
	defer rows.Close()
	for rows.Next() {
		if t.N == most {
			t.More = true
			return t, nil
		}
		t.N++
	}
	return t, rows.Err()
}

// A Group is how many items have one value of a field.
type Group struct {
	Value string `json:"value"`
	Total
}

// maxGroups is how many values of a field are counted.
const maxGroups = 100

// Counts tells for each value of a field, class, state or rule, how many items q would pick
// with that value besides, as CountUpTo does; rules that have none are left out. The query's
// own State or Class gives way to it.
func (s *Store) Counts(ctx context.Context, q Query, by string) ([]Group, error) {
	values := Fields()[by].Values
	switch by {
	case "class":
		q.Class = ""
	case "state":
	case "rule":
		q.Rule = ""
		var err error
		if values, err = s.index.rules(ctx); err != nil {
			return nil, fmt.Errorf("count quarantine: %w", err)
		}
	default:
		return nil, fmt.Errorf("count quarantine: not by %q", by)
	}
	var out []Group
	for _, v := range values {
		one := q
		if by == "state" {
			one.State = State(v)
		} else {
			one.Where = search.All(search.OfText(by, search.Equal, v), q.Where)
		}
		t, err := s.CountUpTo(ctx, one, 0, countWithin)
		if err != nil {
			return nil, err
		}
		if by != "rule" || t.N > 0 || t.More {
			out = append(out, Group{v, t})
		}
	}
	return out, nil
}

// rules are the rules that hold something.
func (x index) rules(ctx context.Context) (names []string, err error) {
	rows, err := x.db.Reader().QueryContext(ctx, `WITH RECURSIVE name (rule) AS (
		SELECT min(rule) FROM sought UNION ALL SELECT (SELECT min(rule) FROM sought WHERE rule > name.rule) FROM name WHERE rule IS NOT NULL)
		SELECT rule FROM name WHERE rule <> '' LIMIT ?`, maxGroups)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
