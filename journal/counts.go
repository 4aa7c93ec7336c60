package journal

import (
	"context"
	"fmt"
	"time"

	"postern/search"
)

// CountMost is how far Counts and CountUpTo count when they are not told.
const CountMost = 10_000

// countWithin is how long one of the counts of Counts may take.
const countWithin = 50 * time.Millisecond

// A Total is a number of entries. Counting ends where it would take too long.
type Total struct {
	N    int  `json:"n"`
	More bool `json:"more,omitempty"` // there are, or may be, more than N
}

// CountUpTo tells how many entries a query picks; Limit and Cursor do not matter. It ends at most
// (0: CountMost) or when within is over (0: after some seconds), with what it has found by then.
func (s *Store) CountUpTo(ctx context.Context, q Query, most int, within time.Duration) (Total, error) {
	if most <= 0 {
		most = CountMost
	}
	if within <= 0 {
		within = lookFor
	}
	q.Cursor = ""
	w, err := s.walkFor(ctx, &q)
	if err == nil {
		w.counts, w.want, w.until = true, most+1, time.Now().Add(within)
		err = w.run(ctx)
	}
	if err != nil {
		return Total{}, fmt.Errorf("count journal: %w", err)
	}
	return Total{min(w.count, most), w.count > most || !w.over}, nil
}

// A Group is how many entries have one value of a field.
type Group struct {
	Value string `json:"value"`
	Total
}

// Counts tells for each value of a field, result or class, how many entries q would pick with
// that value besides, as CountUpTo does. The query's own value gives way to it.
func (s *Store) Counts(ctx context.Context, q Query, by string) ([]Group, error) {
	switch by {
	case "result":
		q.Result = ""
	case "class":
		q.Class = ""
	default:
		return nil, fmt.Errorf("count journal: not by %q", by)
	}
	var out []Group
	for _, v := range Fields()[by].Values {
		one := q
		one.Where = search.All(search.OfText(by, search.Equal, v), q.Where)
		t, err := s.CountUpTo(ctx, one, 0, countWithin)
		if err != nil {
			return nil, err
		}
		out = append(out, Group{v, t})
	}
	return out, nil
}
