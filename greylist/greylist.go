// Package greylist remembers who wrote to whom for the first time, so that mail of strangers can
// be put off until they come back: mail servers do, much of what sends spam does not.
package greylist

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"time"

	"postern/store"
)

// Options of Open.
type Options struct {
	DB    *store.DB        // stays the caller's
	Delay time.Duration    // how long a stranger has to wait; 0: 4 minutes
	Keep  time.Duration    // how long who came back is remembered after the last message; 0: 36 days
	Clock func() time.Time // nil: time.Now
}

const (
	window   = 2 * 24 * time.Hour // within which a stranger has to come back
	trusted  = 5                  // who came back for so many needs not wait for others
	noteOnce = 24 * time.Hour     // how often the last message of who is known is noted
	maxPairs = 200_000
	pruneOn  = 1000 // new pairs
)

// A Store keeps the pairs. All methods may be called from any goroutine.
type Store struct {
	o     Options
	most  int
	added atomic.Int64
}

//go:embed schema
var schema embed.FS

// Open brings the tables up to date. There is nothing to close.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Delay == 0 {
		o.Delay = 4 * time.Minute
	}
	if o.Keep == 0 {
		o.Keep = 36 * 24 * time.Hour
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	steps, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	if err := o.DB.Migrate(ctx, "greylist", steps); err != nil {
		return nil, err
	}
	return &Store{o: o, most: maxPairs}, nil
}

// Meet notes that who (a network, or a proven domain) writes from sender to recipient at a moment,
// and tells how long it has to wait still: nothing when it has come back after the delay, when it
// did so before, when it is known from other pairs, or when a person let it through. first is its
// first try.
func (s *Store) Meet(ctx context.Context, who, sender, recipient string, at time.Time) (wait time.Duration, first time.Time, err error) {
	sender, recipient = pattern(sender), strings.ToLower(store.Clean(recipient, maxText))
	who = strings.ToLower(store.Clean(who, maxText))
	now := at.UnixMicro()
	var began, last, passed int64
	err = s.o.DB.Reader().QueryRowContext(ctx, "SELECT first, last, passed FROM greylist WHERE who = ? AND sender = ? AND recipient = ?",
		who, sender, recipient).Scan(&began, &last, &passed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		var n int
		err = s.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM greylist WHERE who = ? AND passed > 0 LIMIT ?)", who, trusted).Scan(&n)
		if err != nil || n >= trusted {
			return 0, at, wrapped(err)
		}
		return s.o.Delay, at, wrapped(s.begin(ctx, who, sender, recipient, now))
	case err != nil:
		return 0, at, wrapped(err)
	case passed > 0:
		if now-last > noteOnce.Microseconds() {
			err = s.exec(ctx, "UPDATE greylist SET last = ? WHERE who = ? AND sender = ? AND recipient = ?", now, who, sender, recipient)
		}
		return 0, time.UnixMicro(began), wrapped(err)
	}
	first = time.UnixMicro(began)
	switch gone := at.Sub(first); {
	case gone < 0 || gone > window:
		return s.o.Delay, at, wrapped(s.begin(ctx, who, sender, recipient, now))
	case gone < s.o.Delay:
		err = s.exec(ctx, "UPDATE greylist SET last = ?, tries = tries + 1 WHERE who = ? AND sender = ? AND recipient = ?", now, who, sender, recipient)
		return s.o.Delay - gone, first, wrapped(err)
	}
	err = s.exec(ctx, "UPDATE greylist SET last = ?, passed = ?, tries = tries + 1 WHERE who = ? AND sender = ? AND recipient = ?", now, now, who, sender, recipient)
	return 0, first, wrapped(err)
}

// begin notes a first try.
func (s *Store) begin(ctx context.Context, who, sender, recipient string, now int64) error {
	full := s.added.Add(1)%pruneOn == 0
	return s.o.DB.Write(ctx, func(tx *store.Tx) error {
		if full {
			if err := s.shed(tx); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`INSERT INTO greylist (who, sender, recipient, first, last, tries, passed, by_whom) VALUES (?, ?, ?, ?, ?, 1, 0, '')
			ON CONFLICT (who, sender, recipient) DO UPDATE SET first = excluded.first, last = excluded.last, tries = 1 WHERE passed = 0`, who, sender, recipient, now, now)
		return err
	})
}

// shed makes room: the oldest of those that wait go, a tenth of all at once.
func (s *Store) shed(tx *store.Tx) error {
	var n int
	if err := tx.Get("SELECT count(*) FROM greylist", nil, &n); err != nil || n < s.most {
		return err
	}
	gone, err := tx.Exec("DELETE FROM greylist WHERE id IN (SELECT id FROM greylist WHERE passed = 0 ORDER BY first LIMIT ?)", s.most/10)
	if err != nil || gone > 0 {
		return err
	}
	_, err = tx.Exec("DELETE FROM greylist WHERE id IN (SELECT id FROM greylist WHERE passed > 0 ORDER BY last LIMIT ?)", s.most/10)
	return err
}

func (s *Store) exec(ctx context.Context, query string, args ...any) error {
	return s.o.DB.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	})
}

// Prune removes who did not come back in time, and who has not written for long.
func (s *Store) Prune(ctx context.Context, now time.Time) (n int64, err error) {
	err = s.o.DB.Write(ctx, func(tx *store.Tx) error {
		waited, err := tx.Exec("DELETE FROM greylist WHERE passed = 0 AND first < ?", now.Add(-window).UnixMicro())
		if err != nil {
			return err
		}
		known, err := tx.Exec("DELETE FROM greylist WHERE passed > 0 AND last < ?", now.Add(-s.o.Keep).UnixMicro())
		n = waited + known
		return err
	})
	return n, wrapped(err)
}

// maxText bounds what is kept of an address.
const maxText = 320

// pattern is what is kept of a sender: digits are one #, so that the numbers that some senders put
// into each address make no stranger of them.
func pattern(sender string) string {
	var b strings.Builder
	digits := false
	for _, c := range strings.ToLower(store.Clean(sender, maxText)) {
		if c >= '0' && c <= '9' {
			if !digits {
				b.WriteByte('#')
			}
			digits = true
			continue
		}
		digits = false
		b.WriteRune(c)
	}
	return b.String()
}

func wrapped(err error) error {
	if err != nil {
		return fmt.Errorf("greylist: %w", err)
	}
	return nil
}
