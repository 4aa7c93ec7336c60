package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/search"
	"postern/store"
)

// A Query picks entries; what is empty does not matter. Text is compared without case. A message
// for several recipients is picked when one copy, among those that Only leaves, has all that is
// asked for; words of Text may stand in different copies.
type Query struct {
	ID        string // of the transaction, or of an item in quarantine
	MessageID string
	Sender    string // an address, @domain, or a part of an address; <> is the null sender
	Recipient string // the same
	Subject   string // a part of it
	Result    string // delivered held mixed refused deferred discarded command abandoned
	Rule      string
	Class     string
	Client    string // an IP address
	Reply     string // a part of what was said to the client or by the internal server: "550", "mailbox full"
	Text      string // each word stands in subject, From, sender, recipient or sentence
	Since     time.Time
	Until     time.Time         // before this
	Where     *search.Condition // over Fields; nil: all
	Only      []string          // addresses and @domains, in lower case, whose copies may be seen. nil: all; empty, but not nil: none
	Limit     int               // 0: 50; at most 500
	Cursor    string            // what Search returned for the page before
}

// Get returns one entry by its id, or by that of an item in quarantine; ErrNotFound when
// there is none.
func (s *Store) Get(ctx context.Context, id string) (*Entry, error) {
	if err := s.settle(ctx); err != nil {
		return nil, fmt.Errorf("look up %s: %w", id, err)
	}
	at, err := s.find(ctx, id)
	var e *Entry
	if err == nil {
		e, err = (&unpacker{db: s.o.DB.Reader()}).entry(ctx, at)
	}
	if err == nil {
		err = s.resolve(ctx, e)
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", id, err)
	}
	return e, nil
}

// Look returns one entry as a scan gives it, by its id or by that of an item in quarantine;
// ErrNotFound when there is none. It stays valid.
func (s *Store) Look(ctx context.Context, id string) (*Record, error) {
	err := s.settle(ctx)
	r := &Record{}
	var at *spot
	if err == nil {
		at, err = s.find(ctx, id)
	}
	if err == nil {
		r.detail, err = (&unpacker{db: s.o.DB.Reader()}).detail(ctx, at)
	}
	if err == nil {
		_, err = r.open(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", id, err)
	}
	return r, nil
}

// find finds an entry by its id.
func (s *Store) find(ctx context.Context, id string) (*spot, error) {
	w := &store.Where{}
	byID(w, id)
	spots, err := s.spots(ctx, "SELECT "+spotColumns+" FROM entries WHERE "+w.String()+" LIMIT 1", w.Args...)
	switch {
	case err != nil:
		return nil, err
	case len(spots) == 0:
		return nil, ErrNotFound
	}
	return &spots[0], nil
}

// byID finds an entry by its id, whose first part is the time of receipt: rows lie in its order.
func byID(w *store.Where, id string) {
	id = transaction(id)
	if u, err := ulid.ParseStrict(id); err == nil {
		at := ulid.Time(u.Time()).UnixMicro()
		w.Add("seq BETWEEN ? AND ?", at, at+1000+sameTime)
	}
	w.Add("id = ?", id)
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
