package lists

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/store"
)

// Errors that callers tell apart.
var (
	ErrNotFound = errors.New("there is no such entry")
	ErrFull     = fmt.Errorf("the lists have %d entries, which is the most they may have: name domains or networks, or keep long lists in a file for inList", maxEntries)
)

// maxEntries bounds what is kept in memory: some 30 MB.
const maxEntries = 100_000

// Add adds entries, all or none, and returns those that stood in their places: the same value
// for the same recipients. e.Added is set.
func (s *Store) Add(ctx context.Context, entries ...*Entry) (replaced []*Entry, err error) {
	now := s.o.Clock().UTC().Truncate(time.Microsecond)
	for _, e := range entries {
		if e.Expired(now) {
			return nil, fmt.Errorf("%s: %s is in the past", e.Value, e.Until.Format(time.RFC3339))
		}
		e.Added, e.Note, e.By = now, store.Clean(e.Note, maxNote), store.Clean(e.By, maxNote)
	}
	err = s.change(ctx, func(tx *store.Tx) error {
		replaced = nil
		for _, e := range entries {
			rows, err := tx.Query(selectEntries+" WHERE value = ? AND scope = ?", e.Value, e.Scope)
			if err != nil {
				return err
			}
			old, err := scan(rows)
			if err != nil {
				return err
			}
			replaced = append(replaced, old...)
			until := int64(0)
			if !e.Until.IsZero() {
				until = e.Until.UnixMicro()
			}
			if _, err = tx.Exec("INSERT OR REPLACE INTO list_entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
				e.Value, e.Scope, e.Allow, e.Unauthenticated, until, e.Added.UnixMicro(), e.By, e.Note); err != nil {
				return err
			}
		}
		var n int
		if err := tx.Get("SELECT count(*) FROM list_entries", nil, &n); err != nil || n <= s.most {
			return err
		}
		return ErrFull
	})
	return replaced, err
}

// Remove removes the entry of a value for a scope, and returns it; ErrNotFound when there is none.
func (s *Store) Remove(ctx context.Context, value, scope string) (*Entry, error) {
	var gone *Entry
	err := s.change(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(selectEntries+" WHERE value = ? AND scope = ?", value, scope)
		if err != nil {
			return err
		}
		old, err := scan(rows)
		if err != nil {
			return err
		}
		if len(old) == 0 {
			return ErrNotFound
		}
		gone = old[0]
		_, err = tx.Exec("DELETE FROM list_entries WHERE value = ? AND scope = ?", value, scope)
		return err
	})
	return gone, err
}

// change writes, and tells all who keep an Index.
func (s *Store) change(ctx context.Context, fn func(tx *store.Tx) error) error {
	return s.o.DB.Write(ctx, func(tx *store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		_, err := tx.Exec("UPDATE list_generation SET n = n + 1")
		return err
	})
}

// A Query picks entries; what is empty does not matter.
type Query struct {
	About   string // entries that are about this address, domain, network or list-id, as a message from it meets them
	Scope   *string
	Allow   *bool
	Expired bool // also those that are not in force any more
}

// List gives the entries in the order of their values.
func (s *Store) List(ctx context.Context, q Query) ([]*Entry, error) {
	w := &store.Where{}
	if q.Scope != nil {
		w.Add("scope = ?", *q.Scope)
	}
	if q.Allow != nil {
		w.Add("allow = ?", *q.Allow)
	}
	if !q.Expired {
		w.Add("(until = 0 OR until > ?)", s.o.Clock().UnixMicro())
	}
	rows, err := s.o.DB.Reader().QueryContext(ctx, selectEntries+" WHERE "+w.String()+" ORDER BY value, scope", w.Args...)
	if err != nil {
		return nil, fmt.Errorf("lists: %w", err)
	}
	entries, err := scan(rows)
	if err != nil || q.About == "" {
		return entries, err
	}
	about, err := ParseEntry(q.About)
	if err != nil {
		return nil, err
	}
	fits := entries[:0]
	for _, e := range entries {
		if e.about(&about) {
			fits = append(fits, e)
		}
	}
	return fits, nil
}

// about reports whether mail from what other names meets the entry.
func (e *Entry) about(other *Entry) bool {
	if e.Value == other.Value {
		return true
	}
	switch {
	case e.Kind == Network && other.Kind == Network:
		return e.net.Bits() <= other.net.Bits() && e.net.Contains(other.net.Addr())
	case e.Kind == Domain && (other.Kind == Address || other.Kind == Domain):
		domain := strings.TrimPrefix(other.Value[strings.LastIndexByte(other.Value, '@')+1:], ".")
		return domain == e.Value || strings.HasSuffix("."+domain, e.Value) && e.Value[0] == '.'
	}
	return false
}

// keepExpired is how long an entry that is not in force any more can still be shown.
const keepExpired = 30 * 24 * time.Hour

// Prune removes entries that have been out of force for a month, and returns how many.
func (s *Store) Prune(ctx context.Context, now time.Time) (n int64, err error) {
	err = s.o.DB.Write(ctx, func(tx *store.Tx) (err error) {
		n, err = tx.Exec("DELETE FROM list_entries WHERE until > 0 AND until < ?", now.Add(-keepExpired).UnixMicro())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("prune lists: %w", err)
	}
	return n, nil
}
