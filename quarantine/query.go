package quarantine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Any is Query's word for every state that people see: all but Held.
const Any State = "any"

// A Query picks items; what is empty does not matter. Words are compared without case.
type Query struct {
	State     State // "": kept or releasing, what waits for somebody
	Class     string
	Rule      string
	Recipient string // an address, @domain, or a part of an address
	Sender    string // the same; <> is the null sender
	Subject   string // a part of it
	Text      string // each word stands in subject, From, sender, recipient or sentence
	SHA256    string // of the bytes as received, hex
	Since     time.Time
	Until     time.Time // before this
	Limit     int       // 0: 50; at most 500
	Cursor    string    // what List returned for the page before
}

const maxPage = 500

// where builds the condition. Values are parameters, never text of the statement.
type where struct {
	terms []string
	args  []any
}

func (w *where) add(term string, args ...any) {
	w.terms = append(w.terms, term)
	w.args = append(w.args, args...)
}

func (w *where) String() string { return strings.Join(w.terms, " AND ") }

func (q *Query) where() *where {
	w := &where{}
	switch q.State {
	case "":
		w.add("state IN (?, ?)", Kept, Releasing)
	case Any:
		w.add("state <> ?", Held)
	default:
		w.add("state = ?", q.State)
	}
	if q.Class != "" {
		w.add("EXISTS (SELECT 1 FROM copies WHERE item = id AND class = ?)", q.Class)
	}
	if q.Rule != "" {
		w.add("EXISTS (SELECT 1 FROM copies WHERE item = id AND rule = ?)", q.Rule)
	}
	w.recipient(strings.ToLower(q.Recipient))
	w.sender(strings.ToLower(q.Sender))
	if q.Subject != "" {
		// The first of the lines; SQLite's lower knows ASCII only.
		w.add("instr(substr(words, 1, instr(words, char(10))), ?) > 0", strings.ToLower(q.Subject))
	}
	for _, word := range strings.Fields(strings.ToLower(q.Text)) {
		w.add("instr(words, ?) > 0", word)
	}
	if q.SHA256 != "" {
		w.add("sha256 = ?", strings.ToLower(q.SHA256))
	}
	if !q.Since.IsZero() {
		w.add("received >= ?", micro(q.Since))
	}
	if !q.Until.IsZero() {
		w.add("received < ?", micro(q.Until))
	}
	return w
}

func (w *where) recipient(s string) {
	const in = "id IN (SELECT item FROM copies WHERE "
	switch {
	case s == "":
	case s[0] == '@':
		w.add(in+"domain = ?)", s[1:])
	case strings.Contains(s, "@"):
		w.add(in+"rcpt = ?)", s)
	default:
		w.add(in+"instr(rcpt, ?) > 0)", s)
	}
}

func (w *where) sender(s string) {
	switch {
	case s == "":
	case s == "<>":
		w.add("sender = ''")
	case s[0] == '@':
		w.add("sender_domain = ?", s[1:])
	case strings.Contains(s, "@"):
		w.add("sender = ?", s)
	default:
		w.add("instr(sender, ?) > 0", s)
	}
}

// List returns a page of items, newest first, and the cursor of the next one ("" at the
// end). Pages do not shift when mail arrives meanwhile.
func (s *Store) List(ctx context.Context, q Query) (items []*Item, next string, err error) {
	w := q.where()
	if q.Cursor != "" {
		at, id, ok := strings.Cut(q.Cursor, ".")
		n, err := strconv.ParseInt(at, 10, 64)
		if !ok || err != nil {
			return nil, "", fmt.Errorf("list quarantine: bad cursor %q", q.Cursor)
		}
		w.add("(received, id) < (?, ?)", n, id)
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, maxPage)
	items, err = s.index.list(ctx, w, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list quarantine: %w", err)
	}
	if len(items) > limit {
		items = items[:limit]
		last := items[limit-1]
		next = fmt.Sprintf("%d.%s", micro(last.Received), last.ID)
	}
	if err := s.index.addCopies(ctx, items); err != nil {
		return nil, "", fmt.Errorf("list quarantine: %w", err)
	}
	return items, next, nil
}

// Count tells how many items a query picks; Limit and Cursor do not matter.
func (s *Store) Count(ctx context.Context, q Query) (n int, err error) {
	w := q.where()
	err = s.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*) FROM items WHERE "+w.String(), w.args...).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count quarantine: %w", err)
	}
	return n, nil
}

func (x index) list(ctx context.Context, w *where, limit int) ([]*Item, error) {
	rows, err := x.db.Reader().QueryContext(ctx, "SELECT "+columns+" FROM items WHERE "+w.String()+
		" ORDER BY received DESC, id DESC LIMIT ?", append(w.args, limit)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var items []*Item
	for rows.Next() {
		it, err := scanItem(rows)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return items, rows.Err()
}
