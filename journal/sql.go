package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/store"
)

// A Query picks entries; what is empty does not matter. Words are compared without case.
type Query struct {
	ID        string // of the transaction, or of an item in quarantine
	MessageID string
	Sender    string // an address, @domain, or a part of an address; <> is the null sender
	Recipient string // the same
	Subject   string // a part of it
	Result    string // delivered held mixed refused deferred discarded abandoned
	Rule      string
	Class     string
	Client    string // an IP address
	Reply     string // a part of what was said to the client or by the internal server: "550", "mailbox full"
	Text      string // each word stands in subject, From, sender, recipient or sentence
	Since     time.Time
	Until     time.Time // before this
	Limit     int       // 0: 50; at most 500
	Cursor    string    // what Search returned for the page before
}

func (q *Query) where() *store.Where {
	w := &store.Where{}
	if q.ID != "" {
		w.Add("id IN (?, ?)", q.ID, transaction(q.ID))
	}
	w.Equal("message_id = ?", q.MessageID)
	w.Equal("result = ?", q.Result)
	w.Equal("EXISTS (SELECT 1 FROM outcomes WHERE entry = seq AND rule = ?)", q.Rule)
	w.Equal("EXISTS (SELECT 1 FROM outcomes WHERE entry = seq AND class = ?)", q.Class)
	w.Equal("client = ?", q.Client)
	w.Equal("instr(replies, ?) > 0", strings.ToLower(q.Reply))
	w.Subject(q.Subject)
	w.Text(q.Text)
	w.Address(q.Sender, "sender", "sender_domain", "")
	w.Address(q.Recipient, "rcpt", "domain", "seq IN (SELECT entry FROM outcomes WHERE ")
	w.Between("seq", q.Since, q.Until)
	return w
}

// Search returns a page of entries, newest first, and the cursor of the next one ("" at the
// end). It sees all that was recorded before. Pages do not shift when entries are added.
func (s *Store) Search(ctx context.Context, q Query) (entries []*Entry, next string, err error) {
	w := q.where()
	if q.Cursor != "" {
		seq, err := strconv.ParseInt(q.Cursor, 10, 64)
		if err != nil {
			return nil, "", fmt.Errorf("search journal: bad cursor %q", q.Cursor)
		}
		w.Add("seq < ?", seq)
	}
	limit := store.Page(q.Limit)
	if err := s.settle(ctx); err != nil {
		return nil, "", fmt.Errorf("search journal: %w", err)
	}
	rows, err := s.o.DB.Reader().QueryContext(ctx, "SELECT seq, detail FROM entries WHERE "+w.String()+
		" ORDER BY seq DESC LIMIT ?", append(w.Args, limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("search journal: %w", err)
	}
	defer rows.Close()
	var seq int64
	for rows.Next() {
		if len(entries) == limit {
			next = strconv.FormatInt(seq, 10)
			break
		}
		var detail sql.RawBytes
		if err := rows.Scan(&seq, &detail); err != nil {
			return nil, "", fmt.Errorf("search journal: %w", err)
		}
		e, err := decode(detail)
		if err != nil {
			return nil, "", fmt.Errorf("search journal: entry %d: %w", seq, err)
		}
		entries = append(entries, e)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("search journal: %w", err)
	}
	return entries, next, nil
}

// Get returns one entry by its id, or by that of an item in quarantine; ErrNotFound when
// there is none.
func (s *Store) Get(ctx context.Context, id string) (*Entry, error) {
	if err := s.settle(ctx); err != nil {
		return nil, fmt.Errorf("look up %s: %w", id, err)
	}
	var detail []byte
	err := s.o.DB.Reader().QueryRowContext(ctx, "SELECT detail FROM entries WHERE id IN (?, ?) LIMIT 1", id, transaction(id)).Scan(&detail)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", id, err)
	}
	e, err := decode(detail)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", id, err)
	}
	return e, nil
}

// transaction is the transaction's id in that of an item in quarantine, in any case of letters.
func transaction(id string) string {
	base, _, _ := strings.Cut(strings.ToUpper(id), "-")
	return base
}

// settle lets a reader see what was recorded before.
func (s *Store) settle(ctx context.Context) error {
	if s.waiting.Load() == 0 {
		return nil
	}
	if err := s.Flush(ctx); err != nil && !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}

const pruneBatch = 500

// Prune removes what is past its retention, some at a time so that others can write in
// between, until all is done or ctx ends, and returns how many. After a step of the clock
// nothing is removed for a day (store.TrustClock). Call it every hour.
func (s *Store) Prune(ctx context.Context, now time.Time) (n int64, err error) {
	trusted, err := s.o.DB.TrustClock(ctx, "journal", now)
	if err != nil {
		return 0, fmt.Errorf("prune journal: %w", err)
	}
	if !trusted {
		s.o.Log.Warn("the clock has made a step: nothing is removed from the journal for 24 hours", "now", now)
		return 0, nil
	}
	before := now.Add(-s.o.Retention).UnixMicro()
	for {
		var some int64
		err := s.o.DB.Write(ctx, func(tx *store.Tx) (err error) {
			some, err = tx.Exec("DELETE FROM entries WHERE seq IN (SELECT seq FROM entries WHERE seq < ? ORDER BY seq LIMIT ?)",
				before, pruneBatch)
			return err
		})
		if err != nil {
			return n, fmt.Errorf("prune journal: %w", err)
		}
		if n += some; some < pruneBatch {
			break
		}
	}
	if n > 0 {
		s.o.Log.Info("journal: removed what was past its retention", "entries", n)
	}
	return n, nil
}
