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

// equal adds a condition for a value that is given.
func (w *where) equal(term, value string) {
	if value != "" {
		w.add(term, value)
	}
}

func (w *where) String() string { return strings.Join(append(w.terms, "TRUE"), " AND ") }

func (q *Query) where() *where {
	w := &where{}
	if q.ID != "" {
		w.add("id IN (?, ?)", q.ID, transaction(q.ID))
	}
	w.equal("message_id = ?", q.MessageID)
	w.equal("result = ?", q.Result)
	w.equal("EXISTS (SELECT 1 FROM outcomes WHERE entry = seq AND rule = ?)", q.Rule)
	w.equal("EXISTS (SELECT 1 FROM outcomes WHERE entry = seq AND class = ?)", q.Class)
	w.equal("client = ?", q.Client)
	w.equal("instr(replies, ?) > 0", strings.ToLower(q.Reply))
	w.equal("instr(substr(words, 1, instr(words, char(10))), ?) > 0", strings.ToLower(q.Subject))
	for _, word := range strings.Fields(strings.ToLower(q.Text)) {
		w.add("instr(words, ?) > 0", word)
	}
	w.address(strings.ToLower(q.Sender), "sender", "sender_domain", "")
	w.address(strings.ToLower(q.Recipient), "rcpt", "domain", "seq IN (SELECT entry FROM outcomes WHERE ")
	if !q.Since.IsZero() {
		w.add("seq >= ?", q.Since.UnixMicro())
	}
	if !q.Until.IsZero() {
		w.add("seq < ?", q.Until.UnixMicro())
	}
	return w
}

func (w *where) address(s, whole, domain, in string) {
	end := ""
	if in != "" {
		end = ")"
	}
	switch {
	case s == "":
	case s == "<>":
		w.add(in + whole + " = ''" + end)
	case s[0] == '@':
		w.add(in+domain+" = ?"+end, s[1:])
	case strings.Contains(s, "@"):
		w.add(in+whole+" = ?"+end, s)
	default:
		w.add(in+"instr("+whole+", ?) > 0"+end, s)
	}
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
		w.add("seq < ?", seq)
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, maxPage)
	if err := s.settle(ctx); err != nil {
		return nil, "", fmt.Errorf("search journal: %w", err)
	}
	rows, err := s.o.DB.Reader().QueryContext(ctx, "SELECT seq, detail FROM entries WHERE "+w.String()+
		" ORDER BY seq DESC LIMIT ?", append(w.args, limit+1)...)
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
