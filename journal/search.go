package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/search"
	"postern/store"
)

// condition is all that is asked for but Only and Cursor.
func (q *Query) condition() *search.Condition {
	var parts []*search.Condition
	equal := func(field, value string) {
		if value != "" {
			parts = append(parts, search.OfText(field, search.Equal, value))
		}
	}
	has := func(field, value string) {
		if value != "" {
			parts = append(parts, search.OfText(field, search.Has, value))
		}
	}
	equal("id", transaction(q.ID))
	equal("message_id", q.MessageID)
	equal("result", q.Result)
	equal("rule", q.Rule)
	equal("class", q.Class)
	equal("client", q.Client)
	has("reply", q.Reply)
	has("subject", q.Subject)
	for _, word := range strings.Fields(q.Text) {
		has(search.Anything, word)
	}
	for field, value := range map[string]string{"sender": q.Sender, "rcpt": q.Recipient} {
		switch {
		case value == "<>":
			parts = append(parts, search.OfText(field, search.Equal, ""))
		case strings.HasPrefix(value, "@"):
			equal(field+".domain", value[1:])
		case strings.Contains(value, "@"):
			equal(field, value)
		default:
			has(field, value)
		}
	}
	if !q.Since.IsZero() {
		parts = append(parts, search.OfTime("received", search.AtLeast, q.Since))
	}
	if !q.Until.IsZero() {
		parts = append(parts, search.OfTime("received", search.Less, q.Until))
	}
	return search.All(append(parts, q.Where)...)
}

// lookFor is how long a search looks before it gives what it has.
const lookFor = 3 * time.Second

// Search returns a page of entries, newest first, and the cursor of the next one ("" at the
// end). It sees all that was recorded before. Pages do not shift when entries are added. A page
// may be short, or empty, though there are more: when what is asked for is rare and nothing
// leads to it, a search ends after some seconds, and the next one goes on from the cursor. With
// Only, entries have those copies alone, see Entry.For.
func (s *Store) Search(ctx context.Context, q Query) (entries []*Entry, next string, err error) {
	w, err := s.walkFor(ctx, &q)
	if err == nil {
		w.want, w.until = store.Page(q.Limit), time.Now().Add(lookFor)
		err = w.run(ctx)
	}
	if err != nil {
		return nil, "", fmt.Errorf("search journal: %w", err)
	}
	for _, e := range w.found {
		if err := s.resolve(ctx, e); err != nil {
			return nil, "", fmt.Errorf("search journal: %w", err)
		}
	}
	if !w.over {
		next = strconv.FormatInt(w.at, 10)
	}
	return w.found, next, nil
}

// A search that is under way. It goes from the newest entry to the oldest.
type searching struct {
	s       *Store
	q       *Query
	c       *search.Condition
	sieve   *sieve
	needles [][]string // an entry has one of each list
	direct  bool       // an index of entries leads to few rows
	want    int        // entries, or with counting how many are counted
	counts  bool       // only counts
	until   time.Time

	at    int64 // seq: what is not looked at yet is below
	over  bool  // nothing is left
	found []*Entry
	count int
	u     unpacker
}

func (s *Store) walkFor(ctx context.Context, q *Query) (*searching, error) {
	w := &searching{s: s, q: q, c: q.condition(), at: math.MaxInt64, u: unpacker{db: s.o.DB.Reader()}}
	if q.Cursor != "" {
		var err error
		if w.at, err = strconv.ParseInt(q.Cursor, 10, 64); err != nil {
			return nil, fmt.Errorf("bad cursor %q", q.Cursor)
		}
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	var err error
	if w.direct, err = w.isDirect(ctx); err != nil {
		return nil, err
	}
	w.needles = q.needles(w.c)
	w.sieve, err = q.sieve(w.c, w.direct)
	return w, err
}

// few is how many rows are read rather than looked for in sketches.
const few = 30_000

// isDirect tells whether there is an id, or a sender or recipient of few entries.
func (w *searching) isDirect(ctx context.Context) (bool, error) {
	least := func(text string, list []string) (bool, error) {
		var n int
		err := w.s.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM "+text+" IN ("+marks(len(list))+") LIMIT ?)",
			append(anys(list), few)...).Scan(&n)
		return n < few, err
	}
	if whole, domains := w.q.onlyParts(); w.q.Only != nil && len(domains) == 0 {
		if ok, err := least("recipients WHERE rcpt", whole); ok || err != nil {
			return ok, err
		}
	}
	for _, c := range w.c.Conjuncts() {
		whole := c.Op == search.Equal || c.Op == search.In
		switch {
		case c.Field == "rcpt" && whole:
			if ok, err := least("recipients WHERE rcpt", c.Texts); ok || err != nil {
				return ok, err
			}
		case c.Field == "sender" && whole:
			if ok, err := least("entries INDEXED BY entries_sender WHERE sender", c.Texts); ok || err != nil {
				return ok, err
			}
		}
	}
	return false, nil
}

// run looks until there is enough, or nothing is left, or time is up.
func (w *searching) run(ctx context.Context) error {
	low, high := w.span()
	w.at = min(w.at, high)
	err := w.goOver(ctx, low)
	w.over = w.at <= low
	return err
}

func (w *searching) goOver(ctx context.Context, low int64) error {
	if w.direct {
		return w.look(ctx, low)
	}
	if len(w.needles) == 0 {
		return w.step(ctx, low)
	}
	for join := 1; ; {
		runs, err := w.runs(ctx, low)
		if err != nil {
			return err
		}
		for i := 0; i < len(runs); i++ {
			r := &runs[i]
			if err := w.step(ctx, max(r.last+1, low)); err != nil || w.done() { // what is not drawn
				return err
			}
			if !r.may {
				w.at = max(r.first, low)
				continue
			}
			// More at once the longer it takes: the first page is mostly near.
			for n := 1; n < join && i+1 < len(runs) && runs[i+1].may && runs[i+1].last+1 == runs[i].first; n++ {
				i++
			}
			if err := w.look(ctx, max(runs[i].first, low)); err != nil || w.done() {
				return err
			}
			join = min(2*join, maxJoin)
		}
		if len(runs) < sketchPage {
			return w.step(ctx, low)
		}
	}
}

// maxJoin is how many runs are looked at between looks at the clock.
const maxJoin = 64

// done reports whether there is enough, or time is up: the next search goes on at at.
func (w *searching) done() bool {
	return w.count >= w.want || len(w.found) >= w.want || time.Now().After(w.until)
}

// span are the bounds in time that the condition has: what is in [low, high).
func (w *searching) span() (low, high int64) {
	low, high = math.MinInt64+1, math.MaxInt64
	for _, c := range w.c.Conjuncts() {
		at := c.Time.UnixMicro()
		switch {
		case c.Field != "received":
		case c.Op == search.More || c.Op == search.AtLeast:
			low = max(low, at)
		case c.Op == search.Less || c.Op == search.AtMost:
			high = min(high, at+sameTime+1)
		}
		if u, ok := moment(c); ok {
			low, high = max(low, u), min(high, u+1000+sameTime+1)
		}
	}
	return low, high
}

// moment is the time in an id that is looked for, in microseconds.
func moment(c *search.Condition) (int64, bool) {
	if c.Field != "id" || c.Op != search.Equal {
		return 0, false
	}
	u, err := ulid.ParseStrict(transaction(c.Texts[0]))
	return ulid.Time(u.Time()).UnixMicro(), err == nil
}

// sketchPage is how many sketches are read at once.
const sketchPage = 256

type maybe struct {
	first, last int64
	may         bool
}

// runs looks at the next sketches below at.
func (w *searching) runs(ctx context.Context, low int64) (list []maybe, err error) {
	rows, err := w.s.o.DB.Reader().QueryContext(ctx, "SELECT first, last, bits FROM sketches WHERE last < ? AND last >= ? ORDER BY last DESC LIMIT ?", w.at, low, sketchPage)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var k sketch
		var bits sql.RawBytes
		if err := rows.Scan(&k.first, &k.last, &bits); err != nil {
			return nil, err
		}
		k.bits = bits
		list = append(list, maybe{k.first, k.last, k.mayAll(w.needles)})
	}
	return list, rows.Err()
}

func (k *sketch) mayAll(needles [][]string) bool {
	for _, list := range needles {
		some := false
		for _, n := range list {
			some = some || k.may(n)
		}
		if !some {
			return false
		}
	}
	return true
}

// stepRows is how many rows are looked at between looks at the clock, at first and at most.
const (
	stepRows    = 500
	maxStepRows = 20_000
)

// step looks at what is below at and not below low, some rows at a time.
func (w *searching) step(ctx context.Context, low int64) error {
	for rows := stepRows; w.at > low && !w.done(); rows = min(2*rows, maxStepRows) {
		var edge int64
		err := w.s.o.DB.Reader().QueryRowContext(ctx, "SELECT seq FROM entries WHERE seq < ? AND seq >= ? ORDER BY seq DESC LIMIT 1 OFFSET ?", w.at, low, rows).Scan(&edge)
		if errors.Is(err, sql.ErrNoRows) {
			edge, err = low, nil
		}
		if err == nil {
			err = w.look(ctx, edge)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// look finds what is below at and not below low. Afterwards at is low, unless there is enough.
func (w *searching) look(ctx context.Context, low int64) error {
	for w.at > low && !w.done() {
		if w.counts && w.sieve.exact {
			return w.number(ctx, low)
		}
		most := w.want - max(len(w.found), w.count) + 1
		spots, err := w.s.spots(ctx, "SELECT "+spotColumns+" FROM entries WHERE seq < ? AND seq >= ? AND "+w.sieve.text.String()+" ORDER BY seq DESC LIMIT ?",
			append(append([]any{w.at, low}, w.sieve.args...), most)...)
		if err != nil {
			return err
		}
		for i := range spots {
			if w.done() {
				return nil
			}
			if err := w.take(ctx, &spots[i]); err != nil {
				return fmt.Errorf("entry %d: %w", spots[i].seq, err)
			}
		}
		if len(spots) < most {
			w.at = low
		}
	}
	return nil
}

// number counts what is below at and not below low. Rows that may have been cut are looked at.
func (w *searching) number(ctx context.Context, low int64) error {
	where, args := w.sieve.text.String(), append([]any{w.at, low}, w.sieve.args...)
	long := strings.Join(w.sieve.long, " OR ")
	if long == "" {
		long = "FALSE"
	}
	var n int
	err := w.s.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM entries WHERE seq < ? AND seq >= ? AND "+where+
		" AND NOT ("+long+") ORDER BY seq DESC LIMIT ?)", append(args, w.want-w.count)...).Scan(&n)
	if w.count += n; err != nil || w.count >= w.want {
		return err
	}
	if len(w.sieve.long) == 0 {
		w.at = low
		return nil
	}
	spots, err := w.s.spots(ctx, "SELECT "+spotColumns+" FROM entries WHERE seq < ? AND seq >= ? AND "+where+" AND ("+long+") ORDER BY seq DESC", args...)
	for i := 0; i < len(spots) && err == nil && w.count < w.want; i++ {
		err = w.take(ctx, &spots[i])
	}
	if w.count < w.want {
		w.at = low
	}
	return err
}

// take looks at one entry.
func (w *searching) take(ctx context.Context, at *spot) error {
	e, err := w.u.entry(ctx, at)
	if err != nil {
		return err
	}
	w.at = at.seq
	switch {
	case !w.q.fits(e, w.c):
	case w.counts:
		w.count++
	default:
		w.found = append(w.found, e)
	}
	return nil
}
