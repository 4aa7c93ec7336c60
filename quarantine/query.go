package quarantine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/store"
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

func (q *Query) where() *store.Where {
	w := &store.Where{}
	switch q.State {
	case "":
		w.Add("state IN (?, ?)", Kept, Releasing)
	case Any:
		w.Add("state <> ?", Held)
	default:
		w.Add("state = ?", q.State)
	}
	w.Equal("EXISTS (SELECT 1 FROM copies WHERE item = id AND class = ?)", q.Class)
	w.Equal("EXISTS (SELECT 1 FROM copies WHERE item = id AND rule = ?)", q.Rule)
	w.Address(q.Recipient, "rcpt", "domain", "id IN (SELECT item FROM copies WHERE ")
	w.Address(q.Sender, "sender", "sender_domain", "")
	w.Subject(q.Subject)
	w.Text(q.Text)
	w.Equal("sha256 = ?", strings.ToLower(q.SHA256))
	w.Between("received", q.Since, q.Until)
	return w
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
		w.Add("(received, id) < (?, ?)", n, id)
	}
	limit := store.Page(q.Limit)
	items, err = s.index.list(ctx, w, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list quarantine: %w", err)
	}
	if len(items) > limit {
		items = items[:limit]
		next = CursorAfter(items[limit-1])
	}
	if err := s.index.addCopies(ctx, items); err != nil {
		return nil, "", fmt.Errorf("list quarantine: %w", err)
	}
	return items, next, nil
}

// Count tells how many items a query picks; Limit and Cursor do not matter.
func (s *Store) Count(ctx context.Context, q Query) (n int, err error) {
	w := q.where()
	err = s.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*) FROM items WHERE "+w.String(), w.Args...).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count quarantine: %w", err)
	}
	return n, nil
}

func (x index) list(ctx context.Context, w *store.Where, limit int) ([]*Item, error) {
	rows, err := x.db.Reader().QueryContext(ctx, "SELECT "+columns+" FROM items WHERE "+w.String()+
		" ORDER BY received DESC, id DESC LIMIT ?", append(w.Args, limit)...)
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
